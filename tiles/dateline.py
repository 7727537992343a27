"""Polygons that cross the antimeridian or hold a pole, cut as RFC 7946 asks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely


def cut_at_antimeridian(rings: Sequence[np.ndarray], poles: Sequence[int]) -> list[shapely.Polygon]:
    """Cut a polygon into parts that lie between -180 and 180 degrees.

    Args:
        rings: Shell and holes, closed, ``(longitude, latitude)`` without jumps, each of shape
            ``(vertices, 2)``; a ring round a pole ends a whole turn from where it began.
        poles: For a ring that encloses a pole that pole's latitude, 90 or -90; 0 for the others.

    Returns:
        Parts without holes in their interior angles: shells counter-clockwise, holes clockwise, ordered by
        their bounds from west to east.
    """
    if any(poles):
        solids = [_wrap(_solid(ring, pole)) for ring, pole in zip(rings, poles, strict=True)]
        whole = shapely.difference(solids[0], shapely.union_all(solids[1:]))
    else:
        whole = _wrap(shapely.Polygon(rings[0], rings[1:]))
    parts = [part for part in shapely.get_parts(whole) if part.geom_type == "Polygon"]
    return sorted((shapely.orient_polygons(part) for part in parts), key=lambda part: part.bounds)


def _solid(ring: np.ndarray, pole: int) -> shapely.Polygon:
    """What a ring encloses, its holes filled; a ring round a pole is closed by way of the pole."""
    if pole:
        ring = np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole]]])
    return shapely.Polygon(ring)


def _wrap(polygon: shapely.Polygon) -> shapely.Geometry:
    """Bring what lies beyond -180..180 degrees back into it, turn by turn."""
    west, _, east, _ = polygon.bounds
    pieces = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        middle = 360.0 * turn
        piece = shapely.intersection(polygon, shapely.box(middle - 180, -90, middle + 180, 90))
        pieces.append(shapely.transform(piece, lambda xy, by=middle: xy - [by, 0.0]))
    return shapely.union_all(pieces) if len(pieces) > 1 and _overlap(pieces) else _collect(pieces)
