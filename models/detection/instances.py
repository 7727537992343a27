"""Instances that a detector predicts on a chip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class ChipInstance:
    """An instance that a network predicts on one chip.

    Attributes:
        row: First row of `mask` in the chip, in pixels; 0 or more.
        col: First column of `mask` in the chip, in pixels; 0 or more.
        mask: Mask of the object, bool, shape ``(height, width)``; it lies inside the chip, and its first
            and last row and column each contain a pixel of the object.
        label: Its class, an index into ``Card.classes``; never the background.
        score: Confidence of the network, above 0 and up to 1.
    """

    row: int
    col: int
    mask: np.ndarray
    label: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class ChipDetections:
    """Predictions of a network for one chip.

    Attributes:
        instances: The predicted instances, highest score first.
        full: Whether all of its output rows are used, so that instances may be missing.
    """

    instances: tuple[ChipInstance, ...]
    full: bool
