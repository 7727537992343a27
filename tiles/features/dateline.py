"""Cut polygons that cross the antimeridian or contain a pole, as RFC 7946 requires."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import shapely


def cut_at_antimeridian(
    rings: Sequence[np.ndarray], poles: Sequence[int], decimals: int
) -> list[shapely.Polygon]:
    """Cut a polygon into parts that lie between -180 and 180 degrees.

    Args:
        rings: Shell and holes, closed, ``(longitude, latitude)`` without jumps and rounded, each of shape
            ``(vertices, 2)``; a ring around a pole ends a full turn from where it began.
        poles: Latitude of the pole that each ring encloses, 90 or -90; 0 for the others.
        decimals: Number of decimals that vertices are rounded to.

    Returns:
        Parts in order of their bounds, from the west; shells counter-clockwise, holes clockwise.
    """
    shell, *holes = (
        _around(ring, pole, decimals) if pole else _wrap(sound(shapely.Polygon(ring)), decimals)
        for ring, pole in zip(rings, poles, strict=True)
    )
    whole = shapely.difference(shell, sound(shapely.union_all(holes)))
    return polygons_of(sound(whole)) or polygons_of(shell)


def sound(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return a valid geometry that covers the same area; rounded rings and those on the limb may be invalid."""
    return geometry if shapely.is_valid(geometry) else shapely.make_valid(geometry, method="structure")


def polygons_of(geometry: shapely.Geometry) -> list[shapely.Polygon]:
    """Return the polygons of a geometry from the west; shells counter-clockwise, holes clockwise."""
    parts = [
        part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon" and not part.is_empty
    ]
    return sorted((shapely.orient_polygons(part) for part in parts), key=lambda part: part.bounds)


def _around(ring: np.ndarray, pole: int, decimals: int) -> shapely.Geometry:
    """Return the area between a pole and a ring around it.

    The ring is unrolled three times around the Earth and closed via the pole at its vertex nearest to the pole, where
    nothing lies between.
    """
    turn = np.array([ring[-1, 0] - ring[0, 0], 0.0])
    nearest = int(np.argmin(np.abs(ring[:-1, 1] - pole)))
    once = np.concatenate([ring[nearest:-1], ring[:nearest] + turn])
    once[:, 0] -= 360 * np.rint(once[0, 0] / 360)
    line = np.concatenate([once - turn, once, once + turn, once[:1] + 2 * turn])
    ends = [[line[-1, 0], pole], [line[0, 0], pole]]
    strip = sound(shapely.Polygon(np.round(np.concatenate([line, ends]), decimals)))
    return _moved(shapely.intersection(strip, shapely.box(-180, -90, 180, 90)), 0.0, decimals)


def _wrap(polygon: shapely.Polygon, decimals: int) -> shapely.Geometry:
    """Wrap the parts beyond -180..180 degrees back into that range, turn by turn."""
    west, _, east, _ = polygon.bounds
    pieces = []
    for turn in range(int(np.floor((west + 180) / 360)), int(np.ceil((east + 180) / 360))):
        middle = 360.0 * turn
        piece = shapely.intersection(polygon, shapely.box(middle - 180, -90, middle + 180, 90))
        pieces.append(_moved(piece, -middle, decimals))
    return shapely.union_all(pieces)


def _moved(geometry: shapely.Geometry, degrees: float, decimals: int) -> shapely.Geometry:
    """Shift a geometry along the parallels; rounding keeps coincident vertices coincident."""
    by = np.array([degrees, 0.0])
    return sound(shapely.transform(geometry, lambda xy: np.round(xy + by, decimals)))
