"""Transform coordinates from the CRS of a file to pixels of a raster, also where they wrap around the Earth."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyproj

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.turn import turn_of

_local = threading.local()


class PixelTransform:
    """Transformation from coordinates of a CRS to pixels of a raster and back.

    Args:
        crs: CRS of the coordinates, which are in the order x, y or longitude, latitude.
        georef: The raster.
    """

    def __init__(self, crs: str, georef: Georef) -> None:
        self.georef = georef
        source, target = _crs(crs), _crs(georef.crs)
        self.straight = source.equals(target, ignore_axis_order=True)
        self.from_degrees = bool(source.is_geographic)
        self._source = crs
        self._size = np.array([georef.width, georef.height])

    def to_map(self, xy: np.ndarray) -> np.ndarray:
        """Transform coordinates to the CRS of the raster, ``(n, 2)``; infinite where that fails."""
        if self.straight:
            return xy
        return np.stack(_transformer(self._source, self.georef.crs).transform(*xy.T), axis=1)

    def back(self, xy_px: np.ndarray) -> np.ndarray:
        """Transform pixel positions to the CRS of the file, ``(n, 2)``; infinite where that fails."""
        xy = self.georef.to_map(xy_px)
        if self.straight:
            return xy
        return np.stack(_transformer(self.georef.crs, self._source).transform(*xy.T), axis=1)

    def offsets_px(self, xy_map: np.ndarray) -> np.ndarray:
        """Convert differences of map coordinates ``(..., 2)`` to pixels, the short way around the Earth."""
        if self.turn is not None:
            xy_map = xy_map.copy()
            with np.errstate(invalid="ignore"):
                xy_map[..., 0] -= self.turn * np.rint(xy_map[..., 0] / self.turn)
        flat = xy_map.reshape(-1, 2)
        return (self.georef.to_pixels(flat) - self.georef.to_pixels(np.zeros((1, 2)))).reshape(xy_map.shape)

    def near(self, xy_px: np.ndarray) -> np.ndarray:
        """Return whether each group of positions ``(groups, n, 2)`` may reach the raster, by their bounds."""
        if self.turn is not None:
            return np.ones(len(xy_px), bool)
        low, high = xy_px.min(axis=1) - 1, xy_px.max(axis=1) + 1
        return ((low < self._size) & (high > 0)).all(axis=1)

    def rings(self, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
        """Transform closed rings to pixels without jumps, and find those that fail or go around a pole.

        Returns:
            Pixel positions of all points, ``(points, 2)``; indices of broken rings, ``(n,)``.
        """
        xy = self.to_map(lines.points)
        broken = np.unique(lines.ring[~np.isfinite(xy).all(axis=1)])
        if self.turn is None or not len(xy):
            return self.georef.to_pixels(xy), broken
        with np.errstate(invalid="ignore"):
            jumps = -np.rint(np.nan_to_num(np.diff(xy[:, 0], prepend=xy[0, 0]) / self.turn))
        begins = np.flatnonzero(np.diff(lines.ring, prepend=-1))
        jumps[begins] = 0
        turned = np.cumsum(jumps)
        ends = np.append(begins[1:], len(xy)) - 1
        round_a_pole = lines.ring[begins][turned[ends] != turned[begins]]
        turned -= np.repeat(turned[begins], ends - begins + 1)
        xy = xy + np.stack([turned * self.turn, np.zeros(len(xy))], axis=1)
        return self.georef.to_pixels(xy), np.union1d(broken, round_a_pole)

    @property
    def turn_px(self) -> np.ndarray | None:
        """One full turn around the Earth in pixels ``(cols, rows)``; None as `turn`."""
        if self.turn is None:
            return None
        ends = self.georef.to_pixels(np.array([[0.0, 0.0], [self.turn, 0.0]]))
        return np.asarray(ends[1] - ends[0])

    @cached_property
    def turn(self) -> float | None:
        """Change of x over one full turn around the Earth in the CRS of the raster; None if x is not periodic.

        It is periodic in degrees and in cylindrical projections of normal aspect, such as Mercator.
        """
        return turn_of(self.georef.crs)


def _crs(crs: str) -> pyproj.CRS:
    cache = _local.__dict__.setdefault("crs", {})
    if crs not in cache:
        cache[crs] = pyproj.CRS.from_user_input(crs)
    return cache[crs]


def _transformer(source: str, target: str) -> pyproj.Transformer:
    """Return the transformer between two CRSs, created once per thread (PROJ objects are not thread-safe)."""
    cache = _local.__dict__.setdefault("transformers", {})
    if (source, target) not in cache:
        cache[source, target] = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return cache[source, target]


TOLERANCE_PX = 0.1
"""Largest distance of a drawn edge from the straight edge in the CRS of its file, in pixels."""


_SAMPLED_TOLERANCE_PX = 0.75 * TOLERANCE_PX


_LONGEST_DEG = 60.0


_MOST_HALVINGS = 20


class Lines(NamedTuple):
    """Closed rings.

    Attributes:
        points: Their points, the first of each also its last, float64 ``(points, 2)``.
        ring: Index of the ring of each point, ascending, ``(points,)``.
    """

    points: np.ndarray
    ring: np.ndarray


def densified(lines: Lines, transform: PixelTransform) -> Lines:
    """Bisect edges until they follow the straight edge in the CRS of the file within 0.1 px, near the raster.

    An edge that two polygons share is bisected at the same points in both. Edges of a file in degrees are bisected
    down to 60 degrees, so that their direction around the Earth is unambiguous.
    """
    points, ring = lines
    if not len(points) or (transform.straight and not transform.from_degrees):
        return lines
    open_edges = np.flatnonzero(ring[1:] == ring[:-1])
    for _ in range(_MOST_HALVINGS):
        start, end = points[open_edges], points[open_edges + 1]
        halved = open_edges[
            _too_long(start, end, transform) | (not transform.straight and _off(start, end, transform))
        ]
        if not halved.size:
            break
        points = np.insert(points, halved + 1, (points[halved] + points[halved + 1]) / 2, axis=0)
        ring = np.insert(ring, halved + 1, ring[halved])
        moved = halved + np.arange(halved.size)
        open_edges = np.sort(np.concatenate([moved, moved + 1]))
    return Lines(points, ring)


def _too_long(start: np.ndarray, end: np.ndarray, transform: PixelTransform) -> np.ndarray:
    if not transform.from_degrees:
        return np.zeros(len(start), bool)
    return np.abs(end - start).max(axis=1, initial=0) > _LONGEST_DEG


def _off(start: np.ndarray, end: np.ndarray, transform: PixelTransform) -> np.ndarray:
    """Return whether each edge leaves its chord by too much, measured at a quarter, half and three quarters."""
    middle = (start + end) / 2
    samples = np.stack([start, (start + middle) / 2, middle, (middle + end) / 2, end], axis=1)
    xy_map = transform.to_map(samples.reshape(-1, 2)).reshape(samples.shape)
    known = np.isfinite(xy_map).all(axis=(1, 2))
    xy_map = np.where(known[:, None, None], xy_map, 0.0)
    offsets = transform.offsets_px(xy_map - xy_map[:, :1])
    chord = offsets[:, -1:]
    length = np.hypot(chord[..., 0], chord[..., 1])
    across = np.abs(chord[..., 0] * offsets[..., 1] - chord[..., 1] * offsets[..., 0])
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.where(length > 1e-9, across / length, np.hypot(offsets[..., 0], offsets[..., 1]))[
            :, 1:4
        ].max(axis=1)
    near = transform.near(transform.georef.to_pixels(xy_map[:, 0])[:, None] + offsets)
    return known & near & (off > _SAMPLED_TOLERANCE_PX)
