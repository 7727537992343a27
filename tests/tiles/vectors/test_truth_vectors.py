"""Polygons from files: every format gives the same ones, and says clearly what is wrong with it."""

from __future__ import annotations

import json

import numpy as np
import pyproj
import pytest
import shapely
import truth_cases
from truth_cases import write_vector

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.truth.pairs import outline_of, overlapping
from terraseam.tiles.vectors.read import VectorError, is_vector, read_bounds, read_polygons

SQUARE = shapely.box(10, 50, 11, 51)
TWO = shapely.MultiPolygon([shapely.box(12, 50, 13, 51), shapely.box(14, 50, 15, 50.5)])
RING = shapely.Polygon(shapely.box(20, 40, 24, 44).exterior, [shapely.box(21, 41, 22, 42).exterior])
BOWTIE = shapely.Polygon([(30, 40), (32, 42), (32, 40), (30, 42)])
FORMATS = ("a.geojson", "a.gpkg", "a.fgb", "a.shp", "a.parquet")


def collection(path, geometries, properties=None, **members):
    properties = properties or [{}] * len(geometries)
    features = [
        {"type": "Feature", "properties": p, "geometry": g}
        for g, p in zip(geometries, properties, strict=True)
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", **members, "features": features}))
    return str(path)


@pytest.mark.parametrize("name", FORMATS)
def test_all_formats_give_the_same_polygons_and_values(tmp_path, name):
    fields = {"what": np.array(["roof", None, "pool"], object), "level": np.array([3, 2, 1])}
    kind = {"a.gpkg": "MultiPolygon", "a.fgb": "Unknown"}.get(name, "Polygon")
    options = {"promote_to_multi": True} if name == "a.gpkg" else {}
    path = write_vector(tmp_path / name, [SQUARE, TWO, RING], "EPSG:4326", fields, kind, **options)
    read = read_polygons(str(path), "what")
    order = np.argsort(shapely.bounds(read.polygons)[:, 0])  # FlatGeobuf sorts by place
    assert shapely.equals(read.polygons[order], [SQUARE, TWO, RING]).all()
    assert [read.values[number] for number in order] == ["roof", None, "pool"]
    assert (read.mended, read.skipped) == (0, 0)
    assert pyproj.CRS(read.crs).equals(pyproj.CRS("EPSG:4326"), ignore_axis_order=True)
    assert sorted(read_polygons(str(path), "level").values) == ["1", "2", "3"]
    crs, bounds = read_bounds(str(path))
    assert crs == read.crs and np.allclose(bounds, (10, 40, 24, 51))


@pytest.mark.parametrize("name", FORMATS[1:])
@pytest.mark.parametrize("crs", ["EPSG:2193", "EPSG:3857", "EPSG:32633", "EPSG:31467"])
def test_coordinates_are_x_and_y_whatever_order_the_axes_of_the_crs_have(tmp_path, name, crs):
    # EPSG:2193 and EPSG:31467 have north first.
    box = shapely.box(1_750_000, 5_400_000, 1_750_100, 5_400_050)
    read = read_polygons(str(write_vector(tmp_path / name, [box], crs, kind="Polygon")))
    assert read.polygons[0].equals(box)
    assert pyproj.CRS(read.crs).to_epsg(20) == int(crs[5:])


def test_geojson_is_in_longitude_and_latitude_unless_it_says_otherwise(tmp_path):
    shape = json.loads(shapely.to_geojson(SQUARE))
    plain = read_polygons(collection(tmp_path / "plain.geojson", [shape]))
    assert pyproj.CRS(plain.crs).is_geographic
    said = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}
    legacy = read_polygons(collection(tmp_path / "legacy.geojson", [shape], crs=said))
    assert pyproj.CRS(legacy.crs).to_epsg() == 32633 and legacy.polygons[0].equals(SQUARE)


def test_geoparquet_without_a_crs_is_in_longitude_and_latitude(tmp_path):
    truth_cases.write_geoparquet(tmp_path / "a.parquet", shapely.to_wkb([SQUARE]), {}, "absent")
    assert pyproj.CRS(read_polygons(str(tmp_path / "a.parquet")).crs).is_geographic


def test_bounds_of_geoparquet_come_from_its_metadata_where_they_are(tmp_path):
    truth_cases.write_geoparquet(
        tmp_path / "a.parquet", shapely.to_wkb([SQUARE]), {}, "absent", bbox=[1, 2, 0, 3, 4, 9]
    )
    assert read_bounds(str(tmp_path / "a.parquet"))[1] == (1, 2, 3, 4)


def test_bounds_of_geoparquet_across_the_antimeridian_go_the_short_way_around_the_earth(tmp_path):
    shapes = shapely.to_wkb([shapely.box(179, 1, 179.5, 2), shapely.box(-179.5, 1, -179, 2)])
    path = str(tmp_path / "a.parquet")
    truth_cases.write_geoparquet(tmp_path / "a.parquet", shapes, {}, "absent", bbox=[179.0, 1.0, -179.0, 2.0])
    assert read_bounds(path)[1] == (179, 1, 181, 2)
    places = {
        west: Georef("EPSG:4326", (0.001, 0, west, 0, -0.001, 1.5), 20, 30)
        for west in (179.2, -179.2, -1, 90)
    }
    paired = overlapping(places, {path: outline_of(path)})
    assert paired == {179.2: [path], -179.2: [path], -1: [], 90: []}


def test_what_is_no_polygon_is_left_out_and_counted(tmp_path):
    shapes = [
        {"type": "Point", "coordinates": [1, 2]},
        None,
        json.loads(shapely.to_geojson(SQUARE)),
        {"type": "LineString", "coordinates": [[1, 2], [3, 4]]},
        {"type": "Polygon", "coordinates": []},
        {"type": "Point", "coordinates": [3, 2]},
        {
            "type": "GeometryCollection",
            "geometries": [json.loads(shapely.to_geojson(s)) for s in (shapely.Point(0, 0), RING)],
        },
    ]
    properties = [{"what": letter} for letter in "abcdefg"]
    read = read_polygons(collection(tmp_path / "a.geojson", shapes, properties), "what")
    assert read.values == ("c", "g")
    assert shapely.equals(read.polygons, [SQUARE, RING]).all()
    assert read.skipped == 5
    assert read.reasons == {
        "a Point, not a polygon": 2,
        "a LineString, not a polygon": 1,
        "no geometry": 1,
        "an empty geometry": 1,
    }


@pytest.mark.parametrize("name", FORMATS)
def test_invalid_polygons_are_mended_and_heights_dropped(tmp_path, name):
    overlapping = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)])
    nested = shapely.MultiPolygon([shapely.box(10, 0, 14, 4), shapely.box(11, 1, 12, 2)])
    flat = shapely.Polygon([(5, 5), (6, 6), (5, 5), (5, 5)])
    shapes = [shapely.force_3d(shape, 7.0) for shape in (BOWTIE, overlapping, SQUARE, flat, nested)]
    read = read_polygons(str(write_vector(tmp_path / name, shapes, "EPSG:32633")))
    assert not shapely.has_z(read.polygons).any() and shapely.is_valid(read.polygons).all()
    # Parts that overlap are one area; of a bow tie both wings stay; what has no area goes.
    assert sorted(shapely.area(read.polygons)) == [1.0, 2.0, 6.0, 16.0]
    assert (read.mended, read.reasons) == (3, {"no area": 1})


def test_values_are_text_as_people_write_it(tmp_path):
    properties = [
        {"n": 7, "f": 2.0, "b": True, "t": "7", "d": "2024-05-06"},
        {"n": None, "f": 0.1, "b": False, "t": "", "d": None},
    ]
    shapes = [json.loads(shapely.to_geojson(SQUARE))] * 2
    path = collection(tmp_path / "a.geojson", shapes, properties)
    assert read_polygons(path, "n").values == ("7", None)
    assert read_polygons(path, "f").values == ("2", "0.1")
    assert read_polygons(path, "b").values == ("true", "false")
    assert read_polygons(path, "t").values == ("7", "")
    assert read_polygons(path, "d").values[1] is None
    fields = {"n": [7, None], "f": [2.0, 0.1], "b": [True, False]}
    truth_cases.write_geoparquet(tmp_path / "a.parquet", shapely.to_wkb([SQUARE] * 2), fields, "absent")
    assert read_polygons(str(tmp_path / "a.parquet"), "n").values == ("7", None)
    assert read_polygons(str(tmp_path / "a.parquet"), "f").values == ("2", "0.1")
    assert read_polygons(str(tmp_path / "a.parquet"), "b").values == ("true", "false")


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_property_is_an_error_that_lists_those_that_there_are(tmp_path, name):
    fields = {"kind": np.array(["x"], object), "level": np.array([1])}
    path = str(write_vector(tmp_path / name, [SQUARE], "EPSG:4326", fields, "Polygon"))
    with pytest.raises(
        VectorError, match=r"no property 'knd', only kind, level(, FID)?; did you mean kind\?"
    ):
        read_polygons(path, "knd")


def test_a_layer_is_named_behind_a_colon(tmp_path):
    path = tmp_path / "many.gpkg"
    write_vector(path, [SQUARE], "EPSG:4326", kind="Polygon", layer="roofs")
    write_vector(path, [shapely.Point(1, 2)], "EPSG:4326", kind="Point", layer="trees", append=True)
    assert read_polygons(str(path)).polygons[0].equals(SQUARE)
    write_vector(path, [RING], "EPSG:4326", kind="Polygon", layer="pools", append=True)
    with pytest.raises(
        VectorError, match=r"has 2 layers \(roofs, pools\); name one, as in .*many.gpkg:roofs"
    ):
        read_polygons(str(path))
    assert read_polygons(f"{path}:pools").polygons[0].equals(RING)
    assert read_bounds(f"{path}:pools")[1] == RING.bounds
    with pytest.raises(VectorError, match="no layer 'ponds', only roofs, trees, pools"):
        read_polygons(f"{path}:ponds")


def test_a_file_without_features_has_no_polygons(tmp_path):
    path = collection(tmp_path / "a.geojson", [])
    assert len(read_polygons(path, "what").polygons) == 0
    assert read_bounds(path)[1] is None
    empty = write_vector(tmp_path / "a.parquet", [], "EPSG:4326", {})
    assert len(read_polygons(str(empty)).polygons) == 0 and read_bounds(str(empty))[1] is None


@pytest.mark.parametrize("read", [read_polygons, read_bounds])
@pytest.mark.parametrize("ending", ["geojson", "gpkg", "fgb", "shp", "parquet"])
def test_what_is_not_a_vector_file_is_said_to_be_none(tmp_path, ending, read):
    path = tmp_path / f"a.{ending}"
    with pytest.raises(VectorError, match=f"a.{ending} does not exist$"):
        read(str(path))
    path.touch()
    with pytest.raises(VectorError, match="is empty: 0 bytes"):
        read(str(path))
    path.write_bytes(b"certainly no polygons" * 20)
    with pytest.raises(VectorError, match=f"a.{ending} is not a .* file that .*read"):
        read(str(path))


def test_a_file_that_ends_too_early_is_said_to_be_unreadable(tmp_path):
    path = write_vector(tmp_path / "a.geojson", [SQUARE, RING], "EPSG:4326")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(VectorError, match="not a vector file that GDAL can read"):
        read_polygons(str(path))


def test_a_file_of_points_alone_is_refused(tmp_path):
    path = collection(tmp_path / "a.geojson", [{"type": "Point", "coordinates": [3, 2]}] * 2)
    with pytest.raises(VectorError, match="holds no polygon, but 2 a Point, not a polygon; give a file of"):
        read_polygons(path)


@pytest.mark.slow
def test_a_feature_of_geojson_may_have_any_number_of_parts(tmp_path):
    row, col = np.divmod(np.arange(300_000), 1000) / np.array([[100.0], [100.0]])
    corners = np.stack([[col, row], [col + 0.005, row], [col, row + 0.005], [col, row]])
    parts = np.moveaxis(corners, -1, 0).round(3)[:, None].tolist()
    path = collection(tmp_path / "coast.geojson", [{"type": "MultiPolygon", "coordinates": parts}])
    (polygon,) = read_polygons(path).polygons
    assert len(polygon.geoms) == 300_000


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
@pytest.mark.parametrize(("name", "hint"), [("a.shp", r"\.prj file is missing"), ("a.gpkg", "a_srs")])
def test_a_file_without_a_crs_is_told_to_get_one(tmp_path, name, hint):
    path = write_vector(tmp_path / name, [SQUARE], None, kind="Polygon")
    with pytest.raises(VectorError, match=f"no CRS.*{hint}"):
        read_polygons(str(path))


def test_a_crs_that_has_no_place_on_the_earth_is_refused(tmp_path):
    wkb = shapely.to_wkb([SQUARE])
    truth_cases.write_geoparquet(tmp_path / "a.parquet", wkb, {}, {"type": "Nonsense"})
    with pytest.raises(VectorError, match="which PROJ does not know"):
        read_polygons(str(tmp_path / "a.parquet"))
    local = 'LOCAL_CS["my field",UNIT["metre",1]]'
    truth_cases.write_geoparquet(tmp_path / "b.parquet", wkb, {}, local)
    with pytest.raises(VectorError, match="neither geographic nor projected"):
        read_polygons(str(tmp_path / "b.parquet"))
    truth_cases.write_geoparquet(tmp_path / "c.parquet", wkb, {}, None)
    with pytest.raises(VectorError, match="has no CRS"):
        read_polygons(str(tmp_path / "c.parquet"))


def test_rasters_are_told_from_vector_files_by_their_endings():
    assert is_vector("a/b.geojson") and is_vector("a.gpkg:roofs") and not is_vector("a/b.TIF")


def test_the_outlines_of_real_buildings_are_read_and_one_is_mended(data_folder):
    counts = {}
    for path in sorted((data_folder / "buildings").glob("*/*.geojson")):
        read = read_polygons(str(path))
        counts[path.stem] = (len(read.polygons), read.mended, read.skipped)
    assert counts == {
        "kampala_a": (103, 1, 0),
        "nepal_a": (35, 0, 0),
        "philippines_a": (72, 0, 0),
        "zanzibar_a": (119, 0, 0),
        "nepal_b": (30, 0, 0),
        "zanzibar_b": (74, 0, 0),
    }
