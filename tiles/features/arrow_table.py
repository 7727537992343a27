"""Read the polygons of a raster as an Arrow table, whatever format they were written in."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow
import pyproj
import shapely

LONLAT = "OGC:CRS84"
"""CRS of GeoJSON."""

GEOMETRY = "geometry"


def polygon_schema(*, scored: bool, regularized: bool, in_pixels: bool = False) -> pyarrow.Schema:
    """Return the columns of polygons beside their geometry.

    Args:
        scored: Whether they have a score.
        regularized: Whether they say what giving them right angles has done.
        in_pixels: Whether area and perimeter are in pixels, instead of square metres and metres.
    """
    number, text, truth = pyarrow.float64(), pyarrow.string(), pyarrow.bool_()
    sizes = ("area_px", "perimeter_px") if in_pixels else ("area_m2", "perimeter_m")
    columns = [("id", text), ("class", text)]
    columns += [("score", number)] if scored else []
    columns += [(size, number) for size in sizes]
    columns += [("raster", text), ("touches_edge", truth)]
    columns += [("regularized", truth), ("area_change", number)] if regularized else []
    return pyarrow.schema(columns)


def geometry_field(crs: Any) -> pyarrow.Field:
    """Return the column of WKB geometries in a CRS (anything that PROJ understands), as GeoArrow describes it.

    See https://geoarrow.org/extension-types.html.
    """
    described = {"crs": pyproj.CRS.from_user_input(crs).to_json_dict(), "crs_type": "projjson"}
    extension = {"ARROW:extension:name": "geoarrow.wkb", "ARROW:extension:metadata": json.dumps(described)}
    return pyarrow.field(GEOMETRY, pyarrow.binary(), metadata=extension)


def read_polygon_table(files: Mapping[str, str], attributes: pyarrow.Schema, raster: str) -> pyarrow.Table:
    """Read polygons from the best of the files that hold them.

    Args:
        files: Paths by format: ``parquet``, ``geojson``, ``geojsonl``, ``gpkg``, ``fgb``; others are not looked at.
        attributes: The columns beside the geometry, see `polygon_schema`.
        raster: What the polygons are of, for the error.

    Returns:
        The attributes, and ``geometry`` as `geometry_field` describes it. Rows are the same for each format, and in the same
        order but for FlatGeobuf, which sorts them along a curve in space.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    for ending, read in READERS.items():
        if ending in files:
            return read(files[ending], attributes)
    there = f"only {', '.join(files)}, which cuts polygons" if files else "none"
    raise FileNotFoundError(
        f"{raster} has no polygons in a format that keeps them whole, but {there}; write geojson or parquet, too"
    )


def _read_parquet(path: str, attributes: pyarrow.Schema) -> pyarrow.Table:
    from pyarrow import parquet

    table = parquet.read_table(_opened(path), columns=[*attributes.names, GEOMETRY])
    described = json.loads(table.schema.metadata[b"geo"])["columns"][GEOMETRY]
    return _table([table[name] for name in attributes.names], table[GEOMETRY], attributes, described["crs"])


def _read_geojson(path: str, attributes: pyarrow.Schema) -> pyarrow.Table:
    with _opened(path) as file:
        collection = orjson.loads(file.read())
    crs = collection["crs"]["properties"]["name"] if "crs" in collection else LONLAT
    return _table_of(collection["features"], attributes, crs)


def _read_lines(path: str, attributes: pyarrow.Schema) -> pyarrow.Table:
    with _opened(path) as file:
        lines = file.read().split(b"\n")
    crs = LONLAT
    if "area_px" in attributes.names:
        from terraseam.tiles.raster.ground import PixelPlane

        crs = PixelPlane.crs
    return _table_of([orjson.loads(line) for line in lines if line], attributes, crs)


def _read_with_gdal(path: str, attributes: pyarrow.Schema) -> pyarrow.Table:
    import pyogrio

    described, table = pyogrio.read_arrow(path)
    geometry = table[described["geometry_name"] or "wkb_geometry"]
    return _table([table[name] for name in attributes.names], geometry, attributes, described["crs"])


READERS: Mapping[str, Callable[[str, pyarrow.Schema], pyarrow.Table]] = {
    "parquet": _read_parquet,
    "geojson": _read_geojson,
    "geojsonl": _read_lines,
    "gpkg": _read_with_gdal,
    "fgb": _read_with_gdal,
}
"""What reads polygons, by the ending of their file, the best one first."""


def _opened(path: str) -> Any:
    """Open a file of this machine or of a bucket."""
    from pyarrow import fs

    system, name = fs.FileSystem.from_uri(path) if "://" in path else (fs.LocalFileSystem(), str(Path(path)))
    return system.open_input_file(name)


def _table_of(features: Sequence[Mapping[str, Any]], attributes: pyarrow.Schema, crs: str) -> pyarrow.Table:
    """Return features of GeoJSON as a table."""
    rows = [{"id": feature["id"], **feature["properties"]} for feature in features]
    shapes = shapely.from_geojson([orjson.dumps(feature["geometry"]) for feature in features])
    columns = [pyarrow.array([row[field.name] for row in rows], field.type) for field in attributes]
    return _table(columns, pyarrow.array(list(shapely.to_wkb(shapes)), pyarrow.binary()), attributes, crs)


def _table(columns: list[Any], geometry: Any, attributes: pyarrow.Schema, crs: Any) -> pyarrow.Table:
    schema = attributes.append(geometry_field(crs))
    arrays = [column.cast(field.type) for column, field in zip([*columns, geometry], schema, strict=True)]
    return pyarrow.Table.from_arrays(arrays, schema=schema)
