"""A CRS that a file brings lets PROJ ask no server for a grid, also where the user has turned on PROJ's network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow
import pyogrio
import pyproj
import pytest
import rasterio
import servers
import shapely
from places import ROOT
from pyarrow import parquet

from terraseam.tiles.access.crs_grids import grid_address
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.vectors.checks import check_crs

BESSEL = 'DATUM["x",SPHEROID["Bessel 1841",6377397.155,299.1528128]'
DEGREES = 'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]'
LONLAT = 'CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT["degree",0.0174532925199433]'
ELLIPSOID = 'DATUM["x",ELLIPSOID["Bessel 1841",6377397.155,299.1528128]]'
TEXTS = {
    "nadgrids": "+proj=longlat +ellps=bessel +nadgrids={} +no_defs",
    "optional": "+proj=longlat +ellps=bessel +nadgrids=@{},null +no_defs",
    "quoted": '+proj=longlat +ellps=bessel +nadgrids="{}" +no_defs',
    "geoidgrids": "+proj=longlat +ellps=bessel +geoidgrids={} +vunits=m +no_defs",
    "grids": "+proj=pipeline +step +proj=vgridshift +grids={}",
    "PROJ4_GRIDS": f'GEOGCS["x",{BESSEL},EXTENSION["PROJ4_GRIDS","{{}}"]],{DEGREES}]',
    "PROJ4": f'PROJCS["x",GEOGCS["x",{BESSEL}],{DEGREES}],PROJECTION["custom_proj4"],UNIT["metre",1],'
    'EXTENSION["PROJ4","+proj=merc +a=6378137 +b=6378137 +nadgrids={} +units=m +no_defs"]]',
    "METHOD": f'GEOGCRS["d",BASEGEOGCRS["x",{ELLIPSOID}],'
    f'DERIVINGCONVERSION["c",METHOD["PROJ hgridshift grids={{}}"]],{LONLAT}]',
    "PARAMETERFILE": f'BOUNDCRS[SOURCECRS[GEOGCRS["x",{ELLIPSOID},{LONLAT}]],TARGETCRS[GEOGCRS["WGS 84",DATUM["World '
    f'Geodetic System 1984",ELLIPSOID["WGS 84",6378137,298.257223563]],{LONLAT},ID["EPSG",4326]]],'
    'ABRIDGEDTRANSFORMATION["u",METHOD["NTv2",ID["EPSG",9615]],'
    'PARAMETERFILE["Latitude and longitude difference file","{}"]]]',
}
HARMLESS = [
    "EPSG:32633",
    "http://www.opengis.net/def/crs/EPSG/0/32633",
    "+proj=longlat +ellps=bessel +nadgrids=@here.gsb,null +no_defs",
    f'GEOGCRS["x",{ELLIPSOID},{LONLAT},SCOPE["a = b, http://a/b"],ID["A","b",CITATION["http://a/?c=http://d"],'
    'URI["http://a/b"]],REMARK["accuracy = 1 m, see https://a/b"]]',
    f'GEOGCS["see http://a/b",{BESSEL}],{DEGREES},AUTHORITY["x","http://a/b"]]',
]
LOOK = """
import sys
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.truth.label_raster import RasterTruth
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import read_bounds, read_polygons
grid = Georef("EPSG:4326", (0.001, 0, 13, 0, -0.001, 47), 8, 8)
def raster(path):
    inspect_raster(path).georef.to_lonlat([[1, 1]])
def labels(path):
    RasterTruth(path, grid, {1: 1}, 0)
def vectors(path):
    polygons_to_pixels(read_polygons(path), grid)
def bounds(path):
    read_bounds(path)
for path in sys.argv[1:]:
    for look in (raster, labels) if path.endswith((".vrt", ".tif")) else (vectors, bounds):
        try:
            look(path)
            print(f"{path} was taken by {look.__name__}")
        except Exception as error:
            print(error)
"""


@pytest.mark.parametrize("name", TEXTS)
def test_addresses_of_grids_are_found(name):
    address = "https://a.example/b.gsb"
    assert grid_address(TEXTS[name].format(address)) == address
    assert grid_address(TEXTS[name].format("b.gsb")) is None
    if name not in ("grids", "METHOD"):
        for text in (
            pyproj.CRS(TEXTS[name].format(address)),
            rasterio.CRS.from_user_input(TEXTS[name].format(address)),
        ):
            assert grid_address(text.to_wkt()) == address


@pytest.mark.parametrize("crs", HARMLESS)
def test_other_addresses_in_a_crs_stay_allowed(crs):
    assert grid_address(crs) is None
    assert check_crs("a.geojson", crs) == crs


def write(folder: Path, name: str, crs: str) -> list[Path]:
    """Write a raster, one with metadata beside it, and polygons that have a CRS."""
    texts = (
        crs.replace("&", "&amp;").replace("<", "&lt;"),
        "<GeoTransform>13,0.001,0,47,0,-0.001</GeoTransform>",
    )
    srs = f"<SRS>{texts[0]}</SRS>{texts[1]}"
    vrt, tif, vectors = folder / f"{name}.vrt", folder / f"{name}.tif", folder / f"{name}-ogr.xml"
    with rasterio.open(tif, "w", driver="GTiff", height=8, width=8, count=1, dtype="uint8"):
        pass
    band = f'<SimpleSource><SourceFilename relativeToVRT="1">{tif.name}</SourceFilename></SimpleSource>'
    vrt.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8">{srs}<VRTRasterBand dataType="Byte" band="1">{band}'
        "</VRTRasterBand></VRTDataset>"
    )
    beside = folder / f"{name}-beside.tif"
    beside.write_bytes(tif.read_bytes())
    beside.with_name(f"{beside.name}.aux.xml").write_text(f"<PAMDataset>{srs}</PAMDataset>")
    (folder / f"{name}.csv").write_text('wkt\n"POLYGON((13 47,13.01 47,13.01 46.99,13 47))"\n')
    vectors.write_text(
        f'<OGRVRTDataSource><OGRVRTLayer name="{name}"><SrcDataSource relativeToVRT="1">{name}.csv</SrcDataSource>'
        f"<LayerSRS>{texts[0]}</LayerSRS><GeometryType>wkbPolygon</GeometryType>"
        '<GeometryField encoding="WKT" field="wkt"/></OGRVRTLayer></OGRVRTDataSource>'
    )
    return [vrt, beside, vectors, write_parquet(folder / f"{name}.parquet", crs)]


def write_parquet(path: Path, crs: str) -> Path:
    shape = shapely.Polygon([(13, 47), (13.01, 47), (13.01, 46.99)])
    column = {"encoding": "WKB", "geometry_types": ["Polygon"], "crs": crs}
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    table = pyarrow.table({"geometry": [shapely.to_wkb(shape)]})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def look(paths: list[Path], door: servers.Door, code: str = LOOK) -> tuple[list[str], list[servers.Request]]:
    """Let a process with PROJ's network look at files twice each; returns what it says of each, and what was asked for."""
    door.seen()
    looked = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)],
        env={**os.environ, "PROJ_NETWORK": "ON", "PYTHONPATH": str(ROOT)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    return looked.stdout.splitlines(), door.seen()


def test_no_server_is_asked_for_a_grid_that_a_file_names(tmp_path):
    with servers.server(str(tmp_path)) as door:
        paths = [
            path
            for name, text in TEXTS.items()
            for path in write(tmp_path, name, text.format(f"{door.url}/{name}.gsb"))
        ]
        words, asked = look(paths, door)
    assert len(words) == 2 * len(paths)
    assert not asked, words
    for path, one in zip([path for path in paths for _ in range(2)], words, strict=True):
        assert one.startswith(str(path)), one
        assert "has a CRS with a grid at http://127.0.0.1:" in one
        assert "download the grid and name the local copy in the CRS" in one


def test_no_server_is_asked_for_the_grids_of_a_pipeline_in_a_vector_file(tmp_path):
    ring = "13,47 13.01,47 13.01,46.9 13,47"
    corners = [[float(number) for number in corner.split(",")] for corner in ring.split()]
    polygon = {"type": "Polygon", "coordinates": [corners]}
    gml, geojson = tmp_path / "a.gml", tmp_path / "a.geojson"
    with servers.server(str(tmp_path)) as door:
        pipeline = TEXTS["grids"].format(f"{door.url}/a.gtx")
        crs = {"type": "name", "properties": {"name": pipeline}}
        feature = {"type": "Feature", "properties": {}, "geometry": polygon}
        geojson.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}))
        gml.write_text(
            '<?xml version="1.0"?><c xmlns:o="http://ogr.maptools.org/" xmlns:gml="http://www.opengis.net/gml">'
            f'<gml:featureMember><o:a><o:geometry><gml:Polygon srsName="{pipeline}"><gml:outerBoundaryIs><gml:LinearRing>'
            f"<gml:coordinates>{ring}</gml:coordinates></gml:LinearRing></gml:outerBoundaryIs></gml:Polygon></o:geometry></o:a>"
            "</gml:featureMember></c>"
        )
        looked, asked = look([geojson, gml], door)
    assert not asked and len(looked) == 4
    assert looked[2].startswith(f"{gml} has no CRS")


def write_tile_index(path: Path, tile: Path) -> Path:
    located = {"geometry": shapely.to_wkb([shapely.box(13, 46.992, 13.008, 47)])}
    fields = {"fields": ["location"], "field_data": [np.array([str(tile)], object)]}
    pyogrio.raw.write(path, **located, **fields, geometry_type="Polygon", crs="EPSG:4326")
    return path


def test_no_server_is_asked_for_the_grids_of_tiles_of_an_index(tmp_path):
    grid = {"height": 8, "width": 8, "count": 1, "dtype": "uint8", "driver": "ENVI"}
    place = rasterio.Affine(0.001, 0, 13, 0, -0.001, 47)
    with servers.server(str(tmp_path)) as door:
        crs = rasterio.CRS.from_user_input(TEXTS["optional"].format(f"{door.url}/tile.gsb"))
        with rasterio.open(tmp_path / "tile.img", "w", crs=crs, transform=place, **grid) as dataset:
            dataset.write(np.ones((1, 8, 8), np.uint8))
        index = write_tile_index(tmp_path / "index.gti.gpkg", tmp_path / "tile.img")
        attempt = f"try:\n    raster({str(index)!r})\nexcept ValueError as error:\n    print(error)"
        looked, asked = look([], door, f"{LOOK}\n{attempt}")
    assert not asked
    assert looked == [
        f"{index} is an index of tiles, which may name servers that PROJ would ask for grids, as its network access is on; "
        "set PROJ_NETWORK=OFF, or make a VRT of the tiles with gdalbuildvrt"
    ]
    assert inspect_raster(str(index)).georef.width == 8


def test_a_raster_whose_crs_cites_an_address_is_read(tmp_path):
    vrt, *_ = write(tmp_path, "cited", HARMLESS[-1])
    assert inspect_raster(str(vrt)).georef.height == 8
