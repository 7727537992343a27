"""What `deploy/` holds, as far as it can be held to without the services."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from importlib import metadata as installed
from pathlib import Path

import nets
import pytest
from croniter import croniter
from packaging.requirements import Requirement

from pipeline.argument_patterns import PATTERNS
from pipeline.arguments import ArgumentError, parse, segment_parser
from pipeline.options import SegmentOptions
from pipeline.template import ParameterError, launch, metadata, parameters, run_launcher

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
SCRIPTS = sorted(DEPLOY.glob("*.sh"))
IMAGE = "europe-west1-docker.pkg.dev/project/images/terraseam:0.1.0"

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
    "any-gsd": (["true"], ["", "yes"]),
    "engine": (["tensorflow", "openvino", "onnx"], ["", "torch", "TensorFlow"]),
    "precision": (["float16", "bfloat16"], ["", "half"]),
    "augment": (["true"], ["", "8"]),
    "batch-size": (["auto", "4"], ["", "0", "many"]),
    "tile": (["auto", "512"], ["", "0", "-512"]),
    "halo": (["auto", "0", "64"], ["", "-1", "half"]),
    "sheet": (["4096"], ["", "0", "auto"]),
    "stitch": (["crop", "blend"], ["", "mean"]),
    "force": (["true"], ["", "no"]),
}
"""Parameter of the template -> values that are right, and values that are not."""

NEEDED = {"rasters": "gs://bucket/a.tif", "model": "coast", "output": "gs://bucket/results"}


def options_of(given: dict[str, str]) -> SegmentOptions:
    """What the launcher makes of parameters."""
    image = {"TERRASEAM_IMAGE": IMAGE}
    command = launch([f"--{name}={value}" for name, value in {**NEEDED, **given}.items()], image)
    return parse([word for word in command if not word.startswith("--sdk_")], "0")[1]


# The template


def test_every_argument_of_segment_is_a_parameter_of_the_template_and_the_other_way_round():
    written = [
        parameter["name"] for parameter in json.loads((DEPLOY / "metadata.json").read_text())["parameters"]
    ]
    said = set(re.findall(r"--([a-z-]+)", segment_parser().format_usage())) | {"rasters"}
    assert sorted(written) == sorted(said)
    assert len({"beam"} | set(written)) == len(fields(SegmentOptions))
    assert set(EXAMPLES) == set(written)
    assert set(PATTERNS) <= set(written)


def test_metadata_is_what_the_arguments_say():
    told = subprocess.run(
        [sys.executable, "-m", "pipeline.template"], cwd=ROOT, capture_output=True, check=True
    )
    message = "renew it: python -m pipeline.template > deploy/metadata.json"
    assert told.stdout.decode() == (DEPLOY / "metadata.json").read_text(), message


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
    done = subprocess.run(
        [*command.split(), "--image", IMAGE, "--metadata-file", DEPLOY / "metadata.json"],
        capture_output=True,
        text=True,
        env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"},
    )
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


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - {"rasters", "output", "work"}))
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
    assert options.beam == (
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
        ("--force=yes", "the parameter force is true or false, not 'yes'"),
        ("--force=true", "this image does not know its own name"),
        ("--sdk_container_image=mine:1", "the following arguments are required"),
    ],
)
def test_what_the_launcher_cannot_use_ends_it_with_a_sentence(monkeypatch, capsys, argument, said):
    monkeypatch.setattr(sys, "argv", ["launch.py", argument])
    monkeypatch.delenv("TERRASEAM_IMAGE", raising=False)
    assert run_launcher() == 2
    assert said in capsys.readouterr().err


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
    done = subprocess.run(
        [sys.executable, DEPLOY / "launch.py", *arguments, "--no_auth"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TERRASEAM_IMAGE": IMAGE,
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
        },
        capture_output=True,
        text=True,
    )
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


# The image


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile and what they say, in order."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]


def pins(name: str) -> dict[str, str]:
    """Packages of a file of requirements, and their versions."""
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if not line.startswith("#")]
    return dict(map(str.lower, line.split("==")) for line in lines)


def canonical(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def test_the_dockerfile_is_clean():
    lint = subprocess.run(
        ["hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, env=with_tools()
    )
    assert lint.returncode == 0, lint.stdout


def test_the_dockerfile_finds_what_it_copies():
    rules = [rule for rule in (ROOT / ".dockerignore").read_text().split("\n") if rule.startswith("!")]
    for name, said in instructions():
        if name == "COPY" and "--from" not in said:
            for source in said.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch.fnmatch(source, rule[1:]) for rule in rules), f"{source} is ignored"


def test_image_and_requirements_have_one_beam_and_one_python():
    bases = [said for name, said in instructions() if name == "FROM"]
    assert f"apache/beam_python3.11_sdk:{pins('requirements.txt')['apache-beam']} AS cpu" in bases
    assert all(":latest" not in base for base in bases)
    assert installed.version("apache-beam") == pins("requirements.txt")["apache-beam"]


def test_the_images_requirements_hold_what_setup_asks_for():
    """Both what every installation needs, and the extras that the image has."""
    known = {canonical(name): version for name, version in pins("requirements.txt").items()}
    wanted = []
    for line in installed.requires("terraseam") or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if not marker or any(marker.evaluate({"extra": extra}) for extra in ("gcp", "onnx", "openvino")):
            wanted.append(requirement)
    assert len(wanted) > 15
    for requirement in wanted:
        assert requirement.specifier.contains(known[canonical(requirement.name)]), requirement


def test_the_gpu_images_libraries_are_those_that_its_tensorflow_asks_for():
    if installed.version("tensorflow") != pins("requirements.txt")["tensorflow"]:
        pytest.skip("another TensorFlow is installed than the image has")
    known = pins("requirements-gpu.txt")
    wanted = [Requirement(line) for line in installed.requires("tensorflow") or ()]
    cuda = [
        r for r in wanted if r.marker and not r.marker.evaluate() and r.marker.evaluate({"extra": "and-cuda"})
    ]
    assert {requirement.name for requirement in cuda} == set(known)
    assert all(requirement.specifier.contains(known[requirement.name]) for requirement in cuda)


# Scripts


def with_tools() -> dict[str, str]:
    """An environment in which the tools of this Python's environment are found."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("script", [*SCRIPTS, ROOT / ".ci" / "run"], ids=lambda path: path.name)
def test_scripts_are_clean(script):
    for check in (["bash", "-n", script], ["shellcheck", script]):
        done = subprocess.run(check, capture_output=True, text=True, env=with_tools())
        assert done.returncode == 0, done.stdout + done.stderr
    assert os.access(script, os.X_OK)


@pytest.fixture
def run_script(tmp_path):
    """A function that runs a copy of a script where `docker` and `gcloud` only write down how they are called."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    calls = tmp_path / "calls"
    for tool in ("docker", "gcloud"):
        fake = tmp_path / "bin" / tool
        fake.parent.mkdir(exist_ok=True)
        fake.write_text(
            f'#!/bin/sh\necho {tool} "$@" >> {calls}\ncase "$*" in *describe*) exit ${{KNOWN:-1}} ;; esac\n'
        )
        fake.chmod(0o755)

    def run(name, *arguments, **environment):
        calls.write_text("")
        done = subprocess.run(
            [tmp_path / "deploy" / name, *arguments],
            capture_output=True,
            text=True,
            env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", **environment},
        )
        return done, calls.read_text().splitlines()

    return run


def test_build_makes_pushes_and_writes_the_template(run_script, tmp_path):
    done, (build, push, template) = run_script("build.sh", IMAGE, "gs://bucket/t.json", DEVICE="gpu")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "deploy"
    assert (
        f"--file {folder}/Dockerfile --build-arg DEVICE=gpu --build-arg IMAGE={IMAGE} --tag {IMAGE}" in build
    )
    assert push == f"docker push {IMAGE}"
    assert template.startswith(f"gcloud dataflow flex-template build gs://bucket/t.json --image {IMAGE}")
    assert template.endswith(f"--metadata-file {folder}/metadata.json")


def test_build_takes_a_bundle_along_and_refuses_what_is_none(run_script, tmp_path):
    nets.make_bundle(tmp_path / "roofs", nets.brightest_band())
    done, calls = run_script("build.sh", IMAGE, "gs://bucket/t.json", tmp_path / "roofs")
    assert done.returncode == 0, done.stderr
    assert "DEVICE=cpu" in calls[0]
    assert (tmp_path / "deploy" / "bundles" / "roofs" / "model.keras").exists()
    (tmp_path / "empty").mkdir()
    done, calls = run_script("build.sh", IMAGE, "gs://bucket/t.json", tmp_path / "empty")
    assert (done.returncode, calls) == (2, [])
    assert "has no card.json, so it is not a bundle" in done.stderr
    done, calls = run_script("build.sh", IMAGE, "gs://bucket/t.json", "gs://bucket/models/sea")
    assert calls == [f"gcloud storage cp --recursive gs://bucket/models/sea {tmp_path}/deploy/bundles/"]


@pytest.mark.parametrize(("known", "verb"), [("1", "create"), ("0", "update")])
def test_schedule_sends_the_launch_to_dataflow(run_script, known, verb):
    where = {"PROJECT": "p", "REGION": "europe-west1", "KNOWN": known}
    account = "starter@p.iam.gserviceaccount.com"
    done, calls = run_script("schedule.sh", "nightly", "15 2 * * *", DEPLOY / "launch.json", account, **where)
    assert done.returncode == 0, done.stderr
    words = calls[-1]
    assert words.startswith(f"gcloud scheduler jobs {verb} http nightly --project p --location europe-west1")
    url = "https://dataflow.googleapis.com/v1b3/projects/p/locations/europe-west1/flexTemplates:launch"
    for part in (f"--uri {url}", "--http-method POST", f"--oauth-service-account-email {account}"):
        assert part in words
    assert f"--message-body-from-file {DEPLOY / 'launch.json'}" in words


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_say_how_they_are_called(run_script, script):
    done, calls = run_script(script.name)
    assert (done.returncode, calls) == (2, [])
    assert f"deploy/{script.name}" in done.stderr
    assert "#" not in done.stderr


def test_schedule_says_what_is_missing(run_script):
    arguments = ["schedule.sh", "nightly", "15 2 * * *", DEPLOY / "launch.json", "a@b"]
    done, calls = run_script(*arguments, PROJECT="p")
    assert done.returncode != 0 and not calls
    assert "say the region in REGION" in done.stderr


@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_gcloud_knows_every_option_of_the_scripts(script, tmp_path):
    text = script.read_text().replace("\\\n", " ").replace('"$verb"', "create")
    for command in re.findall(r"\bgcloud [a-z].*", text):
        words = [word for word in shlex.split(command.split(">")[0].replace(";;", ""))]
        first = next(n for n, word in enumerate(words) if word.startswith(("-", "$")) or word == "nightly")
        known = subprocess.run(
            [*words[:first], "--help"],
            capture_output=True,
            text=True,
            env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path)},
        ).stdout
        options = {word for word in words if word.startswith("--")}
        assert options and options <= set(re.findall(r"--[a-z-]+", known)), command


# What is started at fixed times


def test_the_launch_is_one_that_dataflow_and_the_template_take():
    from google.cloud.dataflow_v1beta3 import LaunchFlexTemplateRequest

    text = (DEPLOY / "launch.json").read_text()
    asked = LaunchFlexTemplateRequest.from_json(text, ignore_unknown_fields=False).launch_parameter
    assert asked.container_spec_gcs_path.startswith("gs://")
    known = {parameter["name"]: parameter for parameter in metadata()["parameters"]}
    needed = {name for name, parameter in known.items() if not parameter["isOptional"]}
    assert needed <= set(asked.parameters) <= set(known)
    for name, value in asked.parameters.items():
        assert re.fullmatch(known[name]["regexes"][0], value), name
    options_of(dict(asked.parameters))


def test_the_job_is_one_that_segment_takes():
    job = tomllib.loads((DEPLOY / "job.toml").read_text())
    arguments: list[str] = []
    for field, value in job.items():
        action = parameters()[field.replace("_", "-")]
        values = list(map(str, value)) if isinstance(value, list) else [str(value)]
        if not action.option_strings:
            arguments += values
        elif action.nargs == 0:
            arguments += action.option_strings if value else []
        else:
            arguments += [f"{action.option_strings[0]}={','.join(values)}"]
    command, options, _ = parse(["segment", *arguments], "0")
    assert options.rasters and options.models and options.formats == ("geojson", "fgb")


COMMAND = "/opt/terraseam/bin/terraseam segment --config /etc/terraseam/job.toml"


def test_cron_starts_the_job_every_night_and_prints_only_failures(tmp_path):
    lines = [
        line
        for line in (DEPLOY / "terraseam.cron").read_text().splitlines()
        if line and line[0] in "*0123456789"
    ]
    [(*times, user, command)] = [line.split(maxsplit=6) for line in lines]
    assert croniter.is_valid(" ".join(times)) and user == "terraseam"
    assert command.startswith(f"{COMMAND} >") and "%" not in command
    for status, said in ((0, ""), (3, ""), (1, "what went wrong\n")):
        tool = tmp_path / "terraseam"
        tool.write_text(f"#!/bin/sh\necho what went wrong\nexit {status}\n")
        tool.chmod(0o755)
        told = command.replace("/opt/terraseam/bin/terraseam", str(tool)).replace(
            "/var/log/terraseam", str(tmp_path)
        )
        done = subprocess.run(["/bin/sh", "-c", told], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (said, ""), status


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_takes_the_timer_and_the_service(tmp_path):
    service = (DEPLOY / "terraseam.service").read_text()
    assert f"ExecStart={COMMAND}\n" in service
    (tmp_path / "terraseam.service").write_text(
        service.replace("/opt/terraseam/bin/terraseam", sys.executable)
    )
    shutil.copy(DEPLOY / "terraseam.timer", tmp_path)
    units = [tmp_path / "terraseam.service", tmp_path / "terraseam.timer"]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_statuses_of_a_run_mean_the_same_everywhere():
    assert "SuccessExitStatus=3\n" in (DEPLOY / "terraseam.service").read_text()
    assert f"{COMMAND} || [ $? -eq 3 ]" in (DEPLOY / "airflow_dag.py").read_text()
