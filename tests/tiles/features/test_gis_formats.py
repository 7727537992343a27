"""Tables for GIS: the same features in all formats, read back by the libraries that others read them with."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pyarrow.parquet
import pyogrio
import pyproj
import pytest
import shapely
from georefs import GEOREFS
from label_maps import keeping, random_labels, random_scores, whole_map
from places import python_path

from terraseam.tiles.features.codec import pack, unpack
from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.geojson import write_geojson_lines
from terraseam.tiles.features.gis_formats import BATCH, TABLES, Table
from terraseam.tiles.features.vector_tiles import write_pmtiles
from terraseam.tiles.vectors import geoparquet

OPTIONS = FeatureOptions("scene", dict(enumerate(("sea", "land", "lake", "ice", "rock"))), wkb=True)
TRUE_FORMATS = ("fgb", "gpkg", "parquet")
WRITERS = {**TABLES, "pmtiles": write_pmtiles}
ATTRIBUTES = ["id", "class", "score", "area_m2", "perimeter_m", "raster", "touches_edge"]


def made(name, seed=6):
    labels = random_labels(seed)
    georef = replace(GEOREFS[name], height=labels.shape[0], width=labels.shape[1])
    regions = whole_map(labels, random_scores(labels, seed), keeping())
    return regions, features(regions, georef, OPTIONS), georef


def read(path):
    """CRS, rows and shapes of a table, by id."""
    if path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        shapes = shapely.from_wkb(table["geometry"].to_pylist())
    else:
        _, table = pyogrio.read_arrow(path)
        shapes = shapely.from_wkb(table.column(table.num_columns - 1).to_pylist())
    rows = table.select(ATTRIBUTES).to_pylist()
    return dict(zip([row["id"] for row in rows], zip(rows, shapes, strict=True), strict=True))


@pytest.mark.parametrize("name", ["utm", "degrees", "polar", "south_up", "rotated"])
@pytest.mark.parametrize("ending", TRUE_FORMATS)
def test_tables_hold_the_same_features_in_the_crs_of_the_raster(ending, name, tmp_path):
    regions, found, georef = made(name)
    path = tmp_path / f"polygons.{ending}"
    TABLES[ending](path, iter(found), Table(georef, "Polygon"))
    rows = read(path)
    assert len(rows) == len(found) > 20
    for feature, polygon in zip(found, regions.polygons(), strict=True):
        row, shape = rows[feature.identity]
        assert row == {"id": feature.identity, **feature.properties}
        expected = shapely.transform(polygon, georef.to_map)
        assert shapely.equals(shape, expected)
        assert shape.exterior.is_ccw
        assert shapely.get_num_coordinates(shape) == shapely.get_num_coordinates(expected)


@pytest.mark.parametrize("ending", ["fgb", "gpkg"])
def test_tables_say_their_crs_and_kind(ending, tmp_path):
    _, found, georef = made("utm")
    path = tmp_path / f"polygons.{ending}"
    TABLES[ending](path, found, Table(georef, "Polygon"))
    info = pyogrio.read_info(path)
    assert pyproj.CRS(info["crs"]) == pyproj.CRS(georef.crs)
    assert (info["geometry_type"], info["layer_name"], info["features"]) == (
        "Polygon",
        "polygons",
        len(found),
    )
    assert info["capabilities"]["fast_spatial_filter"]


CODE = """
import {first}
import tensorflow
import pathlib, sys
from dataclasses import replace
from georefs import GEOREFS
from terraseam.tiles.features.gis_formats import TABLES, Table
TABLES["gpkg"](pathlib.Path(sys.argv[1]), [], Table(GEOREFS["utm"], "Polygon"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("first", "status"), [("terraseam.pipeline.segment.stage", 0), ("numpy", 1)])
def test_geopackages_have_an_index_though_tensorflow_has_an_sqlite_of_its_own(first, status, tmp_path):
    code, path = CODE.format(first=first), str(tmp_path / "polygons.gpkg")
    environment = {**os.environ, "PYTHONPATH": python_path()}
    done = subprocess.run(
        [sys.executable, "-c", code, path], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert ("got no spatial index" in done.stderr) == (status == 1)


def test_geoparquet_keeps_to_its_rules(tmp_path):
    _, found, georef = made("utm")
    path = tmp_path / "polygons.parquet"
    TABLES["parquet"](path, found, Table(georef, "Polygon"))
    geo = pyarrow.parquet.read_schema(path).metadata[b"geo"]
    said = json.loads(geo)
    column = said["columns"]["geometry"]
    assert (said["version"], said["primary_column"]) == ("1.1.0", "geometry")
    assert pyproj.CRS.from_json_dict(column["crs"]) == pyproj.CRS(georef.crs)
    table = pyarrow.parquet.read_table(path)
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    assert column["bbox"] == shapely.total_bounds(shapes).tolist()
    assert column["geometry_types"] == ["Polygon"]
    assert column["covering"]["bbox"]["ymax"] == ["bbox", "ymax"]
    boxes = np.array([list(box.values()) for box in table["bbox"].to_pylist()])
    assert np.array_equal(boxes, shapely.bounds(shapes))


def test_geoparquet_is_read_by_our_own_reader_of_truth(tmp_path):
    _, found, georef = made("utm")
    TABLES["parquet"](tmp_path / "a.parquet", found, Table(georef, "Polygon"))
    read_back = geoparquet.features(str(tmp_path / "a.parquet"), "class")
    assert list(read_back.values) == [feature.properties["class"] for feature in found]


@pytest.mark.parametrize("ending", WRITERS)
def test_equal_features_make_equal_bytes(ending, tmp_path):
    _, found, georef = made("utm")
    for name in ("a", "b"):
        WRITERS[ending](tmp_path / f"{name}.{ending}", found, Table(georef, "Polygon"))
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize("ending", TRUE_FORMATS)
def test_a_table_of_nothing_can_be_read(ending, tmp_path):
    path = tmp_path / f"none.{ending}"
    TABLES[ending](path, [], Table(GEOREFS["utm"], "Polygon"))
    assert read(path) == {}


def test_there_are_no_vector_tiles_of_nothing(tmp_path):
    write_pmtiles(tmp_path / "none.pmtiles", [], Table(GEOREFS["utm"], "Polygon"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("ending", TRUE_FORMATS)
def test_more_features_than_are_held_at_once_are_all_written(ending, tmp_path):
    _, found, georef = made("utm")
    count = 2 * BATCH + 7
    many = (found[number % len(found)]._replace(identity=str(number)) for number in range(count))
    TABLES[ending](tmp_path / f"many.{ending}", many, Table(georef, "Polygon"))
    assert sorted(map(int, read(tmp_path / f"many.{ending}"))) == list(range(count))


def test_features_survive_packing():
    _, found, _ = made("utm")
    for feature in found:
        assert unpack(b"".join(pack(feature))) == feature


def test_geojson_lines_have_a_feature_each(tmp_path):
    found = made("utm")[1]
    path = tmp_path / "polygons.geojsonl"
    with path.open("wb") as file:
        write_geojson_lines(file, (feature.text for feature in found))
    assert path.read_bytes().splitlines() == [feature.text for feature in found]
    assert pyogrio.read_info(path)["features"] == len(found)


@pytest.mark.parametrize("ending", ["gpkg", "fgb"])
def test_tables_that_are_written_at_the_same_time_are_those_written_alone(ending, tmp_path):
    """The second is begun, and would be done, while the first is written."""
    _, found, georef = made("utm")
    write, table = TABLES[ending], Table(georef, "Polygon")
    alone, first, second = (tmp_path / f"{name}.{ending}" for name in ("alone", "first", "second"))
    write(alone, found, table)
    other = threading.Thread(target=write, args=(second, found, table))

    def slowly():
        yield from found[:-1]
        other.start()
        other.join(1)
        yield found[-1]

    write(first, slowly(), table)
    other.join()
    assert first.read_bytes() == second.read_bytes() == alone.read_bytes()
