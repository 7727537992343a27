"""What `deploy/` holds, as far as it can be held to without the services."""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import sys
from importlib import metadata as installed
from pathlib import Path

import nets
import pytest
from croniter import croniter
from deploy_cases import DEPLOY, IMAGE, ROOT, instructions, options_of, run
from packaging.requirements import Requirement

from terraseam.pipeline.deploy.flex_template import metadata
from terraseam.pipeline.options.segment_arguments import parse

SCRIPTS = sorted(DEPLOY.glob("*.sh"))


def pins(name: str) -> dict[str, str]:
    """Packages of a file of requirements, and their versions."""
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if not line.startswith("#")]
    return dict(map(str.lower, line.split("==")) for line in lines)


def canonical(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def test_the_dockerfile_is_clean():
    lint = run("hadolint", DEPLOY / "Dockerfile", env=with_tools())
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
        done = run(*check, env=with_tools())
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

    def call(name, *arguments, **environment):
        calls.write_text("")
        path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
        done = run(tmp_path / "deploy" / name, *arguments, env={"PATH": path, **environment})
        return done, calls.read_text().splitlines()

    return call


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


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_gcloud_knows_every_option_of_the_scripts(script, tmp_path):
    text = script.read_text().replace("\\\n", " ").replace('"$verb"', "create")
    for command in re.findall(r"\bgcloud [a-z].*", text):
        words = shlex.split(command.split(">")[0].replace(";;", ""))
        first = next(n for n, word in enumerate(words) if word.startswith(("-", "$")) or word == "nightly")
        settings = {**os.environ, "CLOUDSDK_CONFIG": str(tmp_path)}
        known = run(*words[:first], "--help", env=settings).stdout
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
    _, options, _ = parse(["segment", "--config", str(DEPLOY / "job.toml")], "0")
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
        done = run("/bin/sh", "-c", told)
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
    done = run("systemd-analyze", "verify", *units)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_statuses_of_a_run_mean_the_same_everywhere():
    assert "SuccessExitStatus=3\n" in (DEPLOY / "terraseam.service").read_text()
    assert f"{COMMAND} || [ $? -eq 3 ]" in (DEPLOY / "airflow_dag.py").read_text()
