"""Features as GeoJSON: one by one, or those of many outlines from one piece of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from tiles.geojson import Extent
from tiles.outlines import Outlines
from tiles.regions import ragged_take

_NUMPY = orjson.OPT_SERIALIZE_NUMPY


def feature_json(
    identity: str,
    bounds: Sequence[float] | np.ndarray,
    properties: Mapping[str, Any],
    parts: list[list[np.ndarray]],
) -> bytes:
    """A feature as UTF-8 JSON; it begins with type, id and bbox.

    Args:
        identity: Its id.
        bounds: West, south, east and north.
        properties: Its properties.
        parts: Rings of the polygons that it consists of, shell first, each of shape ``(vertices, 2)``.
    """
    alone = len(parts) == 1
    kind, coordinates = ("Polygon", parts[0]) if alone else ("MultiPolygon", parts)
    texts = (orjson.dumps(what, option=_NUMPY) for what in (bounds, coordinates))
    return _feature(identity, properties, kind, *texts)


class FeatureTexts:
    """Features of outlines as UTF-8 JSON. All numbers are written at once, which is several times faster than by ring.

    Args:
        outlines: The outlines.
        chosen: Which of them are written, integers of shape ``(n,)``.
    """

    def __init__(self, outlines: Outlines, chosen: np.ndarray) -> None:
        self._outlines = outlines
        rings, first_rings = ragged_take(outlines.region_offsets, chosen)
        vertices, ring_offsets = ragged_take(outlines.ring_offsets, rings)
        self._chosen = chosen.tolist()
        self._first_rings = first_rings.tolist()
        self._rings = _rows_of_texts(outlines.lonlat[vertices], ring_offsets)
        self._bounds = _rows_of_texts(outlines.bounds[chosen], np.arange(len(chosen) + 1))

    def feature(self, own: range, identity: str, properties: Mapping[str, Any]) -> bytes:
        """The feature of those of the chosen outlines that have the places `own` among them."""
        regions = self._chosen[own.start : own.stop]
        if not self._outlines.cut.keys().isdisjoint(regions):
            parts = [part for region in regions for part in self._outlines.parts(region)]
            return feature_json(identity, self._bounds_of(regions), properties, parts)
        solids = [self._rings[self._first_rings[n] : self._first_rings[n + 1]] for n in own]
        polygons = [b"[[" + b"],[".join(rings) + b"]]" for rings in solids]
        if len(polygons) == 1:
            return _feature(identity, properties, "Polygon", self._bounds[own.start], polygons[0])
        bounds = orjson.dumps(self._bounds_of(regions))
        return _feature(identity, properties, "MultiPolygon", bounds, b"[" + b",".join(polygons) + b"]")

    def _bounds_of(self, regions: Sequence[int]) -> Sequence[float]:
        """West, south, east and north of several regions."""
        extent = Extent(turning=not self._outlines.in_pixels)
        for west, south, east, north in self._outlines.bounds[list(regions)].tolist():
            extent.add((west, south, east, north))
        return extent.bounds() or ()


def _rows_of_texts(numbers: np.ndarray, offsets: np.ndarray) -> list[bytes]:
    """Rows of numbers as JSON, for each run of rows from one offset to the next, without brackets around the run."""
    text = orjson.dumps(np.ascontiguousarray(numbers), option=_NUMPY)
    opens = np.flatnonzero(np.frombuffer(text, np.uint8) == ord("["))[1:]
    begins = np.append(opens, len(text))[offsets]
    return [
        text[begin : end - 1] for begin, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True)
    ]


def _feature(
    identity: str, properties: Mapping[str, Any], kind: str, bounds: bytes, coordinates: bytes
) -> bytes:
    return b"".join(
        (
            b'{"type":"Feature","id":',
            orjson.dumps(identity),
            b',"bbox":',
            bounds,
            b',"properties":',
            orjson.dumps(properties),
            b',"geometry":{"type":"',
            kind.encode(),
            b'","coordinates":',
            coordinates,
            b"}}",
        )
    )
