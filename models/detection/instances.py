"""What a detector finds on a chip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class ChipInstance:
    """One thing that a network found on one chip.

    Attributes:
        row: First row of `mask` in the chip, in pixels; 0 or more.
        col: First column of `mask` in the chip, in pixels; 0 or more.
        mask: The pixels of the thing, bool, shape ``(height, width)``; it lies inside the chip, and its first
            and last row and column each have a pixel of the thing.
        label: Its class, as a place in ``Card.classes``; never the background.
        score: How sure the network is, above 0 and up to 1.
    """

    row: int
    col: int
    mask: np.ndarray
    label: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class ChipAnswer:
    """What a network says of one chip.

    Attributes:
        instances: The things that it found, the surest first.
        full: Whether it had no room for more: every one of its rows is taken, and things may be missing.
    """

    instances: tuple[ChipInstance, ...]
    full: bool
