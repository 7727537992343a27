"""Every run is kept, and says what it changed against the one before."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import rasterio

from terraseam.pipeline.cli import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band())


def island(row, col, side=20):
    """Ground of the background class with one square of another."""
    pixels = np.zeros((300, 400, 3), np.uint8)
    pixels[..., 0] = 200
    pixels[row : row + side, col : col + side] = (1, 250, 1)
    return pixels


def segment(rasters, bundle, output, *options):
    arguments = ["--model", str(bundle), "--output", str(output), "--tile", "512", *options]
    return main(["segment", *map(str, rasters), *arguments])


def runs(output):
    names = sorted(path.name for path in (output / "history").iterdir())
    assert len(names) % 3 == 0
    manifests = [name for name in names if "changes" not in name]
    return [
        (
            json.loads((output / "history" / name).read_text()),
            json.loads((output / "history" / name.replace(".json", ".changes.json")).read_text()),
            json.loads((output / "history" / name.replace(".json", ".changes.geojson")).read_text()),
        )
        for name in manifests
    ]


def ids(output, raster="scene"):
    found = json.loads((output / raster / "polygons.geojson").read_text())["features"]
    return {feature["id"]: feature for feature in found}


def redraw(path, pixels):
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.moveaxis(pixels, -1, 0))


def test_a_run_says_which_polygons_it_added_removed_and_changed(make_raster, bundle, tmp_path):
    pixels = island(20, 30)
    pixels[100:140, 100:160] = (1, 250, 1)
    pixels[200:210, 200:260] = (1, 1, 250)
    scene, out = make_raster(pixels=pixels), tmp_path / "out"
    assert segment([scene], bundle, out) == 0
    before = ids(out)
    pixels[20:50, 30:50] = (200, 0, 0)
    pixels[100:140, 100:190] = (1, 250, 1)
    pixels[250:270, 20:30] = (1, 250, 1)
    redraw(scene, pixels)
    assert segment([scene], bundle, out) == 0
    after = ids(out)
    (_, first, _), (kept, changes, collection) = runs(out)
    assert first["since"] is None and first["new_rasters"] == ["scene"] and first["rasters"] == []
    assert kept == json.loads((out / "manifest.json").read_text())
    (raster,) = changes["rasters"]
    assert raster["polygons"] == {"added": 1, "removed": 1, "changed": 1}
    assert raster["sheets"] == {"inferred": 1}
    areas = raster["classes"]["water"]["polygon_area_m2"]
    assert areas[0] < areas[1] and raster["classes"]["water"]["pixels"] == [2800, 3800]
    found = {feature["properties"]["change"]: feature for feature in collection["features"]}
    (gone,) = before.keys() - after.keys()
    (new,) = after.keys() - before.keys()
    assert found["removed"]["id"] == gone and found["removed"]["geometry"] == before[gone]["geometry"]
    assert found["added"]["id"] == new and found["added"]["geometry"] == after[new]["geometry"]
    same = found["changed"]["id"]
    assert found["changed"]["geometry"] == after[same]["geometry"] != before[same]["geometry"]
    assert len(collection["features"]) == 3


def test_nothing_changes_where_nothing_changed(make_raster, bundle, tmp_path):
    scene, out = make_raster(pixels=island(20, 30)), tmp_path / "out"
    for _ in range(2):
        assert segment([scene], bundle, out) == 0
    (_, changes, collection) = runs(out)[1]
    assert changes["rasters"][0]["polygons"] == {"added": 0, "removed": 0, "changed": 0}
    assert collection["features"] == []
    redraw(scene, island(20, 30))
    assert segment([scene], bundle, out) == 0
    assert runs(out)[2][1]["rasters"][0]["polygons"] == {"added": 0, "removed": 0, "changed": 0}


@pytest.mark.parametrize(
    ("first", "then", "known"), [("geojsonl", "geojson", True), ("gpkg", "geojson", False)]
)
def test_polygons_are_compared_where_both_runs_wrote_text(make_raster, bundle, tmp_path, first, then, known):
    scene, out = make_raster(pixels=island(20, 30)), tmp_path / "out"
    assert segment([scene], bundle, out, "--format", first) == 0
    redraw(scene, island(70, 30))
    assert segment([scene], bundle, out, "--format", then) == 0
    found = runs(out)[1][1]["rasters"][0]["polygons"]
    assert found == ({"added": 1, "removed": 1, "changed": 0} if known else None)


def test_rasters_that_are_gone_are_told_and_removed_on_request(make_raster, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    a, b = make_raster(pixels=island(20, 30), name="a.tif"), make_raster(pixels=island(20, 30), name="b.tif")
    assert segment([a, b], bundle, out) == 0
    assert "earlier runs" not in capsys.readouterr().out
    (out / "b" / "mine.txt").write_text("keep me")
    assert segment([a], bundle, out) == 0
    assert "1 raster of earlier runs not among the inputs; results are kept" in capsys.readouterr().out
    assert (out / "b" / "labels.tif").exists()
    assert runs(out)[1][1]["gone_rasters"] == ["b"]
    (tmp_path / "treasure").write_text("not of this run")
    record = json.loads((out / ".done" / "b.json").read_text())
    record["files"] |= {"../../treasure": record["files"]["labels.tif"], "mine.txt": {}}
    (out / ".done" / "b.json").write_text(json.dumps(record))
    assert segment([a], bundle, out, "--prune") == 0
    assert "results were deleted" in capsys.readouterr().out
    assert [path.name for path in (out / "b").iterdir()] == ["mine.txt"]
    assert not (out / ".done" / "b.json").exists() and (tmp_path / "treasure").exists()
    assert segment([a], bundle, out) == 0
    assert "earlier runs" not in capsys.readouterr().out
    assert segment([b], bundle, out, "--prune") == 0
    assert not (out / "a").exists() and (out / "b" / "labels.tif").exists()
