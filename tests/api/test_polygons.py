"""Polygons of a result are one table, whatever formats were written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import shapely
from pyproj import CRS
from vectorize_cases import patches, vectorize, write_labels

from terraseam.api.rasters import raster_results
from terraseam.tiles.features.arrow_table import READERS

FORMATS = ("geojson", "geojsonl", "fgb", "gpkg", "parquet")


def results(output):
    return raster_results(json.loads((output / "manifest.json").read_text()), "vectorized")


def made(tmp_path, *options, place="utm", formats=FORMATS):
    scene = write_labels(tmp_path / "map.tif", patches(61, 83), place, names=("a", "b", "c", "d"))
    assert vectorize(scene, tmp_path / "out", "--format", ",".join(formats), *options) == 0
    (raster,) = results(tmp_path / "out")
    return raster


def with_format(raster, ending):
    """The same result where one format alone was written."""
    files = {ending: raster.polygon_files[ending]}
    return type(raster)(
        **{name: getattr(raster, name) for name in raster.__slots__} | {"polygon_files": files}
    )


def rows(table, by_id=False):
    found = table.drop_columns(["geometry"]).to_pylist()
    return sorted(found, key=lambda row: row["id"]) if by_id else found


@pytest.mark.parametrize(
    "options", [(), ("--pixel-coordinates",), pytest.param(("--regularize",), marks=pytest.mark.slow)]
)
def test_each_format_holds_the_same_rows(tmp_path, options):
    raster = made(tmp_path, *options)
    tables = {ending: with_format(raster, ending).polygons() for ending in FORMATS}
    expected = tables["parquet"]
    assert expected.num_rows == sum(one.polygons for one in raster.classes) > 20
    for ending, table in tables.items():
        by_id = ending == "fgb"
        assert table.schema.equals(expected.schema)
        assert rows(table, by_id) == rows(expected, by_id), ending
    assert ("regularized" in expected.column_names) == ("--regularize" in options)
    assert ("area_px" in expected.column_names) == ("--pixel-coordinates" in options)


def crs_of(table):
    metadata = table.schema.field("geometry").metadata
    assert metadata[b"ARROW:extension:name"] == b"geoarrow.wkb"
    described = json.loads(metadata[b"ARROW:extension:metadata"])
    assert described["crs_type"] == "projjson"
    return CRS.from_user_input(described["crs"])


def test_geometries_are_wkb_in_the_crs_that_they_name(tmp_path):
    raster = made(tmp_path)
    on_map, lonlat = raster.polygons(), with_format(raster, "geojson").polygons()
    assert crs_of(on_map) == CRS("EPSG:32633")
    assert crs_of(lonlat) == CRS("OGC:CRS84")
    areas = shapely.area(shapely.from_wkb(on_map["geometry"].to_pylist()))
    np.testing.assert_allclose(areas, on_map["area_m2"].to_numpy(), rtol=2e-3)
    west, south, east, north = shapely.total_bounds(shapely.from_wkb(lonlat["geometry"].to_pylist()))
    assert 13 < west < east < 14 and 50 < south < north < 51


@pytest.mark.parametrize("ending", FORMATS)
def test_pixel_coordinates_have_a_crs_that_is_no_place_on_the_earth(tmp_path, ending):
    raster = with_format(made(tmp_path, "--pixel-coordinates", formats=(ending,)), ending)
    assert not crs_of(raster.polygons()).is_geographic


@pytest.mark.parametrize("ending", FORMATS)
def test_no_polygons_are_a_table_without_rows(tmp_path, ending):
    table = made(tmp_path, "--min-area", "1e9", formats=(ending,)).polygons()
    assert table.num_rows == 0
    assert table.column_names[:3] == ["id", "class", "area_m2"]


def test_polygons_of_map_tiles_alone_are_none(tmp_path):
    raster = made(tmp_path, formats=("pmtiles",))
    with pytest.raises(FileNotFoundError, match=r"map has no polygons .* only pmtiles"):
        raster.polygons()


def test_geopandas_takes_the_table_and_its_crs(tmp_path):
    pytest.importorskip("geopandas")
    raster = made(tmp_path)
    frame, lonlat = raster.to_geopandas(), with_format(raster, "geojson").to_geopandas()
    assert frame.crs == CRS("EPSG:32633")
    assert lonlat.crs == CRS("OGC:CRS84")
    assert list(frame["id"]) == raster.polygons()["id"].to_pylist() == list(lonlat["id"])
    assert frame.to_crs("OGC:CRS84").total_bounds == pytest.approx(lonlat.total_bounds, abs=1e-6)


def test_every_format_that_holds_polygons_whole_is_read():
    from terraseam.pipeline.options.segment import FORMATS as WRITTEN

    assert set(READERS) == set(FORMATS) == set(WRITTEN) - {"pmtiles"}
