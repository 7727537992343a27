"""Features of the vector files that GDAL reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyogrio
from pyogrio import raw
from pyogrio.errors import DataLayerError, DataSourceError

from tiles.inspect import check_file, is_local
from tiles.sources import SourcesError, check_vectors
from tiles.truth.vector_checks import Features, VectorError, as_text, check_property

# GDAL gives up on large polygons of GeoJSON unless it is told not to; a coastline is one.
pyogrio.set_gdal_config_options({"OGR_GEOJSON_MAX_OBJ_SIZE": "0"})
# Schemas that a file names are on other servers.
pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": "NO", "GML_SKIP_RESOLVE_ELEMS": "ALL"})


def features(path: str, class_property: str | None) -> Features:
    """Read the features of a file.

    Raises:
        VectorError: If it cannot be read, has several layers, or lacks the property.
    """
    file, layer = _layer(path)
    try:
        names = list(pyogrio.read_info(file, layer=layer)["fields"])
        columns = [class_property] if class_property in names else []
        meta, _, shapes, fields = raw.read(
            file, layer=layer, columns=columns, force_2d=True, datetime_as_string=True
        )
    except (DataSourceError, DataLayerError) as error:
        raise _unreadable(file, error) from error
    if shapes is None:
        raise VectorError(f"{path} is a table without geometries; labels are polygons")
    if len(shapes):
        check_property(path, class_property, names)
    values = [None] * len(shapes) if not fields else [as_text(value) for value in fields[0].tolist()]
    return Features(meta["crs"], shapes, values)


def bounds(path: str) -> tuple[str | None, Any]:
    """CRS and bounds of a file, from its index where it has one.

    Raises:
        VectorError: If it cannot be read or has several layers.
    """
    file, layer = _layer(path)
    try:
        info = pyogrio.read_info(file, layer=layer, force_total_bounds=True)
    except (DataSourceError, DataLayerError) as error:
        raise _unreadable(file, error) from error
    return info["crs"], info["total_bounds"]


def _layer(path: str) -> tuple[str, str]:
    """The file, and the layer of it that is meant: the only one with polygons, or the one behind the colon."""
    file, _, wanted = path.rpartition(":")
    if not (is_local(path) and not Path(path).exists() and file and Path(file).exists()):
        file, wanted = path, ""
    check_file(file, VectorError)
    try:
        check_vectors(file)
    except SourcesError as error:
        raise VectorError(str(error)) from error
    try:
        layers = pyogrio.list_layers(file)
    except (DataSourceError, DataLayerError) as error:
        raise _unreadable(file, error) from error
    names = [str(name) for name, _ in layers]
    if wanted:
        if wanted not in names:
            raise VectorError(f"{file} has no layer {wanted!r}, only {', '.join(names)}")
        return file, wanted
    shown = [str(name) for name, kind in layers if kind is not None]
    if not shown:
        raise VectorError(f"{path} is a table without geometries; labels are polygons")
    with_polygons = [str(name) for name, kind in layers if kind and "Polygon" in kind] or shown
    if len(with_polygons) > 1:
        raise VectorError(
            f"{path} has {len(with_polygons)} layers ({', '.join(with_polygons)}); "
            f"name one, as in {file}:{with_polygons[0]}"
        )
    return file, with_polygons[0]


def _unreadable(path: str, error: Exception) -> VectorError:
    reason = str(error).split(";")[0].removeprefix(f"'{path}' ").removeprefix(f"{path}: ").rstrip(".")
    return VectorError(f"{path} is not a vector file that GDAL can read ({reason})")
