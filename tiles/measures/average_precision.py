"""Average precision of polygons as COCO defines it: equal to pycocotools, from geometry instead of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.measures.overlaps import Overlaps

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""IoU thresholds at which a prediction is a hit."""
RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is sampled."""
SIZES = {
    "all": (0.0, np.inf),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, np.inf),
}
"""Ranges of area in square pixels, both ends included. COCO ends `all` and `large` at 1e10."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Matches of the predictions of one class on one raster.

    Attributes:
        scores: Scores in descending order, float64 ``(predictions,)``.
        hit: Whether each prediction is matched, bool ``(sizes, thresholds, predictions)``.
        ignored: Whether it counts neither for nor against, same shape.
        truths: Number of true polygons of each size, int64 ``(sizes,)``.
    """

    scores: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    truths: np.ndarray


def match(pairs: Overlaps, scores: np.ndarray, most: int | None = None) -> Matches:
    """Match the predictions of one class on one raster with its true polygons.

    In descending order of score (ties in their given order), each prediction takes the unmatched true polygon with
    the highest IoU. True polygons of another size are ignored: only predictions with no other match take them, and
    are ignored as well; so are unmatched predictions of another size. Ignored regions are matched in the same way, by
    any number of predictions.

    Args:
        pairs: Pairs whose IoU is 0.5 or more.
        scores: Score of each predicted polygon.
        most: Number of highest-scoring predictions that count; None for all.
    """
    order = np.argsort(-scores, kind="stable")[:most]
    ends = np.searchsorted(pairs.predicted, np.arange(len(scores) + 1))
    sizes = np.array(list(SIZES.values()))
    outside = (pairs.truth_areas < sizes[:, :1]) | (pairs.truth_areas > sizes[:, 1:]) | pairs.ignored
    hit, ignored = _take(order, ends, pairs.truth, pairs.iou, outside, pairs.ignored)
    areas = pairs.predicted_areas[order]
    other_size = (areas < sizes[:, :1]) | (areas > sizes[:, 1:])
    ignored |= ~hit & other_size[:, None]
    return Matches(scores[order], hit, ignored, np.count_nonzero(~outside, axis=1))


@njit(cache=True, nogil=True)
def _take(order, ends, truth, iou, outside, regions):  # type: ignore[no-untyped-def]
    """Match each prediction with a true polygon, for each size and threshold.

    Args:
        order: Indices of the predictions in descending order of score.
        ends: First pair of each prediction, and the end of the last one.
        truth: True polygon of each pair.
        iou: IoU of each pair.
        outside: Whether each true polygon is of another size or an ignored region, bool ``(sizes, truths)``.
        regions: Whether each is an ignored region, bool ``(truths,)``.

    Returns:
        Hit and ignored, bool ``(sizes, thresholds, predictions)``.
    """
    shape = (outside.shape[0], len(THRESHOLDS), len(order))
    hit, ignored = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for size in range(shape[0]):
        for level in range(shape[1]):
            taken = np.zeros(outside.shape[1], np.bool_)
            for place in range(shape[2]):
                best, best_iou = -1, min(THRESHOLDS[level], 1 - 1e-10)
                for other in (False, True):
                    if best >= 0:
                        break
                    for pair in range(ends[order[place]], ends[order[place] + 1]):
                        polygon = truth[pair]
                        # Ties in IoU go to the later polygon, as in pycocotools.
                        if outside[size, polygon] == other and not taken[polygon] and iou[pair] >= best_iou:
                            best, best_iou = polygon, iou[pair]
                if best >= 0:
                    taken[best] = not regions[best]
                    hit[size, level, place] = True
                    ignored[size, level, place] = outside[size, best]
    return hit, ignored


@dataclass(frozen=True, slots=True, eq=False)
class Precision:
    """Average precision and recall of one class over rasters.

    Attributes:
        precision: Mean of the precision at 101 recalls, float64 ``(sizes, thresholds)``; NaN without truth.
        recall: Share of the true polygons that were matched; NaN without truth.
    """

    precision: np.ndarray
    recall: np.ndarray


def average_precision(matches: Sequence[Matches]) -> Precision:
    """Compute the average precision of one class over all rasters from the matches of each."""
    shape = (len(SIZES), len(THRESHOLDS))
    precision, recall = np.full(shape, np.nan), np.full(shape, np.nan)
    truths = np.stack([raster_matches.truths for raster_matches in matches]).sum(axis=0).tolist()
    order = np.argsort(-np.concatenate([raster_matches.scores for raster_matches in matches]), kind="stable")
    hit = np.concatenate([raster_matches.hit for raster_matches in matches], axis=2)
    ignored = np.concatenate([raster_matches.ignored for raster_matches in matches], axis=2)
    for size, level in np.ndindex(shape):
        if truths[size]:
            counted = ~ignored[size, level, order]
            right = hit[size, level, order][counted]
            precision[size, level] = _mean_precision(right, truths[size])
            recall[size, level] = np.count_nonzero(right) / truths[size]
    return Precision(precision, recall)


def _mean_precision(right: np.ndarray, truths: int) -> float:
    """Average over `RECALLS` the best precision at that recall or a higher one; 0 where it is not reached.

    Args:
        right: Whether each prediction is a hit, in descending order of score.
        truths: Number of true polygons, 1 or more.
    """
    if not right.size:
        return 0.0
    hits = np.cumsum(right)
    # pycocotools adds the same epsilon to the divisor, which keeps both equal to the last digit.
    precision = hits / (np.arange(1, len(right) + 1) + np.spacing(1))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / truths, RECALLS)
    return float(np.append(envelope, 0.0)[places].mean())
