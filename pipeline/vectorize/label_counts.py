"""Pixels by label, in memory that labels without end cannot fill."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.labels.label_codes import NOTHING, CodedLabels

MOST_LISTED = 1000
"""Labels that are listed one by one; where a raster has more, only their sum is kept."""


@dataclass(frozen=True)
class LabelCounts:
    """How many pixels have which label.

    The sum of tallies lists labels if all of them together have no more than `MOST_LISTED`: whatever was counted first.

    Attributes:
        measured: Pixels with a label.
        nothing: Pixels without.
        by_label: Pixels of each label that occurs; None where there are more than `MOST_LISTED`.
    """

    measured: int
    nothing: int
    by_label: dict[int, int] | None

    @staticmethod
    def of(labels: CodedLabels) -> LabelCounts:
        """Count the pixels of a label map."""
        counts = np.bincount(labels.codes.ravel(), minlength=len(labels.table))
        known = (counts > 0) & (labels.table != NOTHING)
        measured = int(counts[known].sum())
        listed = dict(zip(labels.table[known].tolist(), counts[known].tolist(), strict=True))
        return LabelCounts(
            measured, labels.codes.size - measured, listed if len(listed) <= MOST_LISTED else None
        )

    @staticmethod
    def sum(tallies: Iterable[LabelCounts]) -> LabelCounts:
        """All pixels of several tallies."""
        measured = nothing = 0
        listed: dict[int, int] | None = {}
        for tally in tallies:
            measured, nothing = measured + tally.measured, nothing + tally.nothing
            if listed is None or tally.by_label is None:
                listed = None
                continue
            for label, pixels in tally.by_label.items():
                listed[label] = listed.get(label, 0) + pixels
            listed = listed if len(listed) <= MOST_LISTED else None
        return LabelCounts(measured, nothing, listed)
