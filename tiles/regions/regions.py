"""Regions of a label map as ragged arrays: their rings on pixel edges and their attributes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import shapely

NODE = 1
"""Mark of a vertex where three or more cracks between pixels of different labels meet; every ring there has it."""

PINNED = 2
"""Mark of a vertex that touches nodata or the raster's edge."""

RELINK = 4
"""Mark of a vertex at which the path may change when fragments are joined; whole regions have none."""


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """4-connected regions of a label map, in pixel coordinates of the whole raster.

    Rings are closed (the first vertex is repeated), and every vertex is a corner of the region or a node. With rows
    going down, shells run clockwise and holes counter-clockwise.

    Attributes:
        coords: Vertices ``(x=col, y=row)`` of all rings, int32, shape ``(vertices, 2)``.
        marks: Sum of `NODE`, `PINNED` and `RELINK` for each vertex, uint8, shape ``(vertices,)``.
        ring_offsets: First vertex of each ring and the end of the last, int64, shape ``(rings + 1,)``.
        region_offsets: First ring of each region and the end of the last, int64, shape ``(regions + 1,)``;
            a region's shell comes before its holes.
        labels: Label of each region, int64, shape ``(regions,)``.
        first: First pixel ``(row, col)`` of each region in row-major order, int64, shape ``(regions, 2)``.
        pixels: Number of pixels of each region, int64, shape ``(regions,)``.
        score_sum: Sum of the uint8 scores of those pixels, int64, shape ``(regions,)``.
        groups: First pixel ``(row, col)`` of the first region of each region's group, int64, shape ``(regions, 2)``.
            Regions of one group are one feature; without connectivity 8, every region is a group by itself.
    """

    coords: np.ndarray
    marks: np.ndarray
    ring_offsets: np.ndarray
    region_offsets: np.ndarray
    labels: np.ndarray
    first: np.ndarray
    pixels: np.ndarray
    score_sum: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.region_offsets) - 1
        known = (self.labels, self.first, self.pixels, self.score_sum, self.groups)
        if any(len(values) != count for values in known):
            raise ValueError(
                f"{count} regions, but {len(self.labels)} labels, {len(self.first)} first pixels, "
                f"{len(self.pixels)} pixel counts, {len(self.score_sum)} score sums and {len(self.groups)} groups"
            )
        if len(self.marks) != len(self.coords):
            raise ValueError(f"{len(self.marks)} marks for {len(self.coords)} vertices")
        if self.ring_offsets[-1] != len(self.coords):
            raise ValueError(f"rings end at vertex {self.ring_offsets[-1]} of {len(self.coords)}")
        if self.region_offsets[-1] != len(self.ring_offsets) - 1:
            raise ValueError(f"regions end at ring {self.region_offsets[-1]} of {len(self.ring_offsets) - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: np.ndarray) -> Regions:
        """Return the regions at `indices` (integers, shape ``(n,)``), in that order."""
        rings, region_offsets = ragged_take(self.region_offsets, indices)
        vertices, ring_offsets = ragged_take(self.ring_offsets, rings)
        return Regions(
            self.coords[vertices],
            self.marks[vertices],
            ring_offsets,
            region_offsets,
            self.labels[indices],
            self.first[indices],
            self.pixels[indices],
            self.score_sum[indices],
            self.groups[indices],
        )

    def run(self, start: int, end: int) -> Regions:
        """Return the regions from `start` to before `end`, without copying their vertices."""
        rings = self.region_offsets[start : end + 1]
        vertices = self.ring_offsets[rings[0] : rings[-1] + 1]
        return Regions(
            self.coords[vertices[0] : vertices[-1]],
            self.marks[vertices[0] : vertices[-1]],
            vertices - vertices[0],
            rings - rings[0],
            self.labels[start:end],
            self.first[start:end],
            self.pixels[start:end],
            self.score_sum[start:end],
            self.groups[start:end],
        )

    def ordered(self) -> Regions:
        """Return the same regions in order of their first pixels."""
        order = np.lexsort((self.first[:, 1], self.first[:, 0]))
        return self if np.array_equal(order, np.arange(len(self))) else self.take(order)

    def by_group(self) -> tuple[Regions, np.ndarray]:
        """Return the same regions with those of a group together, groups in order of their first pixels.

        Returns:
            The regions, and the first region of each group and the end of the last one, int64, shape
            ``(groups + 1,)``.
        """
        order = np.lexsort((self.first[:, 1], self.first[:, 0], self.groups[:, 1], self.groups[:, 0]))
        regions = self if np.array_equal(order, np.arange(len(self))) else self.take(order)
        begins = (np.diff(regions.groups, axis=0, prepend=-1) != 0).any(axis=1)
        return regions, np.append(np.flatnonzero(begins), len(self))

    def polygons(self) -> np.ndarray:
        """Return one shapely polygon per region, in pixel coordinates: object array of shape ``(regions,)``."""
        if len(self) == 0:
            return np.empty(0, dtype=object)
        offsets = (self.ring_offsets, self.region_offsets)
        return shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, self.coords.astype(np.float64), offsets
        )

    @staticmethod
    def empty() -> Regions:
        """Return no regions."""
        none = np.zeros(0, dtype=np.int64)
        offsets = np.zeros(1, dtype=np.int64)
        pairs = np.zeros((0, 2), dtype=np.int64)
        return Regions(
            pairs.astype(np.int32),
            none.astype(np.uint8),
            offsets,
            offsets,
            none.copy(),
            pairs,
            none.copy(),
            none.copy(),
            pairs,
        )

    @staticmethod
    def of_shells(polygons: Sequence[shapely.Polygon]) -> Regions:
        """Build regions from polygons without holes in pixel coordinates, with empty attributes."""
        # With rows going down, shells run clockwise.
        rings = [shapely.get_coordinates(shapely.orient_polygons(polygon).exterior) for polygon in polygons]
        count = len(rings)
        offsets = np.cumsum([0, *map(len, rings)])
        none = np.zeros(count, np.int64)
        first = np.array([ring.min(axis=0)[::-1] for ring in rings], np.int64).reshape(-1, 2)
        coords = np.concatenate([np.zeros((0, 2)), *rings])
        whole = np.array_equal(coords, np.rint(coords))
        return Regions(
            coords.astype(np.int32) if whole else coords,
            np.zeros(len(coords), np.uint8),
            offsets,
            np.arange(count + 1),
            none,
            first,
            none,
            none,
            first,
        )

    @staticmethod
    def concatenate(parts: Sequence[Regions]) -> Regions:
        """Concatenate regions."""
        if not parts:
            return Regions.empty()
        return Regions(
            np.concatenate([part.coords for part in parts]),
            np.concatenate([part.marks for part in parts]),
            ragged_join([part.ring_offsets for part in parts]),
            ragged_join([part.region_offsets for part in parts]),
            np.concatenate([part.labels for part in parts]),
            np.concatenate([part.first for part in parts]),
            np.concatenate([part.pixels for part in parts]),
            np.concatenate([part.score_sum for part in parts]),
            np.concatenate([part.groups for part in parts]),
        )


def ragged_take(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the items of some rows of a ragged array.

    Args:
        offsets: First item of each row and the end of the last, shape ``(all rows + 1,)``.
        rows: Indices of the rows, shape ``(rows,)``.

    Returns:
        The indices of their items, and the offsets of the rows among these, shape ``(rows + 1,)``.
    """
    starts = offsets[:-1][rows]
    lengths = offsets[1:][rows] - starts
    taken = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(taken[-1]) + np.repeat(starts - taken[:-1], lengths), taken


def ragged_runs(offsets: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Split the rows of a ragged array into runs of about equally many items.

    Args:
        offsets: First item of each row and the end of the last, shape ``(rows + 1,)``.
        size: Number of items in a run, which its last row may exceed.

    Returns:
        First row of each run, and its end.
    """
    rows = len(offsets) - 1
    begins = np.flatnonzero(np.diff(offsets[:-1] // size, prepend=-1))
    return list(pairwise([*begins.tolist(), rows]))


def ragged_join(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the offsets of concatenated ragged arrays, each of shape ``(rows + 1,)``."""
    lengths = np.concatenate([np.diff(offsets) for offsets in parts])
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
