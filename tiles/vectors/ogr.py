"""Read features of the vector files that GDAL supports."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyogrio
from pyogrio import _io, raw
from pyogrio.errors import DataLayerError, DataSourceError

from terraseam.tiles.access.gate import proxy_of, refusal
from terraseam.tiles.access.gdal_library import forbid_proj_network, proxied
from terraseam.tiles.access.sources import SourcesError, allowed_hosts, find_sources
from terraseam.tiles.raster.inspect import check_file, is_local
from terraseam.tiles.vectors.checks import Features, VectorError, as_text, check_property

# By default GDAL rejects large GeoJSON objects; a coastline may be one.
pyogrio.set_gdal_config_options({"OGR_GEOJSON_MAX_OBJ_SIZE": "0"})
# Schemas that a file references may be on other servers.
pyogrio.set_gdal_config_options({"GML_DOWNLOAD_SCHEMA": "NO", "GML_SKIP_RESOLVE_ELEMS": "ALL"})
# No geometry is transformed here: what would ask for a grid is the text of a CRS alone.
forbid_proj_network(_io)


def features(path: str, class_property: str | None) -> Features:
    """Read the features of a file.

    Raises:
        VectorError: If it cannot be read, has several layers, or lacks the property.
    """
    file, layer_name = _named(path)
    with _reading(file):
        layer = _layer(file, layer_name)
        names = list(pyogrio.read_info(file, layer=layer)["fields"])
        columns = [class_property] if class_property in names else []
        meta, _, shapes, fields = raw.read(
            file, layer=layer, columns=columns, force_2d=True, datetime_as_string=True
        )
    if shapes is None:
        raise VectorError(f"{path} is a table without geometries; labels are polygons")
    if len(shapes):
        check_property(path, class_property, names)
    values = [None] * len(shapes) if not fields else [as_text(value) for value in fields[0].tolist()]
    return Features(meta["crs"], shapes, values)


def bounds(path: str) -> tuple[str | None, Any]:
    """Read the CRS and bounds of a file, from its index if it has one.

    Raises:
        VectorError: If it cannot be read or has several layers.
    """
    file, layer_name = _named(path)
    with _reading(file):
        info = pyogrio.read_info(file, layer=_layer(file, layer_name), force_total_bounds=True)
    return info["crs"], info["total_bounds"]


def _named(path: str) -> tuple[str, str]:
    """Return the file and the layer named after the colon, if any."""
    file, _, layer_name = path.rpartition(":")
    if not (is_local(path) and not Path(path).exists() and file and Path(file).exists()):
        file, layer_name = path, ""
    check_file(file, VectorError)
    return file, layer_name


@contextlib.contextmanager
def _reading(file: str) -> Iterator[None]:
    """Read a file within the block after checking its references, following its servers' permitted redirects."""
    try:
        sources = find_sources(file, vectors=True)
    except SourcesError as error:
        raise VectorError(str(error)) from error
    proxy = proxy_of(file, (*sources.files, *sources.servers), allowed_hosts())
    try:
        with proxied(proxy, _io):
            yield
    except (DataSourceError, DataLayerError, VectorError) as error:
        _check_redirections(file)
        if isinstance(error, VectorError):
            raise
        raise _unreadable(file, error) from error
    _check_redirections(file)


def _check_redirections(file: str) -> None:
    """Raise an error if a redirect was refused, which GDAL may take for a file without features."""
    if redirected := refusal(file):
        raise VectorError(f"{file} cannot be read: {redirected}")


def _layer(file: str, requested: str) -> str:
    """Return the layer to read: the one that is named, or the only one with polygons."""
    layers = pyogrio.list_layers(file)
    names = [str(name) for name, _ in layers]
    if requested:
        if requested not in names:
            raise VectorError(f"{file} has no layer {requested!r}, only {', '.join(names)}")
        return requested
    shown = [str(name) for name, kind in layers if kind is not None]
    if not shown:
        raise VectorError(f"{file} is a table without geometries; labels are polygons")
    with_polygons = [str(name) for name, kind in layers if kind and "Polygon" in kind] or shown
    if len(with_polygons) > 1:
        raise VectorError(
            f"{file} has {len(with_polygons)} layers ({', '.join(with_polygons)}); "
            f"name one, as in {file}:{with_polygons[0]}"
        )
    return with_polygons[0]


def _unreadable(path: str, error: Exception) -> VectorError:
    reason = str(error).split(";")[0].removeprefix(f"'{path}' ").removeprefix(f"{path}: ").rstrip(".")
    return VectorError(f"{path} is not a vector file that GDAL can read ({reason})")
