"""Read features of GeoParquet files (https://geoparquet.org/releases/v1.1.0)."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow
import pyproj
import shapely
from pyarrow import parquet

from terraseam.tiles.raster.inspect import check_file
from terraseam.tiles.vectors.checks import Features, VectorError, as_text, check_property

_LONLAT = "OGC:CRS84"


def features(path: str, class_property: str | None) -> Features:
    """Read the features of a file.

    Raises:
        VectorError: If it cannot be read, is not GeoParquet, or lacks the property.
    """
    table, name, column = _open(path)
    names = [other for other in table.schema_arrow.names if other != name]
    if table.metadata.num_rows:
        check_property(path, class_property, names)
    columns = [class_property] if class_property in names else []
    try:
        read = table.read(columns=[name, *columns])
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    shapes = np.array([None, *read[name].to_pylist()], object)[1:]
    texts = [as_text(value) for value in read[columns[0]].to_pylist()] if columns else [None] * len(shapes)
    return Features(_crs(column), shapes, texts)


def bounds(path: str) -> tuple[str | None, Any]:
    """Read the CRS and bounds of a file, from its metadata if they are there.

    Bounds across the antimeridian, whose western end is the greater one in the file, reach beyond 180 degrees.

    Raises:
        VectorError: If it cannot be read or is not GeoParquet.
    """
    table, name, column = _open(path)
    box = column.get("bbox")
    if box is None:
        try:
            shapes = table.read(columns=[name])[name].to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
        known = shapely.from_wkb(shapes, on_invalid="ignore")
        return _crs(column), shapely.total_bounds(known) if len(known) else None
    half = len(box) // 2
    west, east = box[0], box[half]
    return _crs(column), [west, box[1], east + 360 if west > east else east, box[half + 1]]


def _open(path: str) -> tuple[parquet.ParquetFile, str, dict[str, Any]]:
    """Open a file, and return it with the name and the metadata of its geometry column."""
    check_file(path, VectorError)
    try:
        table = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    geo_metadata = (table.schema_arrow.metadata or {}).get(b"geo")
    if geo_metadata is None:
        raise VectorError(f"{path} is a Parquet file without the geo metadata of GeoParquet")
    geo = json.loads(geo_metadata)
    name = geo.get("primary_column", "geometry")
    column = geo.get("columns", {}).get(name, {})
    if column.get("encoding", "WKB") != "WKB":
        raise VectorError(
            f"{path} holds geometries encoded as {column['encoding']}; write it with the encoding WKB"
        )
    return table, name, column


def _crs(column: dict[str, Any]) -> str | None:
    """Return the CRS as WKT; if absent it is longitude and latitude, null means unknown."""
    crs = column.get("crs", _LONLAT)
    if crs is None or isinstance(crs, str):
        return crs
    try:
        return str(pyproj.CRS.from_json_dict(crs).to_wkt())
    except pyproj.exceptions.CRSError:
        return json.dumps(crs)


def _unreadable(path: str, error: Exception) -> VectorError:
    return VectorError(
        f"{path} is not a Parquet file that can be read ({str(error).splitlines()[0].rstrip('.')})"
    )
