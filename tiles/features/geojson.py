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
"""Boxes that are read at once, which is many times faster than one by one."""
_BUFFER = 1 << 17
"""Bytes that are written at once: Python's own 8192 take twice the time."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a feature collection holds.

    Attributes:
        count: Number of features.
        bounds: West, south, east, north in degrees; west is the larger where the features lie on both sides of
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
    """Write features as one collection, in the order in which they come; holds one of them at a time.

    The collection's bbox stands after its features, where it is known. A file given by its path appears whole
    or not at all.

    Args:
        target: Path of the file, or a binary file that is open for writing and stays open.
        features: JSON of each feature, each with a bbox.
        name: Name of the collection.
        crs: The CRS of the coordinates where they are no longitudes and latitudes, for which RFC 7946 has no word; it is
            named as GeoJSON did before (https://geojson.org/geojson-spec.html, section 3), and GDAL reads it.

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
    """Write features as newline-delimited GeoJSON, one a line, which programs read as a stream."""
    for feature in features:
        file.write(feature + b"\n")


def _head(name: str | None, crs: str | None) -> bytes:
    """What stands before the features of a collection."""
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
    """The bbox of a feature as JSON, read without the rest where it stands in front."""
    if early := _EARLY_BBOX.match(feature):
        return early.group(1)
    bbox = orjson.loads(feature).get("bbox")
    if bbox is None or len(bbox) != 4:
        raise ValueError(f"a feature has no bbox of four numbers: {feature[:80]!r}")
    return orjson.dumps(bbox)


def _numbers(boxes: list[bytes]) -> np.ndarray:
    """Boxes as numbers, shape ``(boxes, 4)``."""
    return np.array(orjson.loads(b"[" + b",".join(boxes) + b"]"), np.float64).reshape(-1, 4)


class CollectionBounds:
    """The bounds of all boxes so far, whatever their order.

    West and east are kept twice, cut at 180 and at 0 degrees of longitude: the narrower one counts, so that
    a raster across the antimeridian does not seem to reach round the Earth.

    Args:
        turning: Whether coordinates are longitudes; else, as in pixels, west is always the lesser.
    """

    def __init__(self, *, turning: bool = True) -> None:
        self.count = 0
        self._turning = turning
        self._atlantic = self._pacific = self._latitudes = _NOTHING

    def add(self, boxes: np.ndarray) -> None:
        """Take boxes in: west, south, east, north, shape ``(n, 4)``; west is the larger across the antimeridian."""
        west, south, east, north = boxes.astype(np.float64).T
        self.count += len(boxes)
        across = west > east
        from_180 = np.where(across, -180.0, west), np.where(across, 180.0, east)
        self._atlantic = _widen(self._atlantic, from_180)
        self._pacific = _widen(self._pacific, _from_zero(west, east))
        self._latitudes = _widen(self._latitudes, (south, north))

    def bounds(self) -> Bounds | None:
        """The bounds of all boxes so far; None where there was none."""
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
    """Ranges of longitudes counted from 0 to 360; all of it where a range reaches over 0."""
    below = (west <= east) & (east <= 0) & (west < 0)
    above = (west >= 0) & (west <= east)
    across = (east <= 0) & (west >= 0)
    low = np.select([below, above | across], [west + 360, west], 0.0)
    return low, np.select([above, below | across], [east, east + 360], 360.0)


def _widen(so_far: tuple[float, float], ranges: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    low, high = ranges
    return float(low.min(initial=so_far[0])), float(high.max(initial=so_far[1]))
