"""Compute metrics from counts, as values for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from terraseam.pipeline.evaluation.classes import ClassList
from terraseam.pipeline.evaluation.measure import RasterCounts
from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.options.evaluate import EvaluateOptions
from terraseam.tiles.measures.average_precision import SIZES, Precision, average_precision
from terraseam.tiles.measures.confusion import mean_of_known, pixel_figures
from terraseam.tiles.measures.maps import PixelCounts
from terraseam.tiles.measures.spacenet import PolygonMatches

FORMAT = 1
AP50, AP75 = 0, 5


def evaluation_json(
    measured: Sequence[RasterCounts],
    classes: ClassList,
    options: EvaluateOptions,
    notes: Sequence[str],
    left_out: Sequence[LeftOut] = (),
) -> dict[str, Any]:
    """Return all metrics, pooled over the rasters and for each raster.

    Undefined metrics, such as the IoU of a class that does not occur, are None.
    """
    return {
        "format": FORMAT,
        "predicted": options.predicted,
        "classes": list(classes.names),
        "background": None if classes.background is None else classes.names[classes.background],
        "measured": [classes.names[label] for label in classes.chosen],
        "tolerance_px": options.tolerance,
        "max_detections": options.max_detections,
        **_figures(measured, classes),
        "rasters": [
            {
                "name": counts.subject.name,
                "labels": counts.subject.predicted.labels,
                "polygons_file": counts.subject.predicted.polygons,
                "truth": list(counts.subject.truth),
                **_figures([counts], classes),
            }
            for counts in measured
        ],
        "left_out": [raster.to_json() for raster in left_out],
        "notes": list(notes),
    }


def _figures(measured: Sequence[RasterCounts], classes: ClassList) -> dict[str, Any]:
    pixels = [counts.pixels for counts in measured if counts.pixels is not None]
    polygons = [counts for counts in measured if counts.polygons is not None]
    return {
        "pixels": pixels_json(reduce(add, pixels), classes) if pixels else None,
        "polygons": polygons_json(polygons, classes) if polygons else None,
    }


def pixels_json(counts: PixelCounts, classes: ClassList) -> dict[str, Any]:
    """Return the pixel metrics. Means are over the measured classes that occur in truth or prediction."""
    figures, boundary = pixel_figures(counts.matrix), counts.boundary
    chosen = list(classes.chosen)
    columns = {
        "iou": figures.iou,
        "precision": figures.precision,
        "recall": figures.recall,
        "f1": figures.f1,
        "boundary_f1": boundary.f1,
        "boundary_precision": boundary.precision,
        "boundary_recall": boundary.recall,
    }
    return {
        "pixels": int(counts.matrix.sum()),
        "without_truth": counts.without_truth,
        "without_prediction": counts.without_prediction,
        "accuracy": known(figures.accuracy),
        "mean_iou": known(mean_of_known(figures.iou[chosen])),
        "mean_f1": known(mean_of_known(figures.f1[chosen])),
        "mean_boundary_f1": known(mean_of_known(boundary.f1[chosen])),
        "classes": {
            classes.names[label]: {
                "pixels": int(counts.matrix[label].sum()),
                "predicted_pixels": int(counts.matrix[:, label].sum()),
                **{name: known(values[label]) for name, values in columns.items()},
            }
            for label in chosen
        },
        "confusion": counts.matrix.tolist(),
    }


def polygons_json(measured: Sequence[RasterCounts], classes: ClassList) -> dict[str, Any]:
    """Return the polygon metrics. AP and AR are means over the measured classes that have true polygons."""
    sized = all(counts.subject.in_pixels for counts in measured)
    parts = {
        label: [counts.polygons[label] for counts in measured if counts.polygons is not None]
        for label in classes.foreground
    }
    precisions = {
        label: average_precision([part.matches for part in group]) for label, group in parts.items()
    }
    matches = {
        label: sum((part.polygon_matches for part in group), PolygonMatches(0, 0, 0))
        for label, group in parts.items()
    }
    return {
        **_polygon_figures(list(precisions.values()), sum(matches.values(), PolygonMatches(0, 0, 0)), sized),
        "left_out": sum(counts.left_out for counts in measured),
        "classes": {
            classes.names[label]: _polygon_figures([precisions[label]], matches[label], sized)
            for label in parts
        },
    }


def _polygon_figures(precisions: Sequence[Precision], matches: PolygonMatches, sized: bool) -> dict[str, Any]:
    """Return the metrics of some classes together; those by size only if sizes are known in pixels."""
    figures: dict[str, Any] = {
        "ap": _mean([precision.precision[0] for precision in precisions]),
        "ap50": _mean([precision.precision[0, AP50] for precision in precisions]),
        "ap75": _mean([precision.precision[0, AP75] for precision in precisions]),
        "ar": _mean([precision.recall[0] for precision in precisions]),
    }
    for number, size in enumerate(SIZES):
        if number:
            figures[f"ap_{size}"] = (
                _mean([precision.precision[number] for precision in precisions]) if sized else None
            )
            figures[f"ar_{size}"] = (
                _mean([precision.recall[number] for precision in precisions]) if sized else None
            )
    return figures | {
        "f1": known(matches.f1),
        "precision": known(matches.precision),
        "recall": known(matches.recall),
        "true": matches.true,
        "false": matches.false,
        "missed": matches.missed,
    }


def _mean(figures: Sequence[np.ndarray]) -> float | None:
    return known(mean_of_known(np.array(figures).ravel())) if len(figures) else None


def known(figure: float) -> float | None:
    """Return a metric, or None if it is undefined (NaN)."""
    return None if math.isnan(figure) else float(figure)
