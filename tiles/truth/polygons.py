"""Ground truth of a raster from polygons: labels, and instances with their own masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import IGNORED
from terraseam.tiles.vectors.burn import burn, edges_of, masks, pixel_boxes
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile

_TRIES = 32


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
        background: Label of pixels that no polygon covers; 255 if they are unknown.
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
    """

    def __init__(
        self,
        polygons: np.ndarray,
        labels: Sequence[int] | np.ndarray,
        classes: PolygonClasses,
        shape: tuple[int, int] | None = None,
    ) -> None:
        self.labels_of = np.asarray(labels, np.int64).astype(np.uint8)
        if len(self.labels_of) != len(polygons):
            raise ValueError(f"{len(polygons)} polygons need as many labels, got {len(self.labels_of)}")
        self.polygons = polygons
        self.classes = classes
        self._shape = shape
        self._edges = edges_of(polygons)

    def __len__(self) -> int:
        return len(self.polygons)

    def __reduce__(self) -> tuple[type, tuple[object, ...]]:
        return PolygonTruth, (self.polygons, self.labels_of, self.classes, self._shape)

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
        numbers = numbers[self.labels_of[numbers] != IGNORED]
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
        """Return the number of polygons of each label, int64 ``(classes,)``."""
        known = self.labels_of[self.labels_of < self.classes.count]
        return np.bincount(known, minlength=self.classes.count).astype(np.int64)

    def place(self, label: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` in a random polygon of a label, on the raster.

        Raises:
            ValueError: If there is none.
        """
        numbers = np.flatnonzero(self.labels_of == label)
        if not numbers.size:
            raise ValueError(f"no polygon has the label {label}")
        return self.centre(int(rng.choice(numbers)), rng)

    def centre(self, number: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` of a polygon, on the raster."""
        box = self._edges.boxes[number].copy()
        if self._shape is not None:
            height, width = self._shape
            box = np.concatenate([np.maximum(box[:2], 0), np.minimum(box[2:], [width, height])])
        tries = box[:2] + rng.random((_TRIES, 2)) * (box[2:] - box[:2])
        inside = np.flatnonzero(shapely.contains_xy(self.polygons[number], tries))
        if inside.size:
            col, row = tries[inside[0]]
        else:
            visible = shapely.intersection(self.polygons[number], shapely.box(*box))
            col, row = shapely.get_coordinates(shapely.point_on_surface(visible))[0]
        return float(row), float(col)


def _trimmed(mask: np.ndarray) -> tuple[int, int, np.ndarray]:
    """Crop a mask to its True pixels; return the first row and column, and the cropped mask."""
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(cols[0]), mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]


def polygon_truth(
    file: PolygonFile, georef: Georef, labels: Sequence[int] | np.ndarray, classes: PolygonClasses
) -> PolygonTruth:
    """Transform the polygons of a file to a raster as its truth; those that do not overlap it are left out.

    Args:
        file: The polygons.
        georef: The raster.
        labels: Label of each polygon of the file.
        classes: Number of labels, and the label of the background.
    """
    in_pixels = polygons_to_pixels(file, georef)
    chosen = np.asarray(labels, np.int64)[in_pixels.numbers]
    return PolygonTruth(in_pixels.polygons, chosen, classes, (georef.height, georef.width))
