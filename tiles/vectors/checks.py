"""Check what a vector file needs in any format, with messages on what is missing."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyproj

from terraseam.tiles.access.crs_grids import GridAddressError, check_grids

ALIKE = 0.76
"""Minimum similarity ratio of a mistyped property name to the suggested one."""


class VectorError(ValueError):
    """Raised when a vector file cannot be used; the message is one sentence with the reason."""


class Features(NamedTuple):
    """The features of a file as read.

    Attributes:
        crs: CRS of the coordinates; None if the file has none.
        shapes: Their geometries as WKB, None for features without one, object ``(features,)``.
        values: The class property as text; None for features without one.
    """

    crs: str | None
    shapes: np.ndarray
    values: Sequence[str | None]


def check_crs(path: str, crs: str | None) -> str:
    """Check that there is a CRS and that it refers to the Earth.

    Raises:
        VectorError: If there is none, PROJ does not know it, or it does not refer to the Earth.
    """
    if not crs:
        missing = "no CRS (its .prj file is missing)" if path.lower().endswith(".shp") else "no CRS"
        raise VectorError(
            f"{path} has {missing}; assign the CRS of its coordinates with ogr2ogr -a_srs EPSG:..."
        )
    try:
        check_grids(crs)
    except GridAddressError as error:
        raise VectorError(f"{path} has {error} with ogr2ogr -a_srs EPSG:...") from error
    try:
        known = pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise VectorError(
            f"{path} has the CRS {' '.join(crs.split())[:60]!r}, which PROJ does not know; assign another with "
            "ogr2ogr -a_srs EPSG:..."
        ) from error
    if not (known.is_geographic or known.is_projected):
        raise VectorError(
            f"{path} has the CRS {known.name!r}, which is neither geographic nor projected and has no place on "
            "the Earth; assign another with ogr2ogr -a_srs EPSG:..."
        )
    return crs


def check_property(path: str, name: str | None, names: Sequence[str]) -> None:
    """Check that features have a property.

    Raises:
        VectorError: If they do not; the message lists those that exist.
    """
    if name is None or name in names:
        return
    if not len(names):
        raise VectorError(f"{path} has no property {name!r}: its features have none at all")
    near = difflib.get_close_matches(name, names, n=1, cutoff=ALIKE)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise VectorError(f"{path} has no property {name!r}, only {', '.join(names)}{hint}")


def as_text(value: Any) -> str | None:
    """Format a property as text: integers without a point, booleans as ``true`` and ``false``; None for null."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return None
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float | np.floating) else str(value)
