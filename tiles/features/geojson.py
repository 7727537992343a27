"""Write GeoJSON feature collections (RFC 7946) as a stream."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import orjson

from terraseam.tiles.features.decimals import MOST

Bounds = tuple[float, float, float, float]
_EARLY_BBOX = re.compile(rb'^\{"type":"Feature","id":"[^"\\]*","bbox":(\[[^\],]*(?:,[^\],]*){3}\])')
_NOTHING = (math.inf, -math.inf)
_BOXES = 4096
"""Boxes that are parsed at once, which is many times faster than one by one."""
_BUFFER = 1 << 17
"""Buffer size in bytes: Python's default of 8192 takes twice the time."""


@dataclass(frozen=True, slots=True)
class Written:
    """Count and bounds of a written feature collection.

    Attributes:
        count: Number of features.
        bounds: West, south, east, north in degrees; west is greater than east if the features lie on both sides of
            the antimeridian. None without features.
    """

    count: int
    bounds: Bounds | None


def write_geojson(
    target: str | Path | BinaryIO,
    features: Iterable[bytes],
    *,
    name: str | None = None,
    crs: str | None = None,
) -> Written:
    """Write features as one collection, in the given order, holding one of them at a time.

    The collection's bbox is written after its features, when it is known. A file given by its path is written
    atomically.

    Args:
        target: Path of the file, or a binary file open for writing, which stays open.
        features: JSON of each feature, each with a bbox.
        name: Name of the collection.
        crs: The CRS of the coordinates if they are not longitudes and latitudes, which RFC 7946 does not provide for;
            it is written as in the earlier specification (https://geojson.org/geojson-spec.html, section 3), which
            GDAL reads.

    Raises:
        ValueError: If a feature has no bbox.
    """
    if not isinstance(target, (str, Path)):
        return _write(target, features, name, crs)
    path = Path(target)
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("wb", buffering=_BUFFER) as file:
            written = _write(file, features, name, crs)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return written


def write_geojson_lines(file: BinaryIO, features: Iterable[bytes]) -> None:
    """Write features as newline-delimited GeoJSON, one per line, which can be read as a stream."""
    for feature in features:
        file.write(feature + b"\n")


def _head(name: str | None, crs: str | None) -> bytes:
    """Return the start of a collection, up to its features."""
    members: dict[str, Any] = {"type": "FeatureCollection"}
    members |= {"name": name} if name is not None else {}
    members |= {"crs": {"type": "name", "properties": {"name": crs}}} if crs is not None else {}
    return orjson.dumps(members)[:-1] + b',"features":['


def _write(file: BinaryIO, features: Iterable[bytes], name: str | None, crs: str | None) -> Written:
    file.write(_head(name, crs))
    extent, separator, boxes = CollectionBounds(turning=crs is None), b"\n", list[bytes]()
    for feature in features:
        file.write(separator)
        file.write(feature)
        separator = b",\n"
        boxes.append(_bbox(feature))
        if len(boxes) == _BOXES:
            extent.add(_numbers(boxes))
            boxes.clear()
    extent.add(_numbers(boxes))
    bounds = extent.bounds()
    file.write(b"\n]" + (b',"bbox":' + orjson.dumps(bounds) if bounds else b"") + b"}\n")
    return Written(extent.count, bounds)


def _bbox(feature: bytes) -> bytes:
    """Return the bbox of a feature as JSON, without parsing the rest if it comes first."""
    if early := _EARLY_BBOX.match(feature):
        return early.group(1)
    bbox = orjson.loads(feature).get("bbox")
    if bbox is None or len(bbox) != 4:
        raise ValueError(f"a feature has no bbox of four numbers: {feature[:80]!r}")
    return orjson.dumps(bbox)


def _numbers(boxes: list[bytes]) -> np.ndarray:
    """Parse boxes as numbers, shape ``(boxes, 4)``."""
    return np.array(orjson.loads(b"[" + b",".join(boxes) + b"]"), np.float64).reshape(-1, 4)


class CollectionBounds:
    """Running bounds of boxes, independent of their order.

    West and east are kept twice, cut at 180 and at 0 degrees of longitude: the narrower range counts, so that a
    raster across the antimeridian does not seem to span the Earth.

    Args:
        turning: Whether coordinates are longitudes; otherwise, as in pixels, west is never greater than east.
    """

    def __init__(self, *, turning: bool = True) -> None:
        self.count = 0
        self._turning = turning
        self._atlantic = self._pacific = self._latitudes = _NOTHING

    def add(self, boxes: np.ndarray) -> None:
        """Add boxes: west, south, east, north, shape ``(n, 4)``; west exceeds east across the antimeridian."""
        west, south, east, north = boxes.astype(np.float64).T
        self.count += len(boxes)
        across = west > east
        from_180 = np.where(across, -180.0, west), np.where(across, 180.0, east)
        self._atlantic = _widen(self._atlantic, from_180)
        self._pacific = _widen(self._pacific, _from_zero(west, east))
        self._latitudes = _widen(self._latitudes, (south, north))

    def bounds(self) -> Bounds | None:
        """Return the bounds of all boxes so far; None if there are none."""
        if not self.count:
            return None
        (west, east), (south, north) = self._atlantic, self._latitudes
        low, high = self._pacific
        if not self._turning:
            west, south, east, north = (int(n) if n.is_integer() else n for n in (west, south, east, north))
        elif high - low < east - west:
            west, east = (round(lon - 360, MOST) if lon > 180 else lon for lon in (low, high))
        return west, south, east, north


def _from_zero(west: np.ndarray, east: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ranges of longitudes counted from 0 to 360; the full range where one crosses 0."""
    below = (west <= east) & (east <= 0) & (west < 0)
    above = (west >= 0) & (west <= east)
    across = (east <= 0) & (west >= 0)
    low = np.select([below, above | across], [west + 360, west], 0.0)
    return low, np.select([above, below | across], [east, east + 360], 360.0)


def _widen(so_far: tuple[float, float], ranges: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    low, high = ranges
    return float(low.min(initial=so_far[0])), float(high.max(initial=so_far[1]))
