"""Find overlapping polygons and their IoU."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely

AT_ONCE = 4096
"""Number of predicted polygons whose overlaps are computed at once; it bounds memory and does not affect results."""
_CERTAIN = 1 - 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Overlaps:
    """Pairs of a predicted and a true polygon, sorted by both.

    Attributes:
        predicted: Index of the predicted polygon, int64 ``(pairs,)``.
        truth: Index of the true one.
        iou: Intersection over union of their areas, float64; with an ignored region, the share of the predicted
            polygon that lies in it.
        predicted_areas: Area of every predicted polygon, in square units of the coordinates.
        truth_areas: Area of every true one.
        ignored: Whether each true polygon is a region in which predictions count neither for nor against, bool.
    """

    predicted: np.ndarray
    truth: np.ndarray
    iou: np.ndarray
    predicted_areas: np.ndarray
    truth_areas: np.ndarray
    ignored: np.ndarray


def overlaps(
    predicted: np.ndarray, truth: np.ndarray, least: float = 0.5, ignored: np.ndarray | None = None
) -> Overlaps:
    """Find the pairs of polygons whose IoU reaches `least`.

    Areas are those of the geometry, not of pixels, so results do not depend on a grid.

    Args:
        predicted: Valid polygons, object ``(n,)``, in one plane with `truth`.
        truth: Valid polygons, object ``(m,)``.
        least: Minimum IoU of the pairs, above 0.
        ignored: Whether each true polygon is an ignored region, bool ``(m,)``, such as COCO's crowds; None for none.
    """
    regions = np.zeros(len(truth), bool) if ignored is None else ignored
    areas, true_areas = shapely.area(predicted), shapely.area(truth)
    tree = shapely.STRtree(truth)
    parts = [
        _some(predicted, truth, (start, min(start + AT_ONCE, len(predicted))), (tree, regions), least)
        for start in range(0, len(predicted), AT_ONCE)
    ]
    first, second, iou = (
        np.concatenate([part[i] for part in parts]) if parts else np.empty(0, kind)
        for i, kind in enumerate((np.int64, np.int64, np.float64))
    )
    order = np.lexsort((second, first))
    return Overlaps(first[order], second[order], iou[order], areas, true_areas, regions)


def _some(
    predicted: np.ndarray,
    truth: np.ndarray,
    numbers: tuple[int, int],
    indexed: tuple[shapely.STRtree, np.ndarray],
    least: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find pairs for a range of predicted polygons, from a tree of the true ones and whether each is ignored."""
    tree, ignored = indexed
    first, second = tree.query(predicted[slice(*numbers)])
    first = first + numbers[0]
    candidates, true_polygons = predicted[first], truth[second]
    areas, true_areas = shapely.area(candidates), shapely.area(true_polygons)
    # Polygons overlap no more than their bounding boxes do, so most pairs need no intersection.
    shared = np.minimum(_shared_boxes(candidates, true_polygons), np.minimum(areas, true_areas))
    likely = shared >= least * np.where(ignored[second], areas, np.maximum(areas, true_areas)) * _CERTAIN
    first, second, areas, true_areas = first[likely], second[likely], areas[likely], true_areas[likely]
    common = shapely.area(shapely.intersection(candidates[likely], true_polygons[likely]))
    with np.errstate(invalid="ignore", divide="ignore"):
        iou = common / np.where(ignored[second], areas, areas + true_areas - common)
    enough = iou >= least
    return first[enough].astype(np.int64), second[enough].astype(np.int64), iou[enough]


def _shared_boxes(some: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Compute the overlap areas of the bounding boxes of pairs."""
    a, b = shapely.bounds(some).reshape(-1, 4), shapely.bounds(others).reshape(-1, 4)
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.asarray(sides.clip(0).prod(axis=1))
