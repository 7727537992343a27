"""Give the outlines of buildings right angles, where they support them and nothing is moved far."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import shapely

from tiles.regions import NODE, Regions
from tiles.right_angles import ALIGNED, main_direction, squared_ring

FREE_PX = 3.0
"""How far the outline of a building that stands alone may move, in pixels."""

TOUCHING_PX = 0.5
"""How far the outline of one that touches another may move: both together overlap by a pixel at most."""

AREA_SHARE = 0.1
"""How much of its area a building may win or lose."""

LEAST_PX = 12
"""Regions of fewer pixels show no directions."""


@dataclass(frozen=True, slots=True, eq=False)
class Regularized:
    """Regions with right angles.

    Attributes:
        regions: The regions, with vertices between pixel corners: float64.
        changed: Which of them were changed, bool, shape ``(regions,)``.
        area_change: By how much of its area each has grown, shape ``(regions,)``.
    """

    regions: Regions
    changed: np.ndarray
    area_change: np.ndarray

    def said(self, *own: int) -> dict[str, bool | float]:
        """What a feature of some of the regions says of it."""
        areas = self.regions.pixels[list(own)]
        change = float(np.average(self.area_change[list(own)], weights=areas))
        return {"regularized": bool(self.changed[list(own)].any()), "area_change": round(change, 4) + 0.0}


def regularize(
    regions: Regions, ground: tuple[tuple[float, float], tuple[float, float]], *, overlapping: bool = False
) -> Regularized:
    """Give regions right angles where their outlines support them; round and free ones stay as they are.

    Args:
        regions: Whole regions.
        ground: Metres on the ground ``(right, up)`` for a step of one column, and for one of one row.
        overlapping: Whether the regions are of things that may touch others without knowing it.
    """
    plane = np.array(ground)
    plane /= np.sqrt(abs(np.linalg.det(plane)))
    back = np.linalg.inv(plane)
    rings: list[np.ndarray] = []
    counts, changes = [], []
    for i in range(len(regions)):
        own = [
            regions.coords[regions.ring_offsets[k] : regions.ring_offsets[k + 1]].astype(np.float64)
            for k in range(regions.region_offsets[i], regions.region_offsets[i + 1])
        ]
        touching = overlapping or _touches(regions, i)
        flat = [ring @ plane for ring in own]
        squared = (
            _squared(flat, TOUCHING_PX if touching else FREE_PX) if regions.pixels[i] >= LEAST_PX else None
        )
        counts.append(len(own))
        rings += own if squared is None else [ring @ back for ring in squared]
        changes.append(np.nan if squared is None else _area(squared) / _area(flat) - 1)
    change = np.array(changes, np.float64)
    ring_offsets = np.concatenate([[0], np.cumsum([len(ring) for ring in rings])]).astype(np.int64)
    coords = np.concatenate([np.zeros((0, 2)), *rings])
    straight = replace(
        regions,
        coords=coords,
        marks=np.zeros(len(coords), np.uint8),
        ring_offsets=ring_offsets,
        region_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )
    return Regularized(straight, ~np.isnan(change), np.nan_to_num(change))


def _touches(regions: Regions, i: int) -> bool:
    """Whether a region meets two others somewhere. Where it only meets itself, its rings pass twice."""
    offsets = regions.ring_offsets[regions.region_offsets[i] : regions.region_offsets[i + 1] + 1]
    here = np.arange(offsets[0], offsets[-1])
    # The last vertex of a ring is its first.
    here = np.setdiff1d(here, offsets[1:] - 1)
    nodes = regions.coords[here[(regions.marks[here] & NODE) != 0]]
    _, passes = np.unique(nodes, axis=0, return_counts=True)
    return bool((passes == 1).any())


def _squared(rings: list[np.ndarray], reach: float) -> list[np.ndarray] | None:
    """The rings of one polygon with right angles; None where they do not support them."""
    direction, share = main_direction(rings[0])
    if share < ALIGNED:
        return None
    shell = squared_ring(rings[0], direction)
    if shell is None:
        return None
    # A hole too small for right angles stays as it is.
    holes = [ring if (squared := squared_ring(ring, direction)) is None else squared for ring in rings[1:]]
    before, after = shapely.Polygon(rings[0], rings[1:]), shapely.Polygon(shell, holes)
    if not after.is_valid or abs(after.area / before.area - 1) > AREA_SHARE:
        return None
    grown = shapely.covers(before.buffer(reach, join_style="mitre"), after)
    shrunk = shapely.covers(after.buffer(max(reach, FREE_PX), join_style="mitre"), before)
    found = [shell, *holes]
    return (
        [_wound_like(ring, old) for ring, old in zip(found, rings, strict=True)] if grown and shrunk else None
    )


def _wound_like(ring: np.ndarray, old: np.ndarray) -> np.ndarray:
    return ring if _signed(ring) * _signed(old) > 0 else ring[::-1]


def _signed(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).T
    return float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2


def _area(rings: list[np.ndarray]) -> float:
    return abs(_signed(rings[0])) - sum(abs(_signed(ring)) for ring in rings[1:])
