"""The main job from the command line: rasters in, label maps, polygons and a manifest out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import nets
import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import rasterio
import rasterio.features
import shapely
from places import ROOT
from segment_cases import (
    RESULTS,
    assert_ways_change_no_byte,
    blocky,
    command,
    features,
    labels,
    manifest,
    results,
    segment,
)
from tiers import some

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.cli import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet())


@pytest.fixture(scope="module")
def brightest(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band())


@pytest.fixture
def scene(make_raster):
    """A scene of two by three sheets of 512 px, with a hole across two of them."""
    pixels = blocky(600, 1100)
    pixels[300:420, 500:560] = 0
    return make_raster(pixels=pixels, nodata=0, name="scene.tif", tiled=True, compress="deflate")


@pytest.fixture
def long_scene(make_raster):
    """A scene of 56 sheets of 512 px: its run is caught in the middle."""
    return make_raster(pixels=blocky(3500, 4000), name="scene.tif", tiled=True, compress="deflate")


def test_one_command_makes_labels_polygons_and_a_manifest(scene, bundle, tmp_path, capsys):
    assert segment(scene, bundle, tmp_path / "out") == 0
    out = tmp_path / "out"
    table = capsys.readouterr().out
    assert "scene" in table and "water" in table and str(out / "scene") in table
    with rasterio.open(out / "scene" / "labels.tif") as labels, rasterio.open(scene) as raster:
        assert (labels.shape, labels.crs, labels.transform) == (raster.shape, raster.crs, raster.transform)
        found = labels.read(1)
        assert ((found == 255) == (raster.read(1) == 0)).mean() == 1
    record = manifest(out)
    assert record["counts"] == {
        "rasters": 1, "rasters_kept": 0, "rasters_left_out": 0,
        "sheets": 1, "sheets_inferred": 1, "sheets_reused": 0, "sheets_skipped": 0,
        "sheets_quarantined": 0, "tiles_inferred": 6,
    }  # fmt: skip
    assert record["rasters"][0]["classes"]["water"]["pixels"] == (found == 1).sum()
    assert record["profiles"][0]["threads"] == 1 and record["tiling"]["exact"]
    assert sorted(p.name for p in out.iterdir()) == [".done", ".work", "history", "manifest.json", "scene"]
    assert sorted(p.name for p in (out / "scene").iterdir()) == sorted(RESULTS)


def test_what_a_run_reads_infers_and_writes_is_seen_while_it_goes_on(scene, bundle, tmp_path, monkeypatch):
    add, threads = ACTIVITY.add, []
    monkeypatch.setattr(
        ACTIVITY, "add", lambda seconds: add(threads.append(threading.current_thread().name) or seconds)
    )
    assert segment(scene, bundle, tmp_path / "out", "--sheet", "512") == 0
    counts = Counter(name.partition("_")[0] for name in threads)
    assert counts["read"] == 6 and counts["infer"] == manifest(tmp_path / "out")["counts"]["tiles_inferred"]
    assert counts["ahead"] >= 6


def test_polygons_equal_one_pass_over_the_label_map(scene, bundle, tmp_path):
    assert segment(scene, bundle, tmp_path / "out", "--sheet", "512", "--classes", "land,water,lake") == 0
    with rasterio.open(tmp_path / "out" / "scene" / "labels.tif") as labels:
        found, mask = labels.read(1), labels.read(1) != 255
        shapes = rasterio.features.shapes(found, mask=mask, transform=labels.transform)
        want = sorted((int(value), shapely.geometry.shape(shape).area) for shape, value in shapes)
    collection = json.loads((tmp_path / "out" / "scene" / "polygons.geojson").read_text())
    names = {"land": 0, "water": 1, "lake": 2}
    got = sorted(
        (names[f["properties"]["class"]], f["properties"]["area_m2"]) for f in collection["features"]
    )
    assert [label for label, _ in got] == [label for label, _ in want]
    # UTM areas near the central meridian are 0.08 % smaller than on the ellipsoid.
    assert np.allclose([area for _, area in got], [area for _, area in want], rtol=1e-3)


@pytest.mark.parametrize("stitch", some(["crop", "blend"], 1))
def test_sheets_replays_and_order_change_no_byte(scene, bundle, tmp_path, monkeypatch, stitch):
    assert_ways_change_no_byte(scene, bundle, tmp_path, monkeypatch, "--stitch", stitch)


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--workers", "--direct_num_workers"])
def test_two_worker_processes_change_no_byte(scene, bundle, tmp_path, option):
    assert segment(scene, bundle, tmp_path / "one", "--sheet", "512") == 0
    arguments = command(scene, bundle, tmp_path / "two", option, "2")
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "two") == results(tmp_path / "one")


def test_a_finished_run_called_again_calls_no_network(scene, bundle, tmp_path):
    out = tmp_path / "out"
    assert segment(scene, bundle, out, "--sheet", "512") == 0
    before = results(out)
    assert segment(scene, bundle, out, "--sheet", "512", "--min-area", "500", "--classes", "lake") == 0
    assert manifest(out)["counts"]["sheets_inferred"] == 0 and manifest(out)["counts"]["tiles_inferred"] == 0
    assert results(out)[0] == before[0] and results(out)[1] != before[1]
    assert segment(scene, bundle, out, "--sheet", "512", "--force") == 0
    assert manifest(out)["counts"]["sheets_inferred"] == 6
    assert results(out) == before


@pytest.mark.slow
def test_what_changes_scores_changes_keys_and_nothing_else_does(
    scene, bundle, brightest, make_raster, tmp_path
):
    out = tmp_path / "out"
    assert segment(scene, bundle, out, "--sheet", "512") == 0

    def inferred(raster, model, *options):
        assert segment(raster, model, out, "--sheet", "512", "--work", str(out / ".work"), *options) == 0
        return manifest(out)["counts"]["sheets_inferred"]

    assert inferred(scene, bundle) == 0
    assert inferred(scene, brightest) == 6
    assert inferred(scene, bundle, "--halo", "64") == 6
    assert inferred(scene, bundle, "--stitch", "blend") == 6
    assert inferred(scene, bundle, "--batch-size", "2") == 6
    assert inferred(scene, bundle, "--bands", "3,2,1") == 6
    with rasterio.open(scene) as dataset:
        pixels = np.moveaxis(dataset.read(), 0, -1)
    pixels[5, 5] += 1
    changed = make_raster(pixels=pixels, nodata=0, name="changed.tif")
    assert inferred(changed, bundle) == 1


def test_options_change_the_result(scene, brightest, tmp_path):
    def run(name, *options):
        assert segment(scene, brightest, tmp_path / name, *options) == 0
        collection = json.loads((tmp_path / name / "scene" / "polygons.geojson").read_text())
        return results(tmp_path / name)[0], [feature["properties"] for feature in collection["features"]]

    labels, polygons = run("plain")
    assert {p["class"] for p in polygons} == {"water", "lake"}
    assert {p["class"] for p in run("classes", "--classes", "land")[1]} == {"land"}
    large = run("large", "--min-area", "300")[1]
    assert large == [p for p in polygons if p["area_m2"] >= 300] and 0 < len(large) < len(polygons)
    sure = run("sure", "--min-score", "0.99")[1]
    assert sure == [p for p in polygons if p["score"] >= 0.99] and 0 < len(sure) < len(polygons)
    filled = run("filled", "--fill-holes", "1000")[1]
    assert [p["score"] for p in filled] == [p["score"] for p in polygons]
    grown = [(a["area_m2"], b["area_m2"]) for a, b in zip(polygons, filled, strict=True)]
    assert all(a <= b for a, b in grown) and any(a < b for a, b in grown)
    swapped = run("bands", "--bands", "3,2,1")[0]
    assert swapped != labels
    assert run("work", "--work", str(tmp_path / "elsewhere"))[0] == labels
    assert (tmp_path / "elsewhere" / "store").is_dir() and not (tmp_path / "work" / ".work").exists()


ALL_FORMATS = ("geojson", "geojsonl", "fgb", "gpkg", "parquet", "pmtiles")


def test_all_formats_hold_the_same_polygons_whatever_the_sheets(scene, brightest, tmp_path):
    everything, work = ",".join(ALL_FORMATS), ("--work", str(tmp_path / "work"))
    assert segment(scene, brightest, tmp_path / "out", "--format", everything, *work) == 0
    folder, names = tmp_path / "out" / "scene", [f"polygons.{ending}" for ending in ALL_FORMATS]
    assert sorted(path.name for path in folder.iterdir()) == sorted(["labels.tif", *names])
    assert sorted(manifest(tmp_path / "out")["rasters"][0]["files"]) == sorted(["labels.tif", *names])
    collection = json.loads((folder / "polygons.geojson").read_text())
    ids = [feature["id"] for feature in collection["features"]]
    lines = (folder / "polygons.geojsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == collection["features"]
    for ending in ("fgb", "gpkg"):
        found = pyogrio.read_arrow(folder / f"polygons.{ending}")[1]
        assert sorted(found["id"].to_pylist()) == sorted(ids)
    assert pyarrow.parquet.read_table(folder / "polygons.parquet")["id"].to_pylist() == ids
    whole = [(folder / name).read_bytes() for name in names]
    again = ("--format", everything, "--sheet", "512", *work)
    assert segment(scene, brightest, tmp_path / "again", *again) == 0
    assert [(tmp_path / "again" / "scene" / name).read_bytes() for name in names] == whole


def test_polygons_of_an_earlier_run_in_another_format_do_not_stay(scene, brightest, tmp_path, capsys):
    assert segment(scene, brightest, tmp_path, "--format", "gpkg,geojson") == 0
    assert "{labels.tif, polygons.geojson, polygons.gpkg}" in capsys.readouterr().out
    assert segment(scene, brightest, tmp_path, "--format", "parquet", "--classes", "lake") == 0
    assert sorted(path.name for path in (tmp_path / "scene").iterdir()) == ["labels.tif", "polygons.parquet"]
    assert manifest(tmp_path)["polygons"]["formats"] == ["parquet"]


@pytest.mark.slow
def test_simplified_borders_are_shared_and_do_not_depend_on_sheets(make_raster, brightest, tmp_path):
    rows, cols = np.indices((600, 1100))
    waves = [np.sin(rows / (40 + 9 * i) + i) + np.cos(cols / (55 - 7 * i)) for i in range(3)]
    pixels = (60 * np.stack(waves, axis=-1) + 127).astype("uint8")
    pixels[500:560, 480:530] = 0
    scene = make_raster(pixels=pixels, nodata=0, name="scene.tif")

    def polygons(name, *options):
        wanted = ("--classes", "land,water,lake", "--work", str(tmp_path / "work"), *options)
        assert segment(scene, brightest, tmp_path / name, *wanted) == 0
        collection = json.loads((tmp_path / name / "scene" / "polygons.geojson").read_text())
        return [shapely.geometry.shape(feature["geometry"]) for feature in collection["features"]]

    plain, coarse = polygons("plain"), polygons("coarse", "--simplify", "1")
    assert shapely.get_num_coordinates(coarse).sum() < 0.3 * shapely.get_num_coordinates(plain).sum()
    assert shapely.is_valid(coarse).all() and shapely.coverage_is_valid(coarse)
    assert shapely.area(coarse).sum() == pytest.approx(shapely.area(plain).sum(), rel=1e-9)
    assert polygons("fine", "--simplify", "0.3") not in (plain, coarse)
    polygons("small sheets", "--simplify", "1", "--sheet", "512")
    assert results(tmp_path / "small sheets") == results(tmp_path / "coarse")
    assert results(tmp_path / "plain")[0] == results(tmp_path / "coarse")[0]
    assert manifest(tmp_path / "coarse")["counts"]["tiles_inferred"] == 0
    assert manifest(tmp_path / "coarse")["polygons"]["simplify_m"] == 1


def test_the_sieve_leaves_the_label_map_and_its_shares_as_they_were(scene, brightest, tmp_path):
    def run(name, *options):
        wanted = ("--classes", "land,water,lake", "--work", str(tmp_path / "work"), *options)
        assert segment(scene, brightest, tmp_path / name, *wanted) == 0
        found = json.loads((tmp_path / name / "scene" / "polygons.geojson").read_text())["features"]
        (record,) = manifest(tmp_path / name)["rasters"]
        shares = {name: found["share"] for name, found in record["classes"].items()}
        return results(tmp_path / name), [f["properties"]["area_m2"] for f in found], shares

    (labels, plain), areas, shares = run("plain")
    least = float(np.quantile(areas, 0.7))
    (same, sieved), larger, same_shares = run("sieved", "--sieve", str(least))
    assert (same, same_shares) == (labels, shares) and sieved != plain
    assert len(larger) < len(areas) and min(larger) >= 0.999 * least
    assert sum(larger) == pytest.approx(sum(areas), rel=1e-6)
    assert run("small sheets", "--sieve", str(least), "--sheet", "512")[0][1] == sieved
    assert manifest(tmp_path / "sieved")["polygons"]["sieve_m2"] == least


def test_several_rasters_of_different_kind_in_one_run(make_raster, brightest, tmp_path):
    make_raster(pixels=blocky(300, 700, 1).astype("uint16"), name="in/utm.tif")
    degrees = rasterio.Affine(1e-4, 0, 9, 0, -1e-4, 47)
    make_raster(
        pixels=blocky(700, 90, 2).astype("float32"), name="in/ll.tif", crs="EPSG:4326", transform=degrees
    )
    assert segment(tmp_path / "in", brightest, tmp_path / "out", "--sheet", "512") == 0
    for name in ("utm", "ll"):
        with (
            rasterio.open(tmp_path / "out" / name / "labels.tif") as labels,
            rasterio.open(tmp_path / "in" / f"{name}.tif") as raster,
        ):
            assert (labels.read(1) == raster.read().argmax(0)).all()
            assert labels.transform == raster.transform


ROTATED = (
    rasterio.Affine.translation(500_000, 5_600_000)
    * rasterio.Affine.rotation(30)
    * rasterio.Affine.scale(2, -3)
)
PLACES = {
    "degrees": ("EPSG:4326", rasterio.Affine(1e-4, 0, 9, 0, -2e-4, 47)),
    "utm": ("EPSG:32632", rasterio.Affine(0.5, 0, 5e5, 0, -0.5, 5.6e6)),
    "mercator": ("EPSG:3857", rasterio.Affine(3, 0, 1e6, 0, -3, 6e6)),
    "south-up": ("EPSG:32733", rasterio.Affine(0.5, 0, 4e5, 0, 0.5, 8.2e6)),
    "rotated": ("EPSG:32632", ROTATED),
}


@pytest.mark.parametrize("place", PLACES)
def test_polygons_lie_on_the_pixels_they_came_from(make_raster, brightest, tmp_path, place):
    from rasterio.warp import transform as warp

    crs, transform = PLACES[place]
    pixels = np.zeros((90, 140, 3), np.uint8)
    pixels[..., 0] = 90
    pixels[20:31, 50:71] = (0, 90, 0)
    path = make_raster(pixels=pixels, crs=crs, transform=transform)
    assert segment(path, brightest, tmp_path / "out") == 0
    collection = json.loads((tmp_path / "out" / "scene" / "polygons.geojson").read_text())
    (feature,) = collection["features"]
    xs, ys = transform * (np.array([50, 71, 71, 50]), np.array([20, 20, 31, 31]))
    corners = np.stack(warp(crs, "EPSG:4326", list(xs), list(ys)), axis=1)
    ring = np.array(feature["geometry"]["coordinates"][0])
    for corner in corners:
        assert np.abs(ring - corner).max(axis=1).min() <= 1e-7
    assert shapely.LinearRing(ring).is_ccw


def test_sheets_without_valid_pixels_cost_no_call(make_raster, bundle, tmp_path):
    pixels = blocky(700, 1300)
    pixels[:, 512:] = 0
    half = make_raster(pixels=pixels, nodata=0)
    assert segment(half, bundle, tmp_path / "half", "--sheet", "512") == 0
    record = manifest(tmp_path / "half")
    assert record["counts"]["tiles_inferred"] == 2
    assert [sheet["tiles"] for sheet in record["rasters"][0]["sheets"]] == [1, 0, 0, 1, 0, 0]
    none = make_raster(pixels=np.zeros((600, 700, 3), np.uint8), nodata=0)
    assert segment(none, bundle, tmp_path / "none") == 0
    assert manifest(tmp_path / "none")["counts"]["tiles_inferred"] == 0
    assert (labels(tmp_path / "none") == 255).all()
    assert features(tmp_path / "none") == []


def test_sheets_of_equal_pixels_are_inferred_once(make_raster, bundle, tmp_path):
    """Also where both are worked on at the same time."""
    scene = make_raster(pixels=np.full((1024, 2048, 3), 90, np.uint8))
    assert segment(scene, bundle, tmp_path, "--sheet", "512") == 0
    counts = manifest(tmp_path)["counts"]
    assert (counts["sheets"], counts["sheets_inferred"], counts["sheets_reused"]) == (8, 1, 7)


@pytest.mark.slow
def test_a_truncated_raster_ends_the_run_on_request_with_a_sentence_and_nothing_published(
    make_raster, bundle, tmp_path, capsys
):
    whole = make_raster(pixels=blocky(1200, 1300, size=1), name="cut.tif", tiled=True, compress="deflate")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert segment(whole, bundle, tmp_path / "out", "--sheet", "512", "--on-error", "fail") == 1
    error = capsys.readouterr().err.strip()
    assert "\n" not in error and "Traceback" not in error
    assert "cut.tif cannot be read at rows" in error and "truncated or damaged" in error
    assert "run the same command again to continue" in error
    assert not (tmp_path / "out" / "manifest.json").exists()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".work"]


@pytest.mark.slow
def test_a_killed_run_continues_and_ends_with_the_same_bytes(long_scene, bundle, tmp_path):
    out = tmp_path / "out"
    arguments = command(long_scene, bundle, out)
    run = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(out.glob(".work/store/*/*.sheet"))) < 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = len(list(out.glob(".work/store/*/*.sheet")))
    assert 1 <= kept < 56
    assert segment(long_scene, bundle, out, "--sheet", "512") == 0
    assert manifest(out)["counts"]["sheets_reused"] == kept
    assert segment(long_scene, bundle, tmp_path / "calm", "--sheet", "512") == 0
    assert results(out) == results(tmp_path / "calm")
    assert not list(out.glob(".work/runs/*"))


def test_a_damaged_entry_of_the_store_is_computed_again(scene, bundle, tmp_path):
    out = tmp_path / "out"
    assert segment(scene, bundle, out, "--sheet", "512") == 0
    before = results(out)
    entry = sorted(out.glob(".work/store/*/*.sheet"))[4]
    entry.write_bytes(entry.read_bytes()[:-20])
    os.utime(scene)
    assert segment(scene, bundle, out, "--sheet", "512") == 0
    assert manifest(out)["counts"]["sheets_inferred"] == 1
    assert results(out) == before


@pytest.mark.slow
def test_a_killed_worker_process_ends_the_run_instead_of_hanging(long_scene, bundle, tmp_path):
    import psutil

    arguments = command(long_scene, bundle, tmp_path / "out", "--workers", "2")
    run = subprocess.Popen(arguments, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    workers: list[psutil.Process] = []
    deadline = time.monotonic() + 120
    while not workers and time.monotonic() < deadline:
        children = psutil.Process(run.pid).children(recursive=True)
        with contextlib.suppress(psutil.NoSuchProcess):
            workers = [child for child in children if "sdk_worker_main" in " ".join(child.cmdline()[:4])]
        time.sleep(0.1)
    while not list((tmp_path / "out").glob(".work/store/*/*.sheet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    workers[-1].kill()
    _, error = run.communicate(timeout=120)
    assert run.returncode == 1
    assert error.startswith("terraseam: a worker process died (it was killed by SIGKILL")
    assert error.endswith("run the same command again to continue\n") and error.count("\n") == 1
    assert not list((tmp_path / "out").glob(".lock*"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGTERM, "1"),
        (signal.SIGINT, "1"),
        (signal.SIGINT, "2"),
        (signal.SIGTERM, "2"),
    ],
)
def test_interrupting_says_how_to_continue(long_scene, bundle, tmp_path, workers, number):
    out = tmp_path / "out"
    arguments = command(long_scene, bundle, out, "--workers", workers)
    output = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    run = subprocess.Popen(arguments, cwd=ROOT, start_new_session=True, **output)
    deadline = time.monotonic() + 120
    while not list(out.glob(".work/store/*/*.sheet")) and time.monotonic() < deadline:
        time.sleep(0.01)
    if number == signal.SIGINT:
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    _, error = run.communicate(timeout=60)
    assert run.returncode == 130
    assert error == "terraseam: interrupted; run the same command again to continue\n"


@pytest.mark.slow
def test_worker_processes_fail_with_the_same_sentence(make_raster, bundle, tmp_path):
    whole = make_raster(pixels=blocky(1200, 1300, size=1), name="cut.tif", tiled=True, compress="deflate")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    arguments = command(whole, bundle, tmp_path / "out", "--direct_num_workers", "2", "--on-error", "fail")
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cut.tif cannot be read at rows" in done.stderr and done.stderr.count("\n") == 1
    log = Path(done.stderr.rpartition("details in ")[2].strip().rstrip(")"))
    assert "RasterReadError" in log.read_text()


def test_every_stage_counts_and_times(scene, bundle, tmp_path):
    from apache_beam.options.pipeline_options import PipelineOptions

    from terraseam.pipeline.options.segment import SegmentOptions
    from terraseam.pipeline.plan.make import make_plan
    from terraseam.pipeline.run.beam_runner import beam_pipeline
    from terraseam.pipeline.run.graph import build
    from terraseam.pipeline.storage.run_paths import RunFolder

    options = SegmentOptions((str(scene),), (str(bundle),), str(tmp_path / "out"), sheet=512, tile=512)
    plan = make_plan(options)
    beam = beam_pipeline(PipelineOptions([]), tmp_path / "log")
    build(
        beam,
        RunFolder.of(plan.options.output, plan.options.work_folder),
        plan=plan,
        workers=1,
        started=time.time(),
    )
    found = beam.run().metrics().query()
    counters = {counter.key.metric.name: counter.committed for counter in found["counters"]}
    times = {timer.key.metric.name: timer.committed.count for timer in found["distributions"]}
    assert counters == {"sheets_inferred": 6, "tiles_inferred": 6}
    stages = ("read", "infer", "stitch", "vectorize", "close", "publish")
    assert times == {f"{stage}_ms": 6 for stage in stages} | {"publish_ms": 1, "close_ms": times["close_ms"]}
    assert times["close_ms"] > 0


def test_an_earlier_manifest_goes_before_anything_it_speaks_of_changes(make_raster, brightest, tmp_path):
    out = tmp_path / "out"
    a, b = make_raster(name="a.tif"), make_raster(name="b.tif")
    assert segment(a, brightest, out) == 0
    (out / "b" / "labels.tif").mkdir(parents=True)
    both = ["segment", str(a), str(b), "--model", str(brightest), "--output", str(out), "--tile", "512"]
    assert main(both) == 1
    assert not (out / "manifest.json").exists() and not list(out.glob(".staging*"))
    (out / "b" / "labels.tif").rmdir()
    assert main(both) == 0
    assert [raster["id"] for raster in manifest(out)["rasters"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--runner", "Foo"), "--runner Foo is not an Apache Beam runner"),
        (("--direct_num_workers", "two"), "--direct_num_workers is 'two'; Apache Beam takes a whole number"),
        (("--direct_num_workers=-3",), "--direct_num_workers is -3; it takes a whole number of 0 or more"),
    ],
)
def test_options_that_beam_cannot_use_get_one_sentence_and_status_2(
    make_raster, brightest, tmp_path, capsys, options, words
):
    assert segment(make_raster(), brightest, tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
