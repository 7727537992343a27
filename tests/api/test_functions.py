"""Functions do what commands do, in a process of their own that can die without harm."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import evaluate_scenes as scenes
import nets
import numpy as np
import psutil
import pytest
import train_town
from places import ROOT, python_path
from segment_cases import blocky
from vectorize_cases import patches, write_labels

import terraseam
from terraseam.pipeline.cli import main

COAST = ROOT / "examples" / "coast" / "sample.tif"


@contextlib.contextmanager
def nothing_changes() -> Iterator[None]:
    """Check that a block leaves streams, signals, environment and umask as they are."""

    def state() -> object:
        umask = os.umask(0)
        os.umask(umask)
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        return (
            umask,
            handlers,
            dict(os.environ),
            sys.stdout,
            sys.stderr,
            Path.cwd(),
            signal.pthread_sigmask(0, ()),
        )

    before = state()
    yield
    assert state() == before


def test_a_plan_is_that_of_the_command(tmp_path, capfd):
    with nothing_changes():
        result = terraseam.plan(COAST, model="coast", output=tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    arguments = ["plan", str(COAST), "--model", "coast", "--output", str(tmp_path / "out")]
    assert main([*arguments, "--json"]) == 0
    assert result.figures == json.loads(capfd.readouterr().out)
    assert main(arguments) == 0
    assert str(result) == capfd.readouterr().out.rstrip("\n")
    assert result.exact and result.rasters[0]["id"] == "sample" and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options", [{"tile": 100, "model": "coast"}, {"tile": "x", "model": "coast"}, {"model": "cost"}, {}]
)
def test_errors_are_the_sentences_of_the_command_line(tmp_path, capfd, options):
    with pytest.raises(terraseam.RefusedError) as refused:
        terraseam.plan(str(tmp_path / "no.tif"), output=tmp_path / "out", **options)
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["plan", str(tmp_path / "no.tif"), "--output", str(tmp_path / "out"), *words]) == 2
    assert f"terraseam: {refused.value}\n" == capfd.readouterr().err
    assert refused.value.status == 2


def test_what_a_callback_raises_reaches_the_caller(tmp_path):
    def stop(line: str) -> None:
        raise LookupError(line)

    before = set(psutil.Process().children(recursive=True))
    with nothing_changes(), pytest.raises(LookupError, match="sample: 1200 x 780 px"):
        terraseam.plan(COAST.parent.glob("*.tif"), model=["coast"], output=tmp_path / "out", progress=stop)
    assert set(psutil.Process().children(recursive=True)) <= before


def test_polygons_of_label_rasters_are_a_result(tmp_path, capfd):
    scene = write_labels(tmp_path / "map.tif", patches(61, 83), names=("a", "b", "c", "d"))
    told: list[str] = []
    with nothing_changes():
        result = terraseam.vectorize(
            scene,
            output=tmp_path / "out",
            classes=["b", "c"],
            min_area=1,
            format="parquet",
            progress=told.append,
        )
    assert capfd.readouterr() == ("", "")
    assert result.complete and result.manifest["options"]["min_area"] == 1
    (raster,) = result.rasters
    table = raster.polygons()
    assert set(table["class"].to_pylist()) == {"b", "c"}
    assert min(table["area_m2"].to_pylist()) >= 1
    assert table.num_rows == sum(one.polygons or 0 for one in raster.classes) > 5
    assert told[-1] == str(result) and "map" in str(result)


@pytest.mark.slow
def test_figures_of_an_evaluation_are_those_of_the_command(tmp_path, capfd):
    place, shapes = scenes.georef(), scenes.boxes(1)
    scenes.write_labels(tmp_path / "truth.tif", scenes.drawn(shapes), place)
    scenes.write_labels(tmp_path / "found.tif", scenes.drawn(scenes.moved(shapes, 2)), place)
    with nothing_changes():
        result = terraseam.evaluate(
            predicted=tmp_path / "found.tif", truth=tmp_path / "truth.tif", tolerance=2
        )
    capfd.readouterr()
    words = [
        "--predicted",
        str(tmp_path / "found.tif"),
        "--truth",
        str(tmp_path / "truth.tif"),
        "--tolerance",
        "2",
    ]
    assert main(["evaluate", *words, "--json"]) == 0
    assert result.figures == json.loads(capfd.readouterr().out)
    assert result.complete and 0.5 < result.pixels["classes"]["roof"]["iou"] < 1 and result.polygons is None


@pytest.mark.slow
def test_a_training_leaves_a_bundle_and_its_figures(tmp_path, make_raster):
    site = train_town.make_town(tmp_path, make_raster)
    told: list[str] = []
    with nothing_changes():
        result = terraseam.train(
            images=site / "town.tif", labels=[site / "town.geojson"], classes=["roof", "pool"], class_property="kind",
            architecture="unet", encoder="none", set={"width": 4}, output=tmp_path / "bundle", chip_size=32, block_size=24,
            batch_size=4, steps_per_epoch=4, epochs=2, pictures=0, schedule="constant", progress=told.append,
        )  # fmt: skip
    assert result.bundle == str(tmp_path / "bundle")
    assert result.card == json.loads((tmp_path / "bundle" / "card.json").read_text())
    assert 0 <= result.metrics["mean_iou"] <= 1
    assert any(line.startswith("epoch 2 of 2: loss") for line in told)


BESIDE_TENSORFLOW = """
import os, sys
os.environ["KERAS_BACKEND"] = "jax"
import tensorflow as tf
assert float(tf.reduce_sum(tf.random.normal((8, 8)) @ tf.eye(8))) != 0
threads = tf.config.threading.get_inter_op_parallelism_threads()
import terraseam
result = terraseam.segment(sys.argv[1], model=sys.argv[2], output=sys.argv[3], tile=512, format=["geojson", "parquet"])
assert float(tf.reduce_sum(tf.ones((2, 2)))) == 4
assert tf.config.threading.get_inter_op_parallelism_threads() == threads
assert not [name for name in sys.modules if name.startswith("terraseam.pipeline")]
(raster,) = result.rasters
print(raster.status, raster.label_map, raster.polygons().num_rows == sum(one.polygons or 0 for one in raster.classes))
"""


@pytest.fixture
def scene(make_raster):
    return make_raster(pixels=blocky(700, 900), name="scene.tif", tiled=True)


@pytest.fixture
def bundle(tmp_path):
    return nets.make_bundle(tmp_path / "bundle", nets.small_unet())


@pytest.mark.slow
def test_rasters_are_segmented_beside_a_tensorflow_that_is_in_use(scene, bundle, tmp_path):
    code = [sys.executable, "-c", BESIDE_TENSORFLOW, scene, bundle, tmp_path / "out"]
    done = subprocess.run([*map(str, code)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["segmented", str(tmp_path / "out" / "scene" / "labels.tif"), "True"], (
        done.stderr
    )


def seen(find, seconds=240.0):
    """Return what is found, as soon as it is."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with contextlib.suppress(psutil.Error):
            if found := find():
                return found
        time.sleep(0.02)
    raise TimeoutError


def below(process: psutil.Process, program: str) -> list[psutil.Process]:
    return [one for one in process.children(recursive=True) if program in " ".join(one.cmdline())]


SURVIVES = """
import sys, psutil, terraseam
try:
    terraseam.segment(sys.argv[1], model=sys.argv[2], output=sys.argv[3], tile=512, sheet=512, workers=2)
except terraseam.FailedError as error:
    print(error.status, error)
except KeyboardInterrupt:
    print("interrupted", len(psutil.Process().children(recursive=True)))
print("lives")
"""


@contextlib.contextmanager
def caller(make_raster, bundle, out):
    """Start an interpreter that segments a raster of many sheets with two workers."""
    scene = make_raster(pixels=np.tile(blocky(512, 512), (4, 8, 1)), name="long.tif", tiled=True)
    code = [sys.executable, "-c", SURVIVES, scene, bundle, out]
    environment = {**os.environ, "PYTHONPATH": python_path()}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*map(str, code)], cwd=out.parent, env=environment, **streams) as process:
        try:
            yield process
        finally:
            process.kill()


def is_at_work(out):
    return lambda: next(out.glob(".work/store/*/*.sheet"), None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "status", "words"),
    [
        ("terraseam.pipeline.run.sdk_worker_main", 1, "a worker process died (it was killed by SIGKILL"),
        ("terraseam.pipeline.child", -9, "the process of terraseam segment was killed by SIGKILL"),
    ],
)
def test_a_process_that_is_killed_is_an_exception(make_raster, bundle, tmp_path, program, status, words):
    out = tmp_path / "out"
    with caller(make_raster, bundle, out) as process:
        seen(is_at_work(out))
        seen(lambda: below(psutil.Process(process.pid), program))[0].kill()
        printed, errors = process.communicate(timeout=240)
    first, *_, last = printed.splitlines()
    assert first.startswith(f"{status} {words}") and last == "lives", errors
    assert process.returncode == 0


@pytest.mark.slow
def test_an_interruption_ends_the_run_and_reaches_the_caller(make_raster, bundle, tmp_path):
    out = tmp_path / "out"
    with caller(make_raster, bundle, out) as process:
        seen(is_at_work(out))
        started = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        printed, errors = process.communicate(timeout=240)
    assert printed.split() == ["interrupted", "0", "lives"], errors
    gone, alive = psutil.wait_procs(started, timeout=30)
    assert len(gone) >= 3 and not alive
    assert not list(out.glob(".lock*")) and not (out / "manifest.json").exists()


@pytest.mark.slow
def test_a_run_ends_with_its_caller(make_raster, bundle, tmp_path):
    out = tmp_path / "out"
    with caller(make_raster, bundle, out) as process:
        seen(is_at_work(out))
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        gone, alive = psutil.wait_procs(started, timeout=120)
    assert len(gone) >= 3 and not alive
    assert not list(out.glob(".lock*")) and not (out / "manifest.json").exists()
