"""--aoi of the main job and of terraseam vectorize: inside nothing changes, outside nothing is done."""

from __future__ import annotations

import json
from dataclasses import replace

import nets
import numpy as np
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from test_segment import blocky, shuffled_sheets
from test_segment_instances import PlantedDetector, burnt, detector, things  # noqa: F401 - fixtures
from test_segment_instances import bundle as detector_bundle  # noqa: F401
from test_segment_instances import scene as planted_scene  # noqa: F401
from truth_cases import as_file, in_crs, write_geoparquet, write_vector

import pipeline.graph
import pipeline.segment
from pipeline.cli import main
from tiles.aoi import area_on
from tiles.inspect import inspect_raster
from tiles.window import Window

RESULTS = ("labels.tif", "polygons.geojson")
STAR = shapely.Polygon([(90, 30), (760, 330), (900, 1080), (470, 640), (250, 1090), (300, 500)])
"""In pixels: of the sheets of 512 px it leaves out the last two columns, and crosses all the lines between others."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet())


@pytest.fixture
def scene(make_raster):
    pixels = blocky(1100, 1900)
    pixels[300:420, 400:460] = 0
    return make_raster(pixels=pixels, nodata=0, name="scene.tif", tiled=True, blockxsize=256, blockysize=256)


def write_area(path, raster, polygons=(STAR,), crs="EPSG:4326"):
    """Polygons in pixels of a raster as a file in some CRS."""
    georef = inspect_raster(str(raster)).georef
    shapes = in_crs(np.array(polygons, object), georef, crs)
    if path.suffix == ".parquet":
        write_geoparquet(path, shapely.to_wkb(shapes), {}, pyproj.CRS(crs).to_json_dict())
        return path
    kind = "MultiPolygon" if any(shape.geom_type == "MultiPolygon" for shape in shapes) else "Polygon"
    write_vector(path, shapes, crs, kind=kind)
    return path


def mask_of(raster, polygons=(STAR,)):
    georef = inspect_raster(str(raster)).georef
    file = as_file(in_crs(np.array(polygons, object), georef, "EPSG:4326"), "EPSG:4326")
    return area_on(file, georef).mask(Window(0, 0, georef.height, georef.width))


def segment(raster, bundle, output, *options):
    said = ["segment", raster, "--model", bundle, "--output", output, "--tile", "512", *options]
    return main([*map(str, said)])


def results(output, raster="scene", names=RESULTS):
    return [(output / raster / name).read_bytes() for name in names]


def labels(output, raster="scene"):
    with rasterio.open(output / raster / "labels.tif") as dataset:
        return dataset.read(1)


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


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
    "options", [(), ("--sieve", "40", "--simplify", "1", "--max-region", "700"), ("--stitch", "blend")]
)
def test_sheets_replays_and_order_change_no_byte(scene, bundle, tmp_path, monkeypatch, options):
    aoi = write_area(tmp_path / "area.geojson", scene)
    options = (*options, "--aoi", aoi, "--classes", "land,water,lake")
    runs = {
        "one": ("--sheet", "512"),
        "two": ("--sheet", "1024"),
        "four": ("--sheet", "2048"),
        "replayed": ("--sheet", "512", "--direct_runner_bundle_repeat=1"),
    }
    for name, more in runs.items():
        assert segment(scene, bundle, tmp_path / name, *options, *more) == 0
    monkeypatch.setattr(pipeline.graph, "raster_sheets", shuffled_in_area)
    assert segment(scene, bundle, tmp_path / "shuffled", *options, "--sheet", "512") == 0
    want = results(tmp_path / "one")
    for name in (*runs, "shuffled"):
        assert results(tmp_path / name) == want, name


def shuffled_in_area(raster, plan):
    chosen = set(plan.sheets(raster))
    return [sheet for sheet in shuffled_sheets(raster, plan) if sheet[1:] in chosen]


@pytest.mark.slow
def test_two_worker_processes_change_no_byte(scene, bundle, tmp_path):
    aoi = write_area(tmp_path / "area.geojson", scene)
    for name, workers in (("one", "1"), ("two", "2")):
        options = ("--aoi", aoi, "--sheet", "512", "--direct_num_workers", workers)
        assert segment(scene, bundle, tmp_path / name, *options) == 0
    assert results(tmp_path / "one") == results(tmp_path / "two")


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


@pytest.mark.parametrize("name", ["area.gpkg", "area.fgb", "area.shp", "area.parquet"])
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
    said = [
        "plan",
        scene,
        "--model",
        bundle,
        "--output",
        tmp_path,
        "--tile",
        "512",
        "--sheet",
        "512",
        "--aoi",
        aoi,
    ]
    assert main([*map(str, said)]) == 0
    assert "6 of 12 sheets in --aoi" in capsys.readouterr().out
    assert main([*map(str, said), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["sheets"], plan["tiles"], plan["rasters"][0]["sheets_in_aoi"]) == (6, 6, 6)
    assert plan["pixels"] == 2 * 512 * 512 * 2 + 2 * (1100 - 1024) * 512
    assert plan["aoi"] == str(aoi)


def reason(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    _, *reasons = said.strip().splitlines()
    return reasons


def bad_areas(tmp_path, scene):
    far = write_area(tmp_path / "far.geojson", scene, [shapely.box(90_000, 0, 91_000, 900)])
    yield far, "misses every raster: no pixel of them has its centre inside; check the CRS of both"
    between = write_area(tmp_path / "between.gpkg", scene, [shapely.box(7.6, 7.6, 8.4, 8.4)], "EPSG:32632")
    yield between, "misses every raster"
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
    assert "1 invalid polygon mended" in capsys.readouterr().err
    found = labels(tmp_path) != 255
    assert found[200, 110] and found[200, 390] and not found[110, 250] and found[510, 510]


def test_a_raster_without_a_valid_pixel_is_not_inferred(make_raster, bundle, tmp_path):
    pixels = blocky(700, 1300)
    pixels[:, 512:] = 0
    raster = make_raster(pixels=pixels, nodata=0, name="half.tif")
    assert segment(raster, bundle, tmp_path / "half", "--sheet", "512") == 0
    assert manifest(tmp_path / "half")["counts"]["tiles_inferred"] == 2
    assert [sheet["tiles"] for sheet in manifest(tmp_path / "half")["rasters"][0]["sheets"]] == [
        1,
        0,
        0,
        1,
        0,
        0,
    ]
    raster = make_raster(pixels=np.zeros((700, 1300, 3), "uint8"), nodata=0, name="none.tif")
    assert segment(raster, bundle, tmp_path / "none", "--sheet", "512") == 0
    assert manifest(tmp_path / "none")["counts"]["tiles_inferred"] == 0
    assert (labels(tmp_path / "none", "none") == 255).all()
    assert json.loads((tmp_path / "none" / "none" / "polygons.geojson").read_text())["features"] == []


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
    said = [
        "plan",
        scene,
        "--model",
        bundle,
        "--output",
        tmp_path / "out",
        "--tile",
        "512",
        "--sheet",
        "512",
        "--json",
    ]
    capsys.readouterr()
    assert main([*map(str, said), "--aoi", str(write_area(tmp_path / "star.fgb", scene))]) == 0
    assert json.loads(capsys.readouterr().out)["sheets_ahead"] == {"known": 6, "changed": 0, "new": 0}
    assert main([*map(str, said)]) == 0
    assert json.loads(capsys.readouterr().out)["sheets_ahead"] == {"known": 6, "changed": 6, "new": 0}


# detectors

ROUGH = shapely.Polygon([(300, 100), (1100, 480), (1180, 1180), (700, 1010), (330, 1200)])
"""In pixels: cuts disks and bars, and has the disk on the corner of four sheets half inside."""


def things_of(output, raster):
    """Each thing as class, area in pixels and bounds, and what its pixels are."""
    features = json.loads((output / "scene" / "polygons.geojson").read_text())["features"]
    with rasterio.open(raster) as dataset:
        return {
            feature["id"]: (feature["properties"]["class"], burnt(feature, dataset)) for feature in features
        }


@pytest.mark.usefixtures("detector")
def test_things_are_cut_to_the_area_and_are_else_the_same(planted_scene, detector_bundle, tmp_path):  # noqa: F811
    aoi = write_area(tmp_path / "area.geojson", planted_scene, [ROUGH])
    assert segment(planted_scene, detector_bundle, tmp_path / "all", "--sheet", "512") == 0
    assert segment(planted_scene, detector_bundle, tmp_path / "some", "--sheet", "512", "--aoi", aoi) == 0
    inside = mask_of(planted_scene, [ROUGH])
    assert (labels(tmp_path / "some") == np.where(inside, labels(tmp_path / "all"), 255)).all()
    want = [(name, mask & inside) for name, mask in things_of(tmp_path / "all", planted_scene).values()]
    want = sorted((name, mask.tobytes()) for name, mask in want if mask.any())
    got = sorted(
        (name, mask.tobytes()) for name, mask in things_of(tmp_path / "some", planted_scene).values()
    )
    assert got == want and len(got) > 5


class UnsureDetector(PlantedDetector):
    """Scores a thing by where on the chip it lies: the tiles that see it do not agree."""

    def instances(self, chips):
        return [
            replace(answer, instances=tuple(replace(one, score=self._score(one)) for one in answer.instances))
            for answer in super().instances(chips)
        ]

    @staticmethod
    def _score(one):
        return 0.3 + 0.6 * ((7 * one.row + 11 * one.col + int(one.mask.sum())) % 97) / 97


@pytest.mark.parametrize(
    ("box", "sheets"),
    [
        ((460, 450, 505, 505), [4, 1, 1]),  # of one tile, but three others see it, and the disk on it
        ((830, 700, 900, 790), [1, 1, 1]),  # the end of a bar that goes on through tiles that do not see it
        ((460, 450, 600, 600), [4, 1, 1]),
    ],
)
def test_sheets_change_nothing_of_cut_things(
    planted_scene, detector_bundle, tmp_path, monkeypatch, box, sheets  # noqa: F811
):  # fmt: skip
    monkeypatch.setattr(pipeline.segment, "shared_ensemble", lambda *_: UnsureDetector())
    aoi = write_area(tmp_path / "area.geojson", planted_scene, [shapely.box(*box)])
    for name, sheet in (("one", "512"), ("two", "1024"), ("four", "2048")):
        assert segment(planted_scene, detector_bundle, tmp_path / name, "--sheet", sheet, "--aoi", aoi) == 0
    assert results(tmp_path / "one") == results(tmp_path / "two") == results(tmp_path / "four")
    assert [manifest(tmp_path / name)["counts"]["sheets"] for name in ("one", "two", "four")] == sheets
    assert json.loads((tmp_path / "one" / "scene" / "polygons.geojson").read_text())["features"]


# label rasters


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
    assert "misses every raster" in told
