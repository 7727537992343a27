"""Format features as GeoJSON: one by one, or those of many outlines at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from terraseam.tiles.features.decimals import LEAST
from terraseam.tiles.features.degree_texts import polygons_as_json, rows_as_json
from terraseam.tiles.features.geojson import CollectionBounds
from terraseam.tiles.features.outlines import Outlines


def feature_json(
    identity: str,
    bounds: Sequence[float] | np.ndarray,
    properties: Mapping[str, Any],
    parts: list[list[np.ndarray]],
) -> bytes:
    """Format a feature as UTF-8 JSON, starting with type, id and bbox.

    Args:
        identity: Its id.
        bounds: West, south, east and north.
        properties: Its properties.
        parts: Rings of its polygons, shell first, each of shape ``(vertices, 2)``.
    """
    alone = len(parts) == 1
    kind, coordinates = ("Polygon", parts[0]) if alone else ("MultiPolygon", parts)
    return _feature(identity, properties, kind, _json(bounds), _json(coordinates))


class FeatureTexts:
    """Features of outlines as UTF-8 JSON. All numbers are formatted at once, many times faster than ring by ring.

    Args:
        outlines: The outlines.
        chosen: Indices of those to write, integers of shape ``(n,)``.
    """

    def __init__(self, outlines: Outlines, chosen: np.ndarray) -> None:
        self._outlines = outlines
        self._chosen = chosen.tolist()
        if outlines.lonlat.dtype.kind == "i":
            self._bounds = [_json(bounds) for bounds in outlines.bounds[chosen]]
            self._polygons = [_json(outlines.parts(region)[0]) for region in self._chosen]
        else:
            decimals = max(outlines.decimals, LEAST)
            self._bounds = rows_as_json(outlines.bounds[chosen], decimals)
            self._polygons = polygons_as_json(
                outlines.lonlat, outlines.ring_offsets, outlines.region_offsets, chosen, decimals
            )

    def feature(
        self,
        own: range,
        identity: str,
        properties: Mapping[str, Any],
        repaired: list[list[np.ndarray]] | None = None,
    ) -> bytes:
        """Format the feature that consists of the chosen outlines at the positions `own`.

        Args:
            own: Positions among the chosen outlines.
            identity: Its id.
            properties: Its properties.
            repaired: Polygons that replace the rings of the outlines if these are invalid; None if they are valid.
        """
        regions = self._chosen[own.start : own.stop]
        if repaired is not None:
            return feature_json(identity, self._bounds_around(regions, repaired), properties, repaired)
        if self._outlines.cut and not self._outlines.cut.keys().isdisjoint(regions):
            parts = [part for region in regions for part in self._outlines.parts(region)]
            return feature_json(identity, self._bounds_of(regions), properties, parts)
        polygons = self._polygons[own.start : own.stop]
        if len(polygons) == 1:
            return _feature(identity, properties, "Polygon", self._bounds[own.start], polygons[0])
        bounds = orjson.dumps(self._bounds_of(regions))
        return _feature(identity, properties, "MultiPolygon", bounds, b"[", b",".join(polygons), b"]")

    def _bounds_around(self, regions: Sequence[int], parts: list[list[np.ndarray]]) -> Sequence[float]:
        """Return west, south, east and north of polygons that replace regions."""
        if not self._outlines.cut.keys().isdisjoint(regions):
            return self._bounds_of(regions)
        shells = np.concatenate([part[0] for part in parts])
        return [*shells.min(axis=0).tolist(), *shells.max(axis=0).tolist()]

    def _bounds_of(self, regions: Sequence[int]) -> Sequence[float]:
        """Return west, south, east and north of several regions."""
        extent = CollectionBounds(turning=not self._outlines.in_pixels)
        extent.add(self._outlines.bounds[list(regions)])
        return extent.bounds() or ()


def _json(numbers: object) -> bytes:
    return orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)


def _feature(
    identity: str, properties: Mapping[str, Any], kind: str, bounds: bytes, *coordinates: bytes
) -> bytes:
    """Join the pieces of a feature's text, copying each once: they may be hundreds of megabytes."""
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
            *coordinates,
            b"}}",
        )
    )
