"""The way from the CRS of a file to the pixels of a raster, also where it goes round the Earth."""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np
import pyproj

from terraseam.tiles.georef import Georef
from terraseam.tiles.truth.straight import Lines
from terraseam.tiles.turn import turn_of

_local = threading.local()


class Way:
    """From coordinates of a CRS to pixels of a raster and back.

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
        """Coordinates in the CRS of the raster, ``(n, 2)``; infinite where there are none."""
        if self.straight:
            return xy
        return np.stack(_transformer(self._source, self.georef.crs).transform(*xy.T), axis=1)

    def back(self, xy_px: np.ndarray) -> np.ndarray:
        """Coordinates in the CRS of the file of pixel positions, ``(n, 2)``; infinite where there are none."""
        xy = self.georef.to_map(xy_px)
        if self.straight:
            return xy
        return np.stack(_transformer(self.georef.crs, self._source).transform(*xy.T), axis=1)

    def offsets_px(self, xy_map: np.ndarray) -> np.ndarray:
        """Differences of map coordinates ``(..., 2)`` in pixels, the short way round the Earth."""
        if self.turn is not None:
            xy_map = xy_map.copy()
            with np.errstate(invalid="ignore"):
                xy_map[..., 0] -= self.turn * np.rint(xy_map[..., 0] / self.turn)
        flat = xy_map.reshape(-1, 2)
        return (self.georef.to_pixels(flat) - self.georef.to_pixels(np.zeros((1, 2)))).reshape(xy_map.shape)

    def near(self, xy_px: np.ndarray) -> np.ndarray:
        """Which of some groups of positions ``(group, n, 2)`` may reach the raster, by their bounds."""
        if self.turn is not None:
            return np.ones(len(xy_px), bool)
        low, high = xy_px.min(axis=1) - 1, xy_px.max(axis=1) + 1
        return ((low < self._size) & (high > 0)).all(axis=1)

    def rings(self, lines: Lines) -> tuple[np.ndarray, np.ndarray]:
        """Closed rings in pixels, in one piece, and which of them have no place there or go round a pole.

        Returns:
            Pixel positions of all points, ``(points, 2)``; numbers of broken rings, ``(n,)``.
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
        """A whole turn in pixels ``(cols, rows)``; None as `turn`."""
        if self.turn is None:
            return None
        ends = self.georef.to_pixels(np.array([[0.0, 0.0], [self.turn, 0.0]]))
        return np.asarray(ends[1] - ends[0])

    @cached_property
    def turn(self) -> float | None:
        """How far x goes in a turn round the Earth in the CRS of the raster; None where it does not go straight on.

        It goes straight on in degrees and in projections on an upright cylinder, such as Mercator's.
        """
        return turn_of(self.georef.crs)


def _crs(crs: str) -> pyproj.CRS:
    cache = _local.__dict__.setdefault("crs", {})
    if crs not in cache:
        cache[crs] = pyproj.CRS.from_user_input(crs)
    return cache[crs]


def _transformer(source: str, target: str) -> pyproj.Transformer:
    """The transformer between two CRSs, made once a thread (PROJ shares none)."""
    cache = _local.__dict__.setdefault("transformers", {})
    if (source, target) not in cache:
        cache[source, target] = pyproj.Transformer.from_crs(source, target, always_xy=True)
    return cache[source, target]
