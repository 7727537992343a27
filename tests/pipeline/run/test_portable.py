"""Beam's portable runners: the job as Flink and Spark get it, by a job service that is a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time

import nets
import pytest
from places import ROOT

from terraseam.pipeline.cli import main


@pytest.fixture
def job_service(tmp_path):
    """Host and port of Beam's own job service."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    module = "apache_beam.runners.portability.local_job_service_main"
    with (tmp_path / "service.log").open("w") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", module, "--port", str(port)], cwd=tmp_path, stdout=log, stderr=log
        )
        try:
            wait_for(port)
            yield f"localhost:{port}"
        finally:
            service.kill()
            service.wait()


def wait_for(port):
    for _ in range(600):
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError


@pytest.mark.slow
def test_a_job_service_gives_the_bytes_of_a_local_run(job_service, make_raster, tmp_path):
    bundle = nets.make_bundle(tmp_path / "tiny", nets.small_unet())
    words = ["segment", str(make_raster(600, 700)), "--model", str(bundle), "--tile", "512", "--sheet", "512"]
    assert main([*words, "--output", str(tmp_path / "here")]) == 0
    portable = ["--runner=PortableRunner", f"--job_endpoint={job_service}", "--environment_type=LOOPBACK"]
    command = [sys.executable, "-m", "terraseam", *words, "--output", str(tmp_path / "there"), *portable]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    for name in ("labels.tif", "polygons.geojson"):
        there, here = tmp_path / "there" / "scene" / name, tmp_path / "here" / "scene" / name
        assert there.read_bytes() == here.read_bytes(), name
