"""Count pixels by label in bounded memory, however many labels there are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terraseam.tiles.labels.label_codes import NOTHING, CodedLabels

MOST_LISTED = 1000
"""Most labels that are counted individually; if a raster has more, only their sum is kept."""


@dataclass(frozen=True)
class LabelCounts:
    """The number of pixels of each label.

    A sum of counts lists labels if all together have no more than `MOST_LISTED`, in whatever order they are added.

    Attributes:
        measured: Pixels with a label.
        nothing: Pixels without a label.
        by_label: Pixels of each label that occurs; None if there are more than `MOST_LISTED`.
    """

    measured: int
    nothing: int
    by_label: dict[int, int] | None

    @staticmethod
    def of(labels: CodedLabels) -> LabelCounts:
        """Count the pixels of a label map."""
        counts = labels.counts()
        known = (counts > 0) & (labels.table != NOTHING)
        measured = int(counts[known].sum())
        listed = dict(zip(labels.table[known].tolist(), counts[known].tolist(), strict=True))
        return LabelCounts(
            measured, labels.codes.size - measured, listed if len(listed) <= MOST_LISTED else None
        )

    @staticmethod
    def sum(tallies: Iterable[LabelCounts]) -> LabelCounts:
        """Add several counts."""
        measured = nothing = 0
        listed: dict[int, int] | None = {}
        for counts in tallies:
            measured, nothing = measured + counts.measured, nothing + counts.nothing
            if listed is None or counts.by_label is None:
                listed = None
                continue
            for label, pixels in counts.by_label.items():
                listed[label] = listed.get(label, 0) + pixels
            listed = listed if len(listed) <= MOST_LISTED else None
        return LabelCounts(measured, nothing, listed)
