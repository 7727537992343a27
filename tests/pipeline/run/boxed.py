"""Dataflow in a box: jobs that were sent to a `FakeDataflow` run on processes that have only what was staged."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fake_dataflow import Job
from places import ROOT

BUCKET = "bucket"
PACKAGE = "workflow.tar.gz"
"""What Beam calls the package of ``--setup_file``."""

PATHS = """
import sys
# An editable installation of the project is no part of what was staged.
sys.meta_path[:] = [finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")]
sys.path[:] = [path for path in sys.path if path not in {outside!r}]
"""
"""The ``sitecustomize.py`` of workers."""


@contextmanager
def storage_emulator() -> Iterator[int]:
    """Google's Cloud Storage, with an empty bucket, on a free port of 127.0.0.1, which is given."""
    from gcp_storage_emulator.server import create_server

    server = create_server("127.0.0.1", 0, in_memory=True, default_bucket=BUCKET)
    server.start()
    try:
        yield server._api._httpd.server_address[1]
    finally:
        server.stop()


def cloud_environment(storage: int, dataflow: int, folder: Path) -> dict[str, str]:
    """Environment variables by which Beam and GDAL find the emulator, and credentials that are good for nothing.

    Args:
        storage: Port of the storage emulator.
        dataflow: Port of the fake Dataflow, which hands out tokens, too.
        folder: Where to write the credentials.
    """
    return {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{storage}",
        "CPL_GS_ENDPOINT": f"http://127.0.0.1:{storage}/",
        "GS_NO_SIGN_REQUEST": "YES",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GOOGLE_APPLICATION_CREDENTIALS": str(
            write_credentials(folder, f"http://127.0.0.1:{dataflow}/token")
        ),
    }


def write_credentials(folder: Path, token_uri: str) -> Path:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {
        "type": "service_account",
        "project_id": "test-proj",
        "private_key_id": "1",
        "private_key": key.decode(),
        "client_email": "t@test-proj.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
    path = folder / "account.json"
    path.write_text(json.dumps(account))
    return path


def bucket():
    """The emulator's bucket, as Google's client sees it."""
    from google.cloud import storage

    return storage.Client.create_anonymous_client().bucket(BUCKET)


def fetch(url: str) -> bytes:
    return bucket().blob(url.removeprefix(f"gs://{BUCKET}/")).download_as_bytes()


@dataclass(frozen=True)
class Box:
    """What a worker has: a folder with the staged files, and one with the staged package, installed.

    Attributes:
        folder: The folder.
    """

    folder: Path

    @property
    def site(self) -> Path:
        return self.folder / "site"

    @property
    def start(self) -> str:
        """The start of a shell's command for a Python of a worker."""
        paths = f"{self.site}{os.pathsep}{self.folder}"
        return f"cd {shlex.quote(str(self.folder))} && PYTHONPATH={shlex.quote(paths)} exec {shlex.quote(sys.executable)}"

    def fill(self, staged: dict[str, str]) -> None:
        """Fetch what was staged, by its name and where it is, and install the package."""
        self.folder.mkdir()
        for name, url in staged.items():
            (self.folder / name).write_bytes(fetch(url))
        outside = [path for path in sys.path if path and (Path(path) / "terraseam").is_dir()]
        (self.folder / "sitecustomize.py").write_text(PATHS.format(outside=[*outside, str(ROOT)]))
        if PACKAGE in staged:
            pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
            target = ["--target", str(self.site), str(self.folder / PACKAGE)]
            subprocess.run([*pip, *target], check=True, cwd=self.folder)

    def python(self, code: str) -> str:
        """What a worker's Python prints."""
        command = f"{self.start} -c {shlex.quote(code)}"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
        return done.stdout + done.stderr


def graph_of(job: Job):
    """The staged graph of a job."""
    from apache_beam.portability.api import beam_runner_api_pb2

    url = job["environment"]["sdkPipelineOptions"]["options"]["pipelineUrl"]
    return beam_runner_api_pb2.Pipeline.FromString(fetch(url))


def staged_files(graph) -> dict[str, str]:
    """Name of each file that workers get -> where it is staged."""
    from apache_beam.portability.api import beam_runner_api_pb2 as api

    return {
        api.ArtifactStagingToRolePayload.FromString(file.role_payload).staged_name: (
            api.ArtifactUrlPayload.FromString(file.type_payload).url
        )
        for environment in graph.components.environments.values()
        for file in environment.dependencies
    }


def run_boxed(job: Job, box: Box, workers: int = 2) -> None:
    """Run a staged job to its end."""
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability import python_urns
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner

    graph = graph_of(job)
    box.fill(staged_files(graph))
    for environment in graph.components.environments.values():
        environment.urn = python_urns.SUBPROCESS_SDK
        environment.payload = f"{box.start} -m apache_beam.runners.worker.sdk_worker_main".encode()
        del environment.dependencies[:]
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=_options(job))
    runner = fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(info))
    runner._num_workers = workers
    runner.run_via_runner_api(graph, PipelineOptions([])).wait_until_finish()


def _options(job: Job):
    """The options of a job as workers are told them."""
    from google.protobuf import struct_pb2

    packed = struct_pb2.Struct()
    left_out = ("beam_plugins", "display_data", "pipelineUrl", "pipelineProtoHash")
    for name, value in job["environment"]["sdkPipelineOptions"]["options"].items():
        if name not in left_out and value not in (None, [], {}, False, ""):
            whole = isinstance(value, float) and value.is_integer()
            packed.update({f"beam:option:{name}:v1": str(int(value)) if whole else value})
    return packed
