"""The main job as a Flex Template: its parameters, their checks, and the job that a launch leaves."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from dataclasses import fields

import nets
import pytest
from deploy_cases import DEPLOY, IMAGE, NEEDED, ROOT, options_of, run
from tiers import some

from terraseam.pipeline.deploy.flex_template import ParameterError, launch, metadata, run_launcher
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.options.segment_arguments import parse, parsers

EXAMPLES = {
    "rasters": (
        ["gs://b/a.tif", "gs://b/a b.tif,https://h/c.tif", "s3://b/*.tif"],
        ["", "scene.tif", "gs://b/a.tif,"],
    ),
    "model": (["coast", "/bundles/roofs", "coast,/bundles/sea"], ["", "coast,", ",coast", "a,,b"]),
    "output": (["gs://bucket/out"], ["", "out", "/data/out", "gs://", "https://host/out"]),
    "work": (["gs://bucket/work", "s3://bucket/work"], ["", "work"]),
    "bands": (["3", "1,2,3"], ["", "0", "1,", "red", "1;2"]),
    "classes": (["roof", "roof,open water"], ["", "roof,", ",roof", " "]),
    "min-area": (["0", "12", "0.5"], ["", "-1", "5 m2", "1e400", ".", "inf"]),
    "fill-holes": (["0", "12", "0.5"], ["", "-1", "much", "nan"]),
    "min-score": (["0", "0.25", "1", "1.0"], ["", "1.5", "-0.1", "25%"]),
    "sieve": (["12", "0.5", "0.05"], ["", "0", "0.0", "-1"]),
    "simplify": (["12", "0.5", "3.0"], ["", "0", "0.00", "half"]),
    "regularize": (["true"], ["", "yes", "True", "1"]),
    "max-region": (["8192"], ["", "0", "-1", "1.5"]),
    "format": (["fgb", "geojson,parquet"], ["", "shp", "fgb,", "geojson,shp"]),
    "connectivity": (["4", "8"], ["", "6", "four"]),
    "aoi": (
        ["gs://bucket/area.geojson", "https://host/a b.fgb"],
        ["", "area.geojson", "gs://a.shp,gs://b.shp"],
    ),
    "allow-sources": (["https://host/*", "gs://a/*,host.example"], ["", "https://host/*,", "a b"]),
    "no-verify": (["true"], ["", "yes"]),
    "resample": (["true"], ["", "no"]),
    "any-gsd": (["true"], ["", "yes"]),
    "engine": (["auto", "tensorflow", "openvino", "onnx"], ["", "torch", "TensorFlow"]),
    "precision": (["float16", "bfloat16"], ["", "half"]),
    "augment": (["true"], ["", "8"]),
    "batch-size": (["auto", "4"], ["", "0", "many"]),
    "tile": (["auto", "512"], ["", "0", "-512"]),
    "halo": (["auto", "0", "64"], ["", "-1", "half"]),
    "sheet": (["auto", "4096"], ["", "0", "-512"]),
    "stitch": (["crop", "blend"], ["", "mean"]),
    "compress": (["deflate", "zstd", "lzw"], ["", "jpeg", "ZSTD"]),
    "on-error": (["quarantine", "fail"], ["", "skip"]),
    "prune": (["true"], ["", "1"]),
    "force": (["true"], ["", "no"]),
    "accelerator": (["nvidia-l4", "none"], ["", "nvidia-t4", "tpu"]),
}
"""Parameter of the template -> values that are right, and values that are not."""


def test_every_argument_of_segment_is_a_parameter_of_the_template_and_the_other_way_round():
    written = [
        parameter["name"] for parameter in json.loads((DEPLOY / "metadata.json").read_text())["parameters"]
    ]
    _, commands = parsers("0")
    said = set(re.findall(r"--([a-z-]+)", commands["segment"].format_usage())) | {"rasters"}
    assert sorted(written) == sorted(said - {"config", "memory", "workers"})
    assert len({"beam", "config", "memory", "workers"} | set(written)) == len(fields(SegmentOptions))
    assert set(EXAMPLES) == set(written)


def test_metadata_is_what_the_arguments_say():
    told = run(sys.executable, "-m", "terraseam.pipeline.deploy.flex_template", cwd=ROOT)
    message = "renew it: python -m terraseam.pipeline.deploy.flex_template > deploy/metadata.json"
    assert told.stdout == (DEPLOY / "metadata.json").read_text(), message


def test_metadata_keeps_googles_rules():
    from google.cloud.dataflow_v1beta3 import TemplateMetadata

    text = (DEPLOY / "metadata.json").read_text()
    read = TemplateMetadata.from_json(text, ignore_unknown_fields=False)
    assert read.name and read.description
    for parameter in read.parameters:
        assert re.fullmatch("[a-z][a-z-]*", parameter.name)
        assert parameter.label and parameter.help_text and len(parameter.regexes) == 1
    needed = {parameter.name for parameter in read.parameters if not parameter.is_optional}
    assert needed == set(NEEDED)


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_gcloud_takes_the_metadata(tmp_path):
    command = "gcloud dataflow flex-template build gs://bucket/t.json --sdk-language PYTHON --print-only --project p"
    settings = {**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    file = DEPLOY / "metadata.json"
    done = run(*command.split(), "--image", IMAGE, "--metadata-file", file, env=settings)
    assert done.returncode == 0, done.stderr
    assert '"name": "any-gsd"' in done.stdout


@pytest.mark.parametrize("name", EXAMPLES)
def test_checks_of_parameters_agree_with_the_parser(name):
    pattern = {parameter["name"]: parameter["regexes"][0] for parameter in metadata()["parameters"]}[name]
    good, bad = EXAMPLES[name]
    for value in good:
        assert re.fullmatch(pattern, value), value
        options_of({name: value})
    for value in bad:
        assert not re.fullmatch(pattern, value), value
    assert options_of({name: good[-1]}) != options_of({})


@pytest.mark.parametrize("name", some(sorted(set(EXAMPLES) - {"rasters", "output", "work", "aoi"}), 8))
def test_what_the_parser_refuses_the_checks_refuse_too(name):
    """Places are told apart by checks alone: the command also takes those of this machine."""
    pattern = {parameter["name"]: parameter["regexes"][0] for parameter in metadata()["parameters"]}[name]
    refused = []
    for value in {value for good, bad in EXAMPLES.values() for value in (*good, *bad)}:
        try:
            options_of({name: value})
        except (ArgumentError, ParameterError):
            refused.append(value)
    assert refused
    assert not [value for value in refused if re.fullmatch(pattern, value)]


def test_parameters_become_arguments():
    given = [
        "--rasters=gs://b/a.tif,gs://b/c.tif",
        "--model=coast,/bundles/x",
        "--output=gs://b/o",
        "--augment=true",
    ]
    rest = ["--force=false", "--classes=a,b", "--job_name=nightly", "--no_use_public_ips"]
    command = launch([*given, *rest], {"TERRASEAM_IMAGE": IMAGE})
    _, options, _ = parse(command, "0")
    assert options.rasters == ("gs://b/a.tif", "gs://b/c.tif")
    assert options.models == ("coast", "/bundles/x")
    assert (options.augment, options.force, options.classes) == (True, False, ("a", "b"))
    assert options.beam.arguments == (
        "--job_name=nightly",
        "--no_use_public_ips",
        f"--sdk_container_image={IMAGE}",
        "--sdk_location=container",
    )


def test_an_image_that_is_asked_for_is_kept():
    command = launch(["--sdk_container_image=mine:1"], {"TERRASEAM_IMAGE": IMAGE})
    assert [word for word in command if "image" in word] == ["--sdk_container_image=mine:1"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("--force=yes", "the parameter force must be true or false, not 'yes'"),
        ("--force=true", "this image does not know its own name"),
        ("--sdk_container_image=mine:1", "give RASTER, --model, --output"),
    ],
)
def test_what_the_launcher_cannot_use_ends_it_with_a_sentence(monkeypatch, capsys, argument, said):
    monkeypatch.setattr(sys, "argv", ["launch.py", argument])
    monkeypatch.delenv("TERRASEAM_IMAGE", raising=False)
    assert run_launcher() == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_workers_get_the_launchers_image_and_nothing_to_install(make_raster, tmp_path):
    """As the service starts it: a file is run with parameters, and leaves the job where it is told."""
    from apache_beam.portability.api import beam_runner_api_pb2

    bundle = nets.make_bundle(tmp_path / "tiny", nets.brightest_band())
    staging = tmp_path / "staging"
    staging.mkdir()
    given = {"rasters": make_raster(), "model": bundle, "output": tmp_path / "out", "regularize": "false"}
    service = {
        "runner": "DataflowRunner",
        "project": "test-proj",
        "region": "us-central1",
        "job_name": "nightly",
    }
    # Places on this machine are only taken where the service is on it, too; nothing is asked of it.
    service["dataflow_endpoint"] = "http://localhost:9"
    places = {
        "temp_location": staging,
        "staging_location": staging,
        "template_location": staging / "job.json",
    }
    arguments = [f"--{name}={value}" for name, value in {**given, **service, **places}.items()]
    surroundings = {
        "PYTHONPATH": ROOT,
        "TERRASEAM_IMAGE": IMAGE,
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
    }
    settings = {**os.environ, **{name: str(value) for name, value in surroundings.items()}}
    done = run(sys.executable, DEPLOY / "launch.py", *arguments, "--no_auth", cwd=tmp_path, env=settings)
    assert done.returncode == 0, done.stderr
    job = json.loads((staging / "job.json").read_text())
    [pool] = job["environment"]["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    [graph] = staging.rglob("pipeline.pb")
    pipeline = beam_runner_api_pb2.Pipeline.FromString(graph.read_bytes())
    for environment in pipeline.components.environments.values():
        assert beam_runner_api_pb2.DockerPayload.FromString(environment.payload).container_image == IMAGE
    staged = {path.name for path in staging.rglob("*") if path.is_file()}
    assert staged == {"job.json", "pipeline.pb", "submission_environment_dependencies.txt"}
