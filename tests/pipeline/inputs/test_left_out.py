"""Rasters that cannot be used are left out, said so, and take no other with them."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import rasterio
import shapely
from damages import overwrite_block
from segment_cases import blocky, manifest
from vectorize_cases import patches, write_labels

from terraseam.pipeline.cli import main
from terraseam.pipeline.storage import retries

EAST = rasterio.Affine(0.5, 0, 501_000, 0, -0.5, 5_600_000)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(retries, "WAITS_S", (0.0, 0.0))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Trained at 0.5 m."""
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band(), gsd=0.5)


@pytest.fixture
def scenes(make_raster, tmp_path):
    """A good raster among others that cannot be used."""
    pixels = blocky(60, 70)
    make_raster(pixels=pixels, name="scenes/good.tif")
    (tmp_path / "scenes" / "arriving.tif").write_bytes(b"")
    (tmp_path / "scenes" / "headless.tif").write_bytes((tmp_path / "scenes" / "good.tif").read_bytes()[:100])
    make_raster(pixels=pixels, name="scenes/nowhere.tif", crs=None)
    make_raster(bands=2, name="scenes/two.tif", transform=EAST)
    make_raster(
        pixels=pixels, name="scenes/coarse.tif", transform=rasterio.Affine(2, 0, 502_000, 0, -2, 5_600_000)
    )
    return tmp_path / "scenes"


REASONS = {
    "arriving": "arriving.tif is empty: 0 bytes",
    "headless": "headless.tif is not a raster that GDAL can open",
    "nowhere": "nowhere.tif has no CRS",
    "two": "expects 3 bands (red, green, blue), but ",
    "coarse": "coarse.tif has a GSD of 2 m/px",
}


def run(command, rasters, bundle, output, *options):
    words = [command, rasters, "--model", bundle, "--output", output, "--tile", "512", *options]
    return main(list(map(str, words)))


def test_segment_does_the_good_ones_and_names_the_others(scenes, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    assert run("segment", scenes, bundle, out) == 3
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("terraseam: 5 rasters were skipped: ")
    assert said.splitlines()[-1].endswith("; run the same command again to retry")
    assert all(f"skipped: {scenes}" in said and reason in said for reason in REASONS.values())
    found = manifest(out)
    assert [raster["id"] for raster in found["rasters"]] == ["good"] and (
        out / "good" / "labels.tif"
    ).exists()
    assert {one["id"]: REASONS[one["id"]] in one["reasons"][0] for one in found["left_out"]} == dict.fromkeys(
        REASONS, True
    )
    assert found["counts"]["rasters_left_out"] == 5 and found["quarantine"] == str(out / "quarantine.geojson")
    places = {
        feature["properties"]["raster"]: feature
        for feature in json.loads((out / "quarantine.geojson").read_text())["features"]
    }
    assert set(places) == {"two", "coarse"}
    assert REASONS["two"] in places["two"]["properties"]["cause"]
    west = shapely.geometry.shape(places["two"]["geometry"]).bounds[0]
    assert west < shapely.geometry.shape(places["coarse"]["geometry"]).bounds[0]
    # Nothing is to be done, and still not all is done.
    assert run("segment", scenes, bundle, out) == 3
    assert manifest(out)["counts"]["rasters_kept"] == 1 and manifest(out)["counts"]["rasters_left_out"] == 5


def test_the_plan_names_those_that_will_be_left_out(scenes, bundle, tmp_path, capsys):
    assert run("plan", scenes, bundle, tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "good: 70 x 60 px" in said and all(reason in said for reason in REASONS.values())
    assert run("plan", scenes, bundle, tmp_path / "out", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert {one["id"] for one in plan["left_out"]} == set(REASONS) and len(plan["rasters"]) == 1


@pytest.mark.parametrize("command", ["plan", "segment"])
def test_on_error_fail_refuses_before_any_work_with_every_reason(scenes, bundle, tmp_path, capsys, command):
    assert run(command, scenes, bundle, tmp_path / "out", "--on-error", "fail") == 2
    said = capsys.readouterr().err
    assert all(reason in said for reason in REASONS.values()) and not (tmp_path / "out").exists()


def test_what_names_nothing_is_refused_and_so_is_a_run_without_rasters(scenes, bundle, tmp_path, capsys):
    for given, words in (("gone.tif", "gone.tif does not exist"), ("go*e.tif", "no file matches")):
        rest = ["--model", bundle, "--output", tmp_path / "out"]
        assert main(list(map(str, ["segment", scenes / "good.tif", scenes / given, *rest]))) == 2
        assert words in capsys.readouterr().err and not (tmp_path / "out").exists()
    (scenes / "good.tif").unlink()
    assert run("segment", scenes, bundle, tmp_path / "out") == 2
    assert all(reason in capsys.readouterr().err for reason in [REASONS["arriving"]])


def test_what_was_known_of_a_raster_that_cannot_be_used_now_stays(
    scenes, bundle, tmp_path, make_raster, capsys
):
    out, two = tmp_path / "out", scenes / "two.tif"
    make_raster(pixels=blocky(60, 70, seed=1), name="scenes/two.tif", transform=EAST)
    assert run("segment", scenes, bundle, out) == 3
    before = (out / "two" / "labels.tif").read_bytes()
    two.write_bytes(b"")
    assert run("segment", scenes, bundle, out, "--prune") == 3
    assert (out / "two" / "labels.tif").read_bytes() == before and manifest(out)["gone"] == []
    assert "of earlier runs not among the inputs" not in capsys.readouterr().out
    make_raster(pixels=blocky(60, 70, seed=1), name="scenes/two.tif", transform=EAST)
    assert run("segment", scenes, bundle, out) == 3
    assert {raster["id"] for raster in manifest(out)["rasters"]} == {"good", "two"}


def test_the_id_of_a_raster_does_not_hang_on_whether_its_namesake_can_be_used(
    scenes, bundle, tmp_path, make_raster
):
    make_raster(pixels=blocky(60, 70, seed=1), name="more/good.tif", transform=EAST)
    given = ["segment", str(scenes / "good.tif"), str(tmp_path / "more" / "good.tif"), "--model", str(bundle)]
    given += ["--output", str(tmp_path / "out"), "--tile", "512"]
    assert main(given) == 0
    ids = [raster["id"] for raster in manifest(tmp_path / "out")["rasters"]]
    (tmp_path / "more" / "good.tif").write_bytes(b"")
    assert main(given) == 3
    assert [raster["id"] for raster in manifest(tmp_path / "out")["rasters"]] == ids[:1]
    assert [one["id"] for one in manifest(tmp_path / "out")["left_out"]] == ids[1:]


@pytest.fixture
def maps(tmp_path):
    folder = tmp_path / "maps"
    tiled = {"tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    write_labels(folder / "good.tif", patches(), **tiled)
    write_labels(folder / "other.tif", patches(seed=4), **tiled)
    overwrite_block(write_labels(folder / "damaged.tif", patches(seed=5), **tiled))
    (folder / "empty.tif").write_bytes(b"")
    write_labels(folder / "floats.tif", patches().astype(np.float32))
    return folder


@pytest.mark.parametrize("options", [(), ("--sheet", "64"), ("--sheet", "100", "--sieve", "3")])
def test_vectorize_does_the_good_ones_and_names_the_others(maps, tmp_path, capsys, options):
    out = tmp_path / "out"
    assert main(["vectorize", str(maps), "--output", str(out), *options]) == 3
    said = capsys.readouterr().err.splitlines()[-1]
    assert "3 rasters were skipped: " in said and "run the same command again to retry" in said
    for words in (
        "empty.tif is empty",
        "floats.tif has samples of type float32",
        "damaged.tif cannot be read at",
    ):
        assert words in said
    assert sorted(path.name for path in out.glob("*/polygons.geojson")) == ["polygons.geojson"] * 2
    found = manifest(out)
    assert [raster["id"] for raster in found["rasters"]] == ["good", "other"]
    assert sorted(one["id"] for one in found["left_out"]) == ["damaged", "empty", "floats"]
    (feature,) = json.loads((out / "quarantine.geojson").read_text())["features"]
    assert feature["properties"]["raster"] == "damaged"
    alone = tmp_path / "alone"
    assert main(["vectorize", str(maps / "good.tif"), "--output", str(alone), *options]) == 0
    name = "good/polygons.geojson"
    assert (out / name).read_bytes() == (alone / name).read_bytes()


def test_vectorize_keeps_what_it_knew_of_a_raster_and_ends_where_it_is_asked_to(maps, tmp_path, capsys):
    good, out = maps / "good.tif", tmp_path / "out"
    assert main(["vectorize", str(good), "--output", str(out)]) == 0
    before = (out / "good" / "polygons.geojson").read_bytes()
    overwrite_block(good)
    both = ["vectorize", str(good), str(maps / "other.tif"), "--output", str(out)]
    assert main(both) == 3
    assert (out / "good" / "polygons.geojson").read_bytes() == before
    assert main([*both, "--on-error", "fail"]) == 1
    said = capsys.readouterr().err
    assert "good.tif cannot be read at" in said and "; run the same command again to start over" in said
    assert "inferred sheets are kept" not in said
    assert main(["vectorize", str(maps / "empty.tif"), *both[1:], "--on-error", "fail"]) == 2
    assert "empty.tif is empty: 0 bytes" in capsys.readouterr().err
