"""Write GeoJSON feature collections (RFC 7946) as a stream."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import orjson

Bounds = tuple[float, float, float, float]
_EARLY_BBOX = re.compile(rb'^\{"type":"Feature","id":"[^"\\]*","bbox":(\[[^\]]*\])')

_NOTHING = (math.inf, -math.inf)


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
        with unfinished.open("wb") as file:
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
    extent = Extent(turning=crs is None)
    for feature in features:
        file.write(b",\n" if extent.count else b"\n")
        file.write(feature)
        extent.add(_bbox(feature))
    bounds = extent.bounds()
    file.write(b"\n]" + (b',"bbox":' + orjson.dumps(bounds) if bounds else b"") + b"}\n")
    return Written(extent.count, bounds)


def _bbox(feature: bytes) -> Bounds:
    """The bbox of a feature, read without the rest where it stands in front."""
    early = _EARLY_BBOX.match(feature)
    bbox = orjson.loads(early.group(1)) if early else orjson.loads(feature).get("bbox")
    if bbox is None or len(bbox) != 4:
        raise ValueError(f"a feature has no bbox of four numbers: {feature[:80]!r}")
    return tuple(bbox)


class Extent:
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

    def add(self, bounds: Bounds) -> None:
        """Take one box in: west, south, east, north; west is the larger across the antimeridian."""
        west, south, east, north = bounds
        self.count += 1
        self._atlantic = _widen(self._atlantic, (west, east) if west <= east else (-180.0, 180.0))
        self._pacific = _widen(self._pacific, _from_zero(west, east))
        self._latitudes = _widen(self._latitudes, (south, north))

    def bounds(self) -> Bounds | None:
        """The bounds of all boxes so far; None where there was none."""
        if not self.count:
            return None
        (west, east), (south, north) = self._atlantic, self._latitudes
        low, high = self._pacific
        if self._turning and high - low < east - west:
            west, east = (round(lon - 360, 7) if lon > 180 else lon for lon in (low, high))
        return west, south, east, north


def _from_zero(west: float, east: float) -> tuple[float, float]:
    """A range of longitudes counted from 0 to 360; all of it where the range reaches over 0."""
    if west <= east <= 0 and west < 0:
        return west + 360, east + 360
    if 0 <= west <= east:
        return west, east
    return (west, east + 360) if east <= 0 <= west else (0.0, 360.0)


def _widen(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return min(a[0], b[0]), max(a[1], b[1])
