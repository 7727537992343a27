"""Measure predictions against ground truth, one raster at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.errors import EvaluateError
from terraseam.pipeline.evaluation.classes import ClassList, values_of
from terraseam.pipeline.evaluation.polygons import (
    LabelledPolygons,
    read_area,
    read_predicted,
    read_truth,
    region_of,
)
from terraseam.pipeline.evaluation.subjects import Subject
from terraseam.pipeline.options.evaluate import EvaluateOptions
from terraseam.tiles.measures.average_precision import Matches, match
from terraseam.tiles.measures.clip import clip
from terraseam.tiles.measures.errors import error_picture
from terraseam.tiles.measures.label_map import LabelMapFile
from terraseam.tiles.measures.maps import LabelError, Maps, MapSettings, PixelCounts, measure_maps
from terraseam.tiles.measures.overlaps import overlaps
from terraseam.tiles.measures.spacenet import PolygonMatches, find
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.label_raster import RasterTruth
from terraseam.tiles.truth.polygons import PolygonClasses, PolygonTruth
from terraseam.tiles.truth.scene import IGNORED, Truth
from terraseam.tiles.vectors.area import TrustedArea

LEAST_LEFT_PX = 1.0
"""Minimum area of a clipped polygon to count, in square pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class PolygonCounts:
    """The matches of the polygons of one class on one raster.

    Attributes:
        matches: Matches by the COCO metric.
        polygon_matches: Matches by the SpaceNet metric.
    """

    matches: Matches
    polygon_matches: PolygonMatches


@dataclass(frozen=True, slots=True, eq=False)
class RasterCounts:
    """The counts of one raster.

    Attributes:
        subject: The raster.
        pixels: Pixel counts; None if no pixels were compared.
        polygons: Polygon matches by label; None if no polygons were compared.
        left_out: Number of true polygons left out because they lie mostly outside the prediction.
        picture: Picture of the errors; None if not requested.
    """

    subject: Subject
    pixels: PixelCounts | None
    polygons: dict[int, PolygonCounts] | None
    left_out: int
    picture: np.ndarray | None = None


class CountedMaps(Maps):
    """Maps that count each block read as activity."""

    def read(self, view: View) -> tuple[np.ndarray, np.ndarray]:
        """Read a view of both maps."""
        with ACTIVITY.operation():
            return super().read(view)


def measure(
    subject: Subject, classes: ClassList, options: EvaluateOptions, picture_size: int | None = None
) -> RasterCounts:
    """Measure the prediction of one raster.

    Args:
        subject: The raster.
        classes: The classes.
        options: The options of the evaluation.
        picture_size: Longest side of the picture of errors, in pixels; None for no picture.

    Raises:
        EvaluateError: If a label map holds labels without a class.
        RasterReadError: If a raster cannot be read.
    """
    georef = subject.georef
    shape = georef.height, georef.width
    area = None if options.aoi is None else read_area(options.aoi, georef)
    true = _true_polygons(subject, classes, options)
    predicted = _predicted_polygons(subject, classes)
    inside = None if area is None else TrustedArea(area)
    maps = CountedMaps(
        georef,
        subject.labels or _drawn(predicted, classes, shape),
        _drawn(true, classes, shape) if true is not None else _raster_truth(subject, classes, options),
        inside,
    )
    pixels, unseen = None, None
    if subject.in_pixels:
        settings = MapSettings(len(classes.names), options.tolerance, options.block)
        try:
            pixels, unseen = measure_maps(maps, settings)
        except LabelError as error:
            path = subject.labels.path if subject.labels else subject.truth[0]
            raise EvaluateError([f"{subject.name} ({path}): {error}; name all with --classes"]) from error
    picture = (
        None if picture_size is None else error_picture(maps, classes.background, picture_size, subject.image)
    )
    if true is None or predicted is None:
        return RasterCounts(subject, pixels, None, 0, picture)
    region = region_of(georef, area)
    true, left_out = _cut(true, region, unseen)
    predicted, _ = _cut(predicted, region, None)
    predicted = predicted.some(predicted.labels != IGNORED)
    polygons = {
        label: _compare(predicted, true, label, options.max_detections) for label in classes.foreground
    }
    return RasterCounts(subject, pixels, polygons, left_out, picture)


def _true_polygons(subject: Subject, classes: ClassList, options: EvaluateOptions) -> LabelledPolygons | None:
    if not subject.truth_is_polygons:
        return None
    return read_truth(subject.truth, subject.georef, classes, options.class_property)


def _predicted_polygons(subject: Subject, classes: ClassList) -> LabelledPolygons | None:
    """Return the predicted polygons if they are compared with true ones or replace a missing label map; else None."""
    path = subject.predicted.polygons
    if path is None or (subject.labels is not None and not subject.truth_is_polygons):
        return None
    return read_predicted(path, subject.georef, classes)


def _drawn(labelled: LabelledPolygons | None, classes: ClassList, shape: tuple[int, int]) -> Truth:
    """Rasterize polygons as labels; elsewhere is background, or unknown if there is no background class."""
    if labelled is None:
        raise ValueError("there are neither labels nor polygons")
    background = IGNORED if classes.background is None else classes.background
    meaning = PolygonClasses(len(classes.names), background)
    return PolygonTruth(labelled.polygons, labelled.labels, meaning, shape)


def _raster_truth(subject: Subject, classes: ClassList, options: EvaluateOptions) -> Truth:
    path = subject.truth[0]
    values = options.label_values or values_of(classes.names)
    names = LabelMapFile(path).names
    if options.label_values is None and names is not None:
        missing = [name for name in classes.names if name not in names]
        if missing:
            raise EvaluateError(
                [
                    f"{path} has the classes {', '.join(names)}, but not {', '.join(missing)}; pass --label-values"
                ]
            )
        values = tuple(names.index(name) for name in classes.names)
    return RasterTruth(path, subject.georef, values, classes.background)


def _cut(
    labelled: LabelledPolygons, region: shapely.Geometry, unseen: np.ndarray | None
) -> tuple[LabelledPolygons, int]:
    """Clip polygons to a region; drop those of a class that are mostly unseen, and count the dropped ones."""
    polygons, numbers = clip(labelled.polygons, region, LEAST_LEFT_PX)
    cut = LabelledPolygons(polygons, labelled.labels[numbers], labelled.scores[numbers])
    if unseen is None:
        return cut, 0
    visible = (cut.labels == IGNORED) | (unseen[numbers] <= shapely.area(polygons) / 2)
    return cut.some(visible), int(np.count_nonzero(~visible))


@ACTIVITY.operation()
def _compare(
    predicted: LabelledPolygons, true: LabelledPolygons, label: int, most: int | None
) -> PolygonCounts:
    """Match the polygons of one class; predictions on true polygons without a class are ignored."""
    predictions = predicted.some(predicted.labels == label)
    others = true.some((true.labels == label) | (true.labels == IGNORED))
    pairs = overlaps(predictions.polygons, others.polygons, ignored=others.labels == IGNORED)
    return PolygonCounts(match(pairs, predictions.scores, most), find(pairs, predictions.scores))
