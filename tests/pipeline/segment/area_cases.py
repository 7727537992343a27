"""Areas of interest as files, and what they hold."""

from __future__ import annotations

import numpy as np
import pyproj
import shapely
from truth_cases import as_file, in_crs, write_geoparquet, write_vector

from terraseam.pipeline.cli import main
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.vectors.aoi import area_on

STAR = shapely.Polygon([(90, 30), (760, 330), (900, 1080), (470, 640), (250, 1090), (300, 500)])
"""In pixels: of the sheets of 512 px it leaves out the last two columns, and crosses all the lines between others."""


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


def reason(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    _, *reasons = said.strip().splitlines()
    return reasons
