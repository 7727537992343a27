"""Read polygons with class and score, and place them on the grid of a raster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.evaluation.classes import NO_CLASS, ClassList
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile, VectorError, read_polygons

CLASS, SCORE = "class", "score"
"""Properties of the polygons that Terraseam writes."""

read_file = lru_cache(maxsize=3)(read_polygons)
"""Read a polygon file; cached, as files are checked before they are measured, and rasters may share one."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledPolygons:
    """Polygons in pixels of a grid, with labels and scores.

    Attributes:
        polygons: Geometries in pixels ``(col, row)``, object of shape ``(n,)``.
        labels: Label of each, int64; `IGNORED` if unknown.
        scores: Score of each, float64.
    """

    polygons: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def some(self, chosen: np.ndarray) -> LabelledPolygons:
        """Return the polygons selected by a boolean or index array."""
        return LabelledPolygons(self.polygons[chosen], self.labels[chosen], self.scores[chosen])


def with_property(path: str, name: str) -> tuple[PolygonFile, bool]:
    """Return a file, with the values of a property if its features have it, and whether they do.

    Raises:
        VectorError: If it cannot be read.
    """
    try:
        return read_file(path, name), True
    except VectorError:
        return read_file(path), False


@ACTIVITY.operation()
def read_truth(
    paths: Sequence[str], georef: Georef, classes: ClassList, class_property: str | None
) -> LabelledPolygons:
    """Read the true polygons of some files, in pixels of a grid.

    Raises:
        VectorError: If a file cannot be read.
        EvaluateError: If polygons have no known class.
    """
    parts = []
    for path in paths:
        file = read_file(path, class_property)
        labels = classes.labels_of(file, has_values=class_property is not None)
        parts.append(_labelled(file, georef, labels, np.ones(len(labels))))
    return LabelledPolygons(
        *(
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("polygons", "labels", "scores")
        )
    )


@ACTIVITY.operation()
def read_predicted(path: str, georef: Georef, classes: ClassList) -> LabelledPolygons:
    """Read predicted polygons, in pixels of a grid; those without a score get 1.

    Raises:
        VectorError: If a file cannot be read.
        EvaluateError: If polygons have no known class.
    """
    (file, named), (scored, has_scores) = with_property(path, CLASS), with_property(path, SCORE)
    labels = classes.labels_of(file, has_values=named)
    scores = _scores(scored) if has_scores else np.ones(len(labels))
    return _labelled(file, georef, labels, scores)


def _scores(file: PolygonFile) -> np.ndarray:
    try:
        scores = np.array([1.0 if value is None else float(value) for value in file.values])
    except ValueError:
        scores = np.array([np.nan])
    if not np.isfinite(scores).all():
        raise VectorError(f"{file.path} has scores that are not numbers; fix its property {SCORE!r}")
    return scores


def _labelled(file: PolygonFile, georef: Georef, labels: np.ndarray, scores: np.ndarray) -> LabelledPolygons:
    in_pixels = polygons_to_pixels(file, georef)
    polygons = LabelledPolygons(in_pixels.polygons, labels[in_pixels.numbers], scores[in_pixels.numbers])
    return polygons.some(polygons.labels != NO_CLASS)


@ACTIVITY.operation()
def read_area(path: str, georef: Georef) -> np.ndarray:
    """Read the polygons of an area of interest, in pixels of a grid, object of shape ``(n,)``.

    Raises:
        VectorError: If the file cannot be read.
    """
    return polygons_to_pixels(read_file(path), georef).polygons


def region_of(georef: Georef, area: np.ndarray | None) -> shapely.Geometry:
    """Return a grid, or the part of it inside an area, as a geometry in pixels."""
    grid = shapely.box(0, 0, georef.width, georef.height)
    return grid if area is None else shapely.intersection(grid, shapely.union_all(area))
