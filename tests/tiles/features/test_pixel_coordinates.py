"""Polygons in pixels, of rasters that lie nowhere or anywhere; and where polygons lie of rasters that lie crooked."""

import io
import json
import warnings

import numpy as np
import pyarrow.parquet
import pyogrio
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from georefs import COS, SIN
from label_maps import keeping, shapes_of, shapes_of_rasterio, whole_map
from vectorize_cases import collection, patches, vectorize, write_labels

from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.geojson import write_geojson
from terraseam.tiles.features.gis_formats import Table
from terraseam.tiles.features.vector_tiles import write_pmtiles
from terraseam.tiles.raster.ground import PixelPlane

PIXELS = "--pixel-coordinates"


def write_nowhere(path, labels, nodata=255, **profile):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        return write_labels(path, labels, nodata=nodata, **{"crs": None, "transform": None, **profile})


def test_a_raster_without_crs_is_refused_unless_pixels_are_asked_for(tmp_path, capsys):
    labels = patches(90, 131)
    path = write_nowhere(tmp_path / "map.tif", labels)
    assert vectorize(path, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "map.tif has no CRS; assign one with" in said and "; or pass --pixel-coordinates" in said
    for side in ("32", "2048"):
        assert vectorize(path, tmp_path / side, PIXELS, "--sheet", side) == 0
    text = (tmp_path / "32" / "map" / "polygons.geojson").read_bytes()
    assert text == (tmp_path / "2048" / "map" / "polygons.geojson").read_bytes()
    found = json.loads(text)
    assert shapes_of(found["features"]) == shapes_of_rasterio(labels, labels != 255)
    assert found["bbox"] == [0, 0, 131, 90]
    words = capsys.readouterr()
    assert " px\n" in words.out and "m²" not in words.out and not words.err


def test_coordinates_are_whole_columns_and_rows_and_attributes_are_in_pixels(tmp_path):
    labels = np.array([[7, 7, 7, 8], [7, 300, 7, 8], [7, 7, 7, 8]], np.int16)
    path = write_nowhere(tmp_path / "map.tif", labels, nodata=None)
    assert vectorize(path, tmp_path / "out", PIXELS) == 0
    ring, strip, hole = collection(tmp_path / "out")["features"]
    assert ring["geometry"]["coordinates"] == [
        [[0, 0], [3, 0], [3, 3], [0, 3], [0, 0]],
        [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]],
    ]
    assert '"coordinates":[[[0,0],[3,0]' in (tmp_path / "out" / "map" / "polygons.geojson").read_text()
    said = {"raster": "map"}
    assert ring["properties"] == said | {"class": "7", "area_px": 8, "perimeter_px": 16, "touches_edge": True}
    assert hole["properties"] == said | {
        "class": "300",
        "area_px": 1,
        "perimeter_px": 4,
        "touches_edge": False,
    }
    assert strip["properties"] == said | {"class": "8", "area_px": 3, "perimeter_px": 8, "touches_edge": True}
    assert [feature["bbox"] for feature in (ring, hole, strip)] == [[0, 0, 3, 3], [1, 1, 2, 2], [3, 0, 4, 3]]
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert record["counts"]["polygon_area_px"] == 12 and record["rasters"][0]["gsd_m"] is None
    assert record["polygons"]["min_area_px"] == 0 and "min_area_m2" not in record["polygons"]
    assert record["rasters"][0]["classes"]["300"]["polygon_area_px"] == 1


def test_shells_are_counter_clockwise_by_their_numbers_in_all_formats(tmp_path):
    path = write_nowhere(tmp_path / "map.tif", patches(60, 91))
    assert vectorize(path, tmp_path / "out", PIXELS, "--format", "geojson,geojsonl,fgb,gpkg,parquet") == 0
    found = collection(tmp_path / "out")["features"]
    expected = {}
    for feature in found:
        shell, *holes = (shapely.LinearRing(ring) for ring in feature["geometry"]["coordinates"])
        assert shell.is_ccw and not any(hole.is_ccw for hole in holes)
        expected[feature["id"]] = (feature["properties"], shapely.Polygon(shell, holes))
    folder = tmp_path / "out" / "map"
    lines = [json.loads(line) for line in (folder / "polygons.geojsonl").read_text().splitlines()]
    assert lines == found
    names = ["class", "area_px", "perimeter_px", "raster", "touches_edge"]
    for ending in ("geojson", "fgb", "gpkg"):
        meta, table = pyogrio.read_arrow(folder / f"polygons.{ending}")
        assert meta["crs"].startswith('LOCAL_CS["pixels"'), ending
        check_table(table, names, table.column(table.num_columns - 1), expected)
    table = pyarrow.parquet.read_table(folder / "polygons.parquet")
    check_table(table, names, table["geometry"], expected)
    metadata = pyarrow.parquet.read_metadata(folder / "polygons.parquet").metadata
    crs = pyproj.CRS.from_json_dict(json.loads(metadata[b"geo"])["columns"]["geometry"]["crs"])
    assert (crs.type_name, crs.name) == ("Engineering CRS", "pixels")


def check_table(table, names, geometries, expected):
    rows, shapes = table.select(["id", *names]).to_pylist(), shapely.from_wkb(geometries.to_pylist())
    assert len(rows) == len(expected)
    for row, shape in zip(rows, shapes, strict=True):
        properties, polygon = expected[row.pop("id")]
        assert row == properties
        assert shape.exterior.is_ccw and shapely.equals_exact(shapely.normalize(shape), polygon.normalize())


def test_where_a_raster_lies_does_not_matter_to_its_pixels(tmp_path):
    labels = patches(70, 55)
    nowhere = write_nowhere(tmp_path / "nowhere" / "map.tif", labels)
    assert vectorize(nowhere, tmp_path / "out" / "nowhere", PIXELS) == 0
    expected = (tmp_path / "out" / "nowhere" / "map" / "polygons.geojson").read_bytes()
    points = [
        rasterio.control.GroundControlPoint(*at) for at in ((0, 0, 9, 47), (0, 55, 10, 47), (70, 0, 9, 46))
    ]
    for name, options in {
        "utm": {"place": "utm"},
        "rotated": {"place": "rotated"},
        "points": {"crs": "EPSG:4326", "gcps": points, "transform": None},
    }.items():
        path = write_labels(tmp_path / name / "map.tif", labels, **options)
        assert vectorize(path, tmp_path / "out" / name, PIXELS) == 0
        assert (tmp_path / "out" / name / "map" / "polygons.geojson").read_bytes() == expected


def test_options_of_lengths_and_areas_count_pixels(tmp_path):
    path = write_nowhere(tmp_path / "map.tif", patches(150, 211))

    def run(name, *options):
        assert vectorize(path, tmp_path / name, PIXELS, *options) == 0
        return collection(tmp_path / name)["features"]

    def areas(found):
        return [feature["properties"]["area_px"] for feature in found]

    plain = run("plain")
    assert areas(run("large", "--min-area", "63")) == [area for area in areas(plain) if area >= 63]
    assert 0 < sum(area >= 63 for area in areas(plain)) < len(plain)
    filled = run("filled", "--fill-holes", "2")
    holes = [
        shapely.Polygon(ring).area for feature in filled for ring in feature["geometry"]["coordinates"][1:]
    ]
    assert min(holes) >= 2 and sum(areas(filled)) > sum(areas(plain))
    sieved = run("sieved", "--sieve", "63")
    assert 63 <= min(areas(sieved)) < 126 and sum(areas(sieved)) == sum(areas(plain))
    assert run("sieved by small sheets", "--sieve", "63", "--sheet", "50") == sieved
    simple = run("simple", "--simplify", "2")
    assert sum(areas(simple)) == sum(areas(plain)) and len(json.dumps(simple)) < len(json.dumps(plain))
    assert all(isinstance(number, int) for feature in simple for number in feature["bbox"])
    squared = run("squared", "--regularize")
    changed = [feature for feature in squared if feature["properties"]["regularized"]]
    assert changed
    for feature in changed:
        shell, *rest = feature["geometry"]["coordinates"]
        polygon = shapely.Polygon(shell, rest)
        assert polygon.exterior.is_ccw
        assert feature["properties"]["area_px"] == pytest.approx(polygon.area, abs=0.01)
        assert feature["properties"]["perimeter_px"] == pytest.approx(polygon.length, abs=0.01)


def test_regions_that_touch_at_corners_are_one_feature_with_one_box(tmp_path):
    labels = np.full((3, 400), 255, np.uint8)
    labels[[0, 1, 2], [0, 1, 2]] = labels[0, 399] = 1
    path = write_nowhere(tmp_path / "map.tif", labels)
    assert vectorize(path, tmp_path / "out", PIXELS, "--connectivity", "8", "--sheet", "2") == 0
    steps, alone = collection(tmp_path / "out")["features"]
    assert steps["geometry"]["type"] == "MultiPolygon" and len(steps["geometry"]["coordinates"]) == 3
    assert (steps["bbox"], alone["bbox"]) == ([0, 0, 3, 3], [399, 0, 400, 1])
    assert steps["properties"]["area_px"] == 3 and steps["properties"]["perimeter_px"] == 12


def test_boxes_of_pixels_do_not_turn_round_the_earth():
    def boxed(*bounds):
        return json.dumps({"type": "Feature", "bbox": bounds}).encode()

    file = io.BytesIO()
    written = write_geojson(file, [boxed(-0.5, 1, 7, 3), boxed(300, 2, 999, 500)], crs=PixelPlane.crs)
    assert written.bounds == (-0.5, 1, 999, 500)
    assert json.loads(file.getvalue())["crs"]["properties"]["name"] == PixelPlane.crs


def test_what_pixels_cannot_be_is_refused(tmp_path, capsys):
    path = write_nowhere(tmp_path / "map.tif", patches(40, 60))
    assert vectorize(path, tmp_path / "out", PIXELS, "--format", "pmtiles", "--simplify", "40") == 2
    said = capsys.readouterr().err
    assert "--format pmtiles needs map coordinates, but --pixel-coordinates writes none" in said
    assert "--simplify 40 is 40 pixels of " in said and "which is 40 px on its shorter side" in said
    with pytest.raises(ValueError, match="the features are in pixels"):
        write_pmtiles(tmp_path / "a.pmtiles", iter([None]), Table(PixelPlane(3, 4), "Polygon"))
    with pytest.raises(ValueError, match="1 px or more on each side, got 0 x 4 px"):
        PixelPlane(0, 4)


def test_no_region_makes_no_feature():
    labels = np.full((3, 5), 255, np.uint8)
    assert features(whole_map(labels, labels, keeping()), PixelPlane(3, 5), FeatureOptions("map", {})) == []


CROOKED = {
    "rotated": (4 * COS, 4 * SIN, 399_000.0, 4 * SIN, -4 * COS, 5_600_000.0),
    "sheared": (3.0, 1.5, 399_000.0, 0.5, -2.0, 5_600_000.0),
    "south up": (2.0, 0.0, 399_000.0, 0.0, 2.0, 5_590_000.0),
    "west first": (-2.0, 0.0, 399_000.0, 0.0, -3.0, 5_590_000.0),
    "on its side": (0.0, 2.0, 399_000.0, 3.0, 0.0, 5_590_000.0),
}


@pytest.mark.parametrize("name", CROOKED)
def test_polygons_of_crooked_rasters_lie_where_those_of_rasterio_do(name, tmp_path):
    transform, labels = rasterio.Affine(*CROOKED[name]), patches(90, 131)
    path = write_labels(tmp_path / "map.tif", labels, crs="EPSG:32633", transform=transform)
    assert vectorize(path, tmp_path / "out", "--format", "fgb,geojson", "--sheet", "64") == 0
    _, table = pyogrio.read_arrow(tmp_path / "out" / "map" / "polygons.fgb")
    shapes = shapely.from_wkb(table.column(table.num_columns - 1).to_pylist())
    by_class = dict.fromkeys(map(str, range(4)), ())
    for geometry, label in rasterio.features.shapes(
        labels, mask=labels != 255, connectivity=4, transform=transform
    ):
        by_class[str(int(label))] += (shapely.geometry.shape(geometry),)
    rows = dict(
        zip(table["id"].to_pylist(), zip(table["class"].to_pylist(), shapes, strict=True), strict=True)
    )
    for label, expected in by_class.items():
        mine = shapely.union_all([shape for kind, shape in rows.values() if kind == label])
        assert shapely.symmetric_difference(mine, shapely.union_all(expected)).area < 1e-6 * mine.area
    assert len(rows) == sum(map(len, by_class.values()))
    to_map = pyproj.Transformer.from_crs(4326, 32633, always_xy=True)
    for feature in collection(tmp_path / "out")["features"]:
        _, shape = rows[feature["id"]]
        rings = feature["geometry"]["coordinates"]
        polygon = shapely.Polygon(rings[0], rings[1:])
        assert shape.exterior.is_ccw and polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
        placed = shapely.transform(polygon, lambda xy: np.stack(to_map.transform(*xy.T), axis=1))
        assert shapely.hausdorff_distance(placed, shape) < 0.05
        assert feature["properties"]["area_m2"] == pytest.approx(shape.area, rel=2e-3)
