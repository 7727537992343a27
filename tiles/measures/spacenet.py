"""SpaceNet's metric of polygons: F1 of matched footprints."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from terraseam.tiles.measures.overlaps import Overlaps


@dataclass(frozen=True)
class PolygonMatches:
    """Counts of matched and unmatched polygons; those of several rasters may be added.

    Attributes:
        true: Predicted polygons that match a true one.
        false: Predicted polygons without a match.
        missed: True polygons without a match.
    """

    true: int
    false: int
    missed: int

    def __add__(self, other: PolygonMatches) -> PolygonMatches:
        """Add two counts."""
        return PolygonMatches(self.true + other.true, self.false + other.false, self.missed + other.missed)

    @cached_property
    def precision(self) -> float:
        """Share of the predicted polygons that are true; NaN where there are none."""
        return self._share(self.true, self.true + self.false)

    @cached_property
    def recall(self) -> float:
        """Share of the true polygons that were predicted; NaN where there are none."""
        return self._share(self.true, self.true + self.missed)

    @cached_property
    def f1(self) -> float:
        """Harmonic mean of both; NaN where there are no polygons at all."""
        return self._share(2 * self.true, 2 * self.true + self.false + self.missed)

    @staticmethod
    def _share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")


def find(pairs: Overlaps, scores: np.ndarray) -> PolygonMatches:
    """Count the matched and unmatched polygons of one class on one raster.

    In descending order of score (ties in their given order), each prediction takes the unmatched true polygon with
    the highest IoU of at least 0.5; of equal IoU the first. Predictions without one count as false, unless half or
    more of their area lies in an ignored region. This is the rule of the `SpaceNet challenges
    <https://arxiv.org/abs/1807.01232>`_.

    Args:
        pairs: Pairs whose IoU is 0.5 or more.
        scores: Score of each predicted polygon.
    """
    rank = np.empty(len(scores), np.int64)
    rank[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    matched, taken = set[int](), set[int]()
    real = ~pairs.ignored[pairs.truth]
    order = np.lexsort((pairs.truth, -pairs.iou, rank[pairs.predicted]))
    order = order[real[order]]
    for prediction, target in zip(pairs.predicted[order].tolist(), pairs.truth[order].tolist(), strict=True):
        if prediction not in matched and target not in taken:
            matched.add(prediction)
            taken.add(target)
    ignored = set(pairs.predicted[~real].tolist()) - matched
    false = len(scores) - len(taken) - len(ignored)
    return PolygonMatches(len(taken), false, int(np.count_nonzero(~pairs.ignored)) - len(taken))
