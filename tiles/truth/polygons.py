"""Ground truth of a raster from polygons: labels, and instances with their own masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import shapely

from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import IGNORED
from terraseam.tiles.vectors.area import TrustedArea, random_point
from terraseam.tiles.vectors.burn import burn, edges_of, masks, pixel_boxes


class TrueInstance(NamedTuple):
    """One polygon as seen in a view.

    Attributes:
        row: First row of its mask, in pixels of the view.
        col: First column of its mask, in pixels of the view.
        mask: Its pixels within the view, bool ``(height, width)``, cropped to their bounding rectangle.
        label: Its class.
        whole: Whether it lies completely in the view.
        number: Index of its polygon in the truth.
    """

    row: int
    col: int
    mask: np.ndarray
    label: int
    whole: bool
    number: int


@dataclass(frozen=True, slots=True)
class PolygonClasses:
    """The classes of polygons.

    Attributes:
        count: Number of classes.
        background: Label of pixels that no polygon covers; 255 if they are unknown. Polygons of it are no instances.
    """

    count: int
    background: int = 0


class PolygonTruth:
    """Polygons on a raster, rasterized to any view of it.

    Args:
        polygons: Polygons and multipolygons in pixels of the raster ``(col, row)``; later ones lie on top.
        labels: Label of each; 255 if its class is unknown.
        classes: Number of labels, and the label of the background.
        shape: Height and width of the raster, in pixels; None if polygons are not bounded by it.
        area: Area in which chips are centred on polygons; None for everywhere.
    """

    def __init__(
        self,
        polygons: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: PolygonClasses,
        shape: tuple[int, int] | None = None,
        area: TrustedArea | None = None,
    ) -> None:
        self.labels_of = np.asarray(labels, np.int64).astype(np.uint8)
        if len(self.labels_of) != len(polygons):
            raise ValueError(f"{len(polygons)} polygons need as many labels, got {len(self.labels_of)}")
        self.polygons = polygons
        self.classes = classes
        self._shape, self._area = shape, area
        self._edges = edges_of(polygons)

    def __len__(self) -> int:
        return len(self.polygons)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return PolygonTruth, (self.polygons, self.labels_of, self.classes, self._shape, self._area)

    @property
    def of_background(self) -> np.ndarray:
        """Whether each polygon is of the background, bool ``(polygons,)``."""
        return self.labels_of == self.classes.background

    def labels(self, view: View) -> np.ndarray:
        """Return the labels of a view, by the polygons that pixel centres lie in, uint8 ``(height, width)``."""
        drawn = np.full((view.height, view.width), self.classes.background, np.uint8)
        burn(self._edges, self._edges.intersecting(view), self.labels_of, view, drawn)
        return drawn

    def ids(self, view: View) -> np.ndarray:
        """Return the polygon seen in each pixel, counted from 1, 0 where there is none; int32 ``(height, width)``."""
        drawn = np.zeros((view.height, view.width), np.int32)
        numbers = np.arange(1, len(self) + 1, dtype=np.int32)
        burn(self._edges, self._edges.intersecting(view), numbers, view, drawn)
        return drawn

    def instances(self, view: View, min_pixels: int = 16) -> list[TrueInstance]:
        """Return the polygons in a view, each with all its pixels there, even those covered by others.

        Args:
            view: The chip.
            min_pixels: Instances with fewer pixels are left out, as are those of unknown class.
        """
        numbers = self._edges.intersecting(view)
        numbers = numbers[(self.labels_of[numbers] != IGNORED) & ~self.of_background[numbers]]
        boxes = pixel_boxes(self._edges.boxes[numbers], view)
        whole = (boxes >= 0).all(axis=1) & (boxes[:, 2] <= view.height) & (boxes[:, 3] <= view.width)
        instances = []
        for number, complete, (row, col, mask) in zip(
            numbers.tolist(), whole.tolist(), masks(self._edges, numbers, view), strict=True
        ):
            if np.count_nonzero(mask) >= max(1, min_pixels):
                top, left, cut = _trimmed(mask)
                instance = TrueInstance(
                    row + top, col + left, cut, int(self.labels_of[number]), complete, number
                )
                instances.append(instance)
        return instances

    def counts(self) -> np.ndarray:
        """Return the number of instances of each label at least partly in the area, int64 ``(classes,)``."""
        labels = self.labels_of[~shapely.is_missing(self._trusted) & ~self.of_background]
        known = labels[labels < self.classes.count]
        return np.bincount(known, minlength=self.classes.count).astype(np.int64)

    def place(self, label: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` in a random polygon of a label, on the raster and in the area.

        Raises:
            ValueError: If there is none.
        """
        numbers = np.flatnonzero((self.labels_of == label) & ~shapely.is_missing(self._trusted))
        if not numbers.size:
            raise ValueError(f"no polygon has the label {label}")
        return self.centre(int(rng.choice(numbers)), rng)

    def centre(self, number: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` of a polygon, on the raster and in the area."""
        box = shapely.bounds(self._trusted[number])
        if self._shape is not None:
            height, width = self._shape
            box = np.concatenate([np.maximum(box[:2], 0), np.minimum(box[2:], [width, height])])
        return random_point(self._trusted[number], box, rng)

    @cached_property
    def _trusted(self) -> np.ndarray:
        """The part of each polygon in the area, None where none is on the raster; object ``(polygons,)``."""
        if self._area is None:
            return self.polygons
        trusted = self._area.clip(self.polygons)
        if self._shape is not None:
            height, width = self._shape
            raster = shapely.box(0, 0, width, height)
            trusted[~shapely.intersects(raster, trusted) | shapely.touches(raster, trusted)] = None
        return trusted


def _trimmed(mask: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Crop a mask to its True pixels; return the first row and column, and the cropped mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(cols[0]), mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
