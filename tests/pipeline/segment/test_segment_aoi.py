"""--aoi of the main job and of terraseam vectorize: inside nothing changes, outside nothing is done."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import rasterio
import rasterio.features
import shapely
from area_cases import STAR, mask_of, reason, write_area
from segment_cases import (
    RESULTS,
    assert_ways_change_no_byte,
    blocky,
    labels,
    manifest,
    plan,
    results,
    segment,
)
from tiers import some

from terraseam.pipeline.cli import main


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet())


@pytest.fixture
def scene(make_raster):
    pixels = blocky(1100, 1900)
    pixels[300:420, 400:460] = 0
    return make_raster(pixels=pixels, nodata=0, name="scene.tif", tiled=True, blockxsize=256, blockysize=256)


def test_inside_nothing_changes_and_outside_is_nodata(scene, bundle, tmp_path, capsys):
    aoi = write_area(tmp_path / "area.geojson", scene)
    sheets = ("--sheet", "512")
    assert segment(scene, bundle, tmp_path / "all", *sheets) == 0
    capsys.readouterr()
    assert (
        segment(scene, bundle, tmp_path / "some", "--aoi", aoi, *sheets, "--work", tmp_path / "all" / ".work")
        == 0
    )
    inside = mask_of(scene)
    everything, some = labels(tmp_path / "all"), labels(tmp_path / "some")
    assert (some == np.where(inside, everything, 255)).all()
    counts = manifest(tmp_path / "some")["counts"]
    # The store has whole sheets: none is inferred anew.
    assert (counts["sheets"], counts["sheets_inferred"]) == (6, 0)
    record = manifest(tmp_path / "some")["rasters"][0]
    assert record["classes"]["water"]["pixels"] == (some == 1).sum()
    assert record["classes"]["water"]["share"] == pytest.approx((some == 1).sum() / inside.sum())
    assert record["aoi_share"] == pytest.approx(inside.mean())
    hole = inside & (everything == 255)
    assert record["nodata_share"] == pytest.approx(hole.sum() / inside.sum()) and hole.any()
    assert manifest(tmp_path / "some")["inputs"] == {"aoi": str(aoi), "resample": False}


def test_polygons_are_those_of_one_pass_over_the_clipped_label_map(scene, bundle, tmp_path):
    aoi = write_area(tmp_path / "area.gpkg", scene, crs="EPSG:3857")
    assert (
        segment(scene, bundle, tmp_path, "--sheet", "512", "--aoi", aoi, "--classes", "land,water,lake") == 0
    )
    found = labels(tmp_path)
    with rasterio.open(tmp_path / "scene" / "labels.tif") as dataset:
        shapes = rasterio.features.shapes(found, mask=found != 255, transform=dataset.transform)
        want = sorted((int(value), shapely.geometry.shape(shape).area) for shape, value in shapes)
    names = {"land": 0, "water": 1, "lake": 2}
    features = json.loads((tmp_path / "scene" / "polygons.geojson").read_text())["features"]
    got = sorted((names[f["properties"]["class"]], f["properties"]["area_m2"]) for f in features)
    assert [label for label, _ in got] == [label for label, _ in want]
    assert np.allclose([area for _, area in got], [area for _, area in want], rtol=1e-3)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param((), marks=pytest.mark.slow),
        ("--sieve", "40", "--simplify", "1", "--max-region", "700"),
        pytest.param(("--stitch", "blend"), marks=pytest.mark.slow),
    ],
)
def test_sheets_replays_and_order_change_no_byte(scene, bundle, tmp_path, monkeypatch, options):
    aoi = write_area(tmp_path / "area.geojson", scene)
    more = (*options, "--aoi", aoi, "--classes", "land,water,lake")
    assert_ways_change_no_byte(scene, bundle, tmp_path, monkeypatch, *more)


@pytest.mark.slow
def test_two_worker_processes_change_no_byte(scene, bundle, tmp_path):
    aoi = write_area(tmp_path / "area.geojson", scene)
    for name, workers in (("one", "1"), ("two", "2")):
        options = ("--aoi", aoi, "--sheet", "512", "--direct_num_workers", workers)
        assert segment(scene, bundle, tmp_path / name, *options) == 0
    assert results(tmp_path / "one") == results(tmp_path / "two")


@pytest.mark.slow
def test_larger_tiles_change_no_byte_either(scene, bundle, tmp_path):
    aoi = write_area(tmp_path / "area.geojson", scene)
    assert segment(scene, bundle, tmp_path / "small", "--aoi", aoi) == 0
    assert segment(scene, bundle, tmp_path / "large", "--aoi", aoi, "--tile", "1024") == 0
    assert results(tmp_path / "small") == results(tmp_path / "large")


def test_sheets_outside_are_not_even_read(make_raster, bundle, tmp_path):
    """The blocks of all sheets that the area and its halo leave out are cut off the file."""
    whole = make_raster(
        pixels=blocky(2000, 600), name="scene.tif", tiled=True, blockxsize=512, blockysize=512
    )
    area = write_area(tmp_path / "area.geojson", whole, [shapely.box(50, 40, 500, 480)])
    assert segment(whole, bundle, tmp_path / "whole", "--aoi", area, "--sheet", "512") == 0
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    assert segment(whole, bundle, tmp_path / "cut", "--aoi", area, "--sheet", "512") == 0
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    assert manifest(tmp_path / "cut")["counts"]["tiles_inferred"] == 1
    assert segment(whole, bundle, tmp_path / "all", "--sheet", "512", "--on-error", "fail") == 1


@pytest.mark.parametrize("name", some(["area.shp", "area.gpkg", "area.fgb", "area.parquet"], quick=1))
def test_any_format_in_any_crs_gives_the_same_results(scene, bundle, tmp_path, name):
    """Two polygons, one of two parts, with corners on whole pixels: small errors of coordinates change no pixel."""
    two = [shapely.MultiPolygon([shapely.box(100, 90, 300, 400), shapely.box(500, 40, 700, 140)])]
    two.append(shapely.box(250, 300, 640, 610))
    same = write_area(tmp_path / "same.geojson", scene, two, "EPSG:4326")
    other = write_area(tmp_path / name, scene, two, "EPSG:32632" if name.endswith("shp") else "EPSG:25832")
    for output, aoi in (("same", same), ("other", other)):
        assert segment(scene, bundle, tmp_path / output, "--aoi", aoi) == 0
    assert results(tmp_path / "same") == results(tmp_path / "other")
    assert (labels(tmp_path / "same") != 255).sum() > 100_000


def test_rasters_that_the_area_misses_have_no_results(scene, make_raster, bundle, tmp_path, capsys):
    away = make_raster(name="away.tif", transform=rasterio.Affine(0.5, 0, 6e5, 0, -0.5, 5.6e6))
    aoi = write_area(tmp_path / "area.geojson", scene)
    assert (
        main(["plan", str(away), str(scene), "--model", str(bundle), "--output", "out", "--aoi", str(aoi)])
        == 0
    )
    said = capsys.readouterr().out
    assert "away.tif lies outside --aoi and will have no results" in said
    assert "1 of 1 sheet in --aoi" in said
    assert main(["segment", str(away), str(scene), "--model", str(bundle), "--output", str(tmp_path / "out"), "--aoi",
        str(aoi)]) == 0  # fmt: skip
    assert [raster["id"] for raster in manifest(tmp_path / "out")["rasters"]] == ["scene"]
    assert not (tmp_path / "out" / "away").exists()


def test_a_plan_counts_the_sheets_of_the_area(scene, bundle, tmp_path, capsys):
    aoi = write_area(tmp_path / "area.geojson", scene)
    said = (scene, bundle, tmp_path, "--sheet", "512", "--aoi", aoi)
    assert plan(*said) == 0
    assert "6 of 12 sheets in --aoi" in capsys.readouterr().out
    assert plan(*said, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sheets"], told["tiles"], told["rasters"][0]["sheets_in_aoi"]) == (6, 6, 6)
    assert told["pixels"] == 2 * 512 * 512 * 2 + 2 * (1100 - 1024) * 512
    assert told["aoi"] == str(aoi)


def bad_areas(tmp_path, scene):
    far = write_area(tmp_path / "far.geojson", scene, [shapely.box(90_000, 0, 91_000, 900)])
    yield far, "covers no raster: no pixel centre lies inside; check the CRS of both"
    between = write_area(tmp_path / "between.gpkg", scene, [shapely.box(7.6, 7.6, 8.4, 8.4)], "EPSG:32632")
    yield between, "covers no raster"
    plain = write_area(tmp_path / "plain.shp", scene)
    plain.with_suffix(".prj").unlink()
    yield plain, "has no CRS (its .prj file is missing)"
    points = tmp_path / "points.geojson"
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [9, 50]}}
    points.write_text(json.dumps({"type": "FeatureCollection", "features": [point]}))
    yield points, "holds no polygon, but 1 a Point, not a polygon"
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    yield empty, "holds no polygon; give a file of polygons"
    nothing = tmp_path / "nothing.gpkg"
    nothing.touch()
    yield nothing, "is empty: 0 bytes"
    text = tmp_path / "text.geojson"
    text.write_text("north of the river")
    yield text, "is not a vector file that GDAL can read"
    yield tmp_path / "gone.fgb", "does not exist"
    yield scene, "is a raster; give a file of polygons"
    collapsed = tmp_path / "collapsed.geojson"
    line = {"type": "Polygon", "coordinates": [[[9, 50], [9.1, 50], [9.2, 50], [9, 50]]]}
    collapsed.write_text(json.dumps({"type": "Feature", "properties": {}, "geometry": line}))
    yield collapsed, "holds no polygon, but 1 no area"


def test_areas_that_cannot_be_used_are_refused_in_a_sentence(scene, bundle, tmp_path, capsys):
    for path, words in bad_areas(tmp_path, scene):
        for verb in ("plan", "segment"):
            (told,) = reason(
                capsys, verb, scene, "--model", bundle, "--output", tmp_path / "out", "--aoi", path
            )
            assert words in told and "--aoi" in told and path.name in told, told
    assert not (tmp_path / "out").exists()


def test_invalid_polygons_are_mended_and_that_is_said(scene, bundle, tmp_path, capsys):
    bow = shapely.Polygon([(100, 100), (400, 300), (400, 100), (100, 300)])
    aoi = write_area(tmp_path / "bow.geojson", scene, [bow, shapely.box(500, 500, 520, 520)])
    assert segment(scene, bundle, tmp_path, "--aoi", aoi) == 0
    assert "1 invalid polygon repaired" in capsys.readouterr().err
    found = labels(tmp_path) != 255
    assert found[200, 110] and found[200, 390] and not found[110, 250] and found[510, 510]


@pytest.mark.slow
def test_another_area_is_published_again_and_the_same_is_left_alone(scene, bundle, tmp_path, capsys):
    aoi = write_area(tmp_path / "area.geojson", scene)
    for polygons in ([STAR], [STAR], [shapely.box(600, 20, 900, 500)]):
        write_area(aoi, scene, polygons)
        assert segment(scene, bundle, tmp_path / "out", "--aoi", aoi, "--sheet", "512") == 0
        capsys.readouterr()
    runs = sorted(
        path for path in (tmp_path / "out" / "history").glob("*.json") if "changes" not in path.name
    )
    counts = [json.loads(path.read_text())["counts"] for path in runs]
    assert [(one["sheets"], one["sheets_inferred"], one["rasters_kept"]) for one in counts] == [
        (6, 6, 0),
        (6, 0, 1),
        (1, 0, 0),
    ]
    assert segment(scene, bundle, tmp_path / "fresh", "--aoi", aoi, "--sheet", "2048") == 0
    assert results(tmp_path / "out") == results(tmp_path / "fresh")
    said = (scene, bundle, tmp_path / "out", "--sheet", "512", "--json")
    capsys.readouterr()
    assert plan(*said, "--aoi", write_area(tmp_path / "star.fgb", scene)) == 0
    assert json.loads(capsys.readouterr().out)["sheets_ahead"] == {"known": 6, "changed": 0, "new": 0}
    assert plan(*said) == 0
    assert json.loads(capsys.readouterr().out)["sheets_ahead"] == {"known": 6, "changed": 6, "new": 0}


# label rasters


@pytest.mark.slow
def test_vectorize_takes_an_area(scene, bundle, tmp_path, capsys):
    aoi = write_area(tmp_path / "area.geojson", scene)
    assert segment(scene, bundle, tmp_path / "all", "--classes", "land,water,lake") == 0
    assert segment(scene, bundle, tmp_path / "some", "--classes", "land,water,lake", "--aoi", aoi) == 0
    runs = []
    for name, sheet in (("small", "300"), ("large", "4000")):
        said = [
            "vectorize",
            tmp_path / "all" / "scene" / "labels.tif",
            "--output",
            tmp_path / name,
            "--aoi",
            aoi,
        ]
        assert main([*map(str, said), "--sheet", sheet]) == 0
        runs.append(results(tmp_path / name, names=RESULTS[1:]))
    assert runs[0] == runs[1]
    want = json.loads((tmp_path / "some" / "scene" / "polygons.geojson").read_text())["features"]
    got = json.loads((tmp_path / "small" / "scene" / "polygons.geojson").read_text())["features"]
    assert [f["geometry"] for f in got] == [f["geometry"] for f in want]
    assert manifest(tmp_path / "small")["counts"]["sheets"] < 4 * 7
    capsys.readouterr()
    far = write_area(tmp_path / "far.geojson", scene, [shapely.box(90_000, 0, 91_000, 900)])
    (told,) = reason(
        capsys, "vectorize", tmp_path / "all" / "scene" / "labels.tif", "--output", "out", "--aoi", far
    )
    assert "covers no raster" in told
