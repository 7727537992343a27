"""The job that Dataflow gets, staged and executed by a fake of the service, with an emulator of the storage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from boxed import (
    BUCKET,
    PACKAGE,
    Box,
    bucket,
    cloud_environment,
    fetch,
    graph_of,
    run_boxed,
    staged_files,
    storage_emulator,
)
from fake_dataflow import FakeDataflow, serving
from places import ROOT

from terraseam.pipeline.cli import main

pytestmark = pytest.mark.slow

RASTERS = ("sample.tif", "small.tif")
TILES = ("--model", "coast", "--sheet", "512", "--tile", "512")
RESULTS = ("labels.tif", "polygons.geojson")
WORDS = ("--runner", "DataflowRunner", "--project", "test-proj", "--region", "us-central1")


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A function that makes a bucket and a Dataflow for jobs that a function works on; it gives the endpoint's option."""
    folder = tmp_path_factory.mktemp("cloud")
    with storage_emulator() as storage, pytest.MonkeyPatch.context() as patch:
        dataflow = FakeDataflow(lambda job: run_boxed(job, Box(folder / f"box-{job['id'][-1]}")))
        with serving(dataflow) as port:
            for name, value in cloud_environment(storage, port, folder).items():
                patch.setenv(name, value)
            yield dataflow, f"--dataflow_endpoint=http://localhost:{port}", folder


@pytest.fixture(scope="module")
def rasters(tmp_path_factory):
    """A part of the sample, of 2 sheets, and a small raster that lies otherwise."""
    import numpy as np
    import rasterio

    folder = tmp_path_factory.mktemp("rasters")
    with rasterio.open(ROOT / "examples" / "coast" / "sample.tif") as sample:
        pixels, crs, transform = sample.read(), sample.crs, sample.transform
    turned = rasterio.Affine(20, 5, 400_000, -5, -20, 4_900_000)
    parts = {
        "sample.tif": (pixels[:, :480, :700], {"crs": crs, "transform": transform}),
        "small.tif": (pixels[:, 100:330, 200:417], {"crs": "EPSG:32719", "transform": turned, "nodata": 0}),
    }
    for name, (part, where) in parts.items():
        shape = {"count": 3, "height": part.shape[1], "width": part.shape[2], "dtype": "uint8"}
        with rasterio.open(folder / name, "w", **shape, **where) as raster:
            raster.write(np.ascontiguousarray(part))
    return folder


def submit(*arguments):
    """The command, as a user calls it."""
    command = [sys.executable, "-m", "terraseam", "segment", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env=dict(os.environ)
    )


@pytest.fixture(scope="module")
def job(cloud, rasters):
    """What Dataflow was sent for both rasters, once it is done, and what the command said."""
    dataflow, endpoint, _ = cloud
    for name in RASTERS:
        bucket().blob(f"scenes/{name}").upload_from_filename(rasters / name)
    where = [f"gs://{BUCKET}/scenes/{name}" for name in RASTERS]
    places = ["--output", f"gs://{BUCKET}/out/coasts", "--temp_location", f"gs://{BUCKET}/temp"]
    said = submit(*where, *TILES, *places, *WORDS, endpoint, "--labels=team=coast")
    [sent] = dataflow.jobs.values()
    return sent, said


def test_the_staged_job_gives_the_bytes_of_a_local_run(job, rasters, tmp_path):
    _, said = job
    assert said.returncode == 0, said.stderr
    assert "3 sheets: 3 inferred" in said.stdout
    here = [str(rasters / name) for name in RASTERS]
    assert main(["segment", *here, *TILES, "--output", str(tmp_path / "out")]) == 0
    for name in RASTERS:
        for result in RESULTS:
            place = f"{Path(name).stem}/{result}"
            assert fetch(f"gs://{BUCKET}/out/coasts/{place}") == (tmp_path / "out" / place).read_bytes(), (
                place
            )
    manifest = json.loads(fetch(f"gs://{BUCKET}/out/coasts/manifest.json"))
    assert [member["bundle"] for member in manifest["model"]["members"]] == ["coast"]


@pytest.mark.usefixtures("job")
def test_workers_have_only_what_was_staged(cloud):
    box = Box(cloud[2] / "box-1")
    where = "from terraseam import models, pipeline, tiles; print(pipeline.__file__, models.__file__, tiles.__file__)"
    assert all(path.startswith(str(box.site)) for path in box.python(where).split())
    shutil.move(box.site, cloud[2] / "gone")
    assert "No module named 'terraseam'" in box.python(where)


def test_what_is_staged_is_the_project_as_setup_py_packs_it_and_no_main_session(job):
    files = staged_files(graph_of(job[0]))
    assert set(files) == {PACKAGE, "submission_environment_dependencies.txt"}
    with tarfile.open(fileobj=BytesIO(fetch(files[PACKAGE]))) as packed:
        inside = {name.partition("/")[2] for name in packed.getnames()}
    modules = {
        f"terraseam/{path.relative_to(ROOT).as_posix()}"
        for top in ("pipeline", "models", "tiles")
        for path in (ROOT / top).rglob("*.py")
    }
    assert modules <= inside
    assert {f"terraseam/models/shipped/coast/{name}" for name in ("card.json", "model.keras")} <= inside


def test_the_job_says_what_its_user_did_not(job):
    sent, _ = job
    assert sent["name"].startswith("terraseam-coasts-")
    assert sent["labels"] | {"terraseam_version": "*"} == {
        "app": "terraseam",
        "terraseam_model": "coast-1-0-0",
        "terraseam_version": "*",
        "team": "coast",
    }
    [pool] = sent["environment"]["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert pool["numThreadsPerWorker"] == 4
    assert pool["diskSizeGb"] == 51
    assert "no_use_multiple_sdk_containers" in sent["environment"]["experiments"]
    options = sent["environment"]["sdkPipelineOptions"]["options"]
    assert not options.get("save_main_session")


IMAGE = "europe-west1-docker.pkg.dev/project/images/terraseam:0.1.0"


@pytest.fixture
def call(cloud, rasters, tmp_path):  # noqa: ARG001 - the bucket is there
    """A function that submits a small job whose workers have an image, to a Dataflow that works as a function says."""
    place = "scenes/alone.tif"
    bucket().blob(place).upload_from_filename(rasters / RASTERS[1])

    @contextmanager
    def start(work):
        dataflow = FakeDataflow(work)
        with serving(dataflow) as port:
            endpoint = f"--dataflow_endpoint=http://localhost:{port}"
            places = [f"gs://{BUCKET}/{place}", "--output", f"gs://{BUCKET}/{tmp_path.name}"]
            image = ["--temp_location", f"gs://{BUCKET}/temp", f"--sdk_container_image={IMAGE}"]
            command = [
                sys.executable,
                "-m",
                "terraseam",
                "segment",
                *places,
                *TILES,
                *WORDS,
                *image,
                endpoint,
            ]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            run = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), **pipes)
            try:
                yield dataflow, run
            finally:
                run.kill()

    return start


def test_a_job_that_fails_is_told_in_a_sentence_and_an_image_is_all_that_workers_get(call):
    def fail(_):
        time.sleep(8)  # Beam asks why only of jobs that have not failed when it begins to wait.
        raise RuntimeError("the region has no GPUs left")

    with call(fail) as (dataflow, run):
        _, error = run.communicate(timeout=300)
        [sent] = dataflow.jobs.values()
    assert run.returncode == 1 and error.count("\n") == 1, error
    assert "FAILED" in error and "the region has no GPUs left" in error
    [pool] = sent["environment"]["workerPools"]
    assert {image["containerImage"] for image in pool["sdkHarnessContainerImages"]} == {IMAGE}
    assert set(staged_files(graph_of(sent))) == {"submission_environment_dependencies.txt"}


def test_interrupting_the_driver_says_that_the_job_goes_on(call):
    ended = threading.Event()
    with call(lambda _: ended.wait(300)) as (dataflow, run):
        assert dataflow.created.wait(300)
        time.sleep(3)
        run.send_signal(signal.SIGINT)
        _, error = run.communicate(timeout=60)
        ended.set()
    assert run.returncode == 130
    assert "the job continues where it runs; on Dataflow, cancel it with gcloud dataflow jobs cancel" in error
