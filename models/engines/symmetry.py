"""Symmetries of the square, for test-time augmentation: quarter turns, with or without a flip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Symmetry:
    """A symmetry of the square.

    Attributes:
        mirrored: Whether to flip left and right first.
        quarters: Number of counterclockwise quarter turns after that, 0 to 3.
    """

    mirrored: bool
    quarters: int

    def turned(self, maps: np.ndarray) -> np.ndarray:
        """Return a transformed view of maps ``(n, height, width, channels)``; odd quarters swap height and width."""
        mirrored = maps[:, :, ::-1] if self.mirrored else maps
        return np.rot90(mirrored, self.quarters, axes=(1, 2))

    def turned_back(self, maps: np.ndarray) -> np.ndarray:
        """Return a view of transformed maps, transformed back."""
        upright = np.rot90(maps, -self.quarters, axes=(1, 2))
        return upright[:, :, ::-1] if self.mirrored else upright


SYMMETRIES = tuple(Symmetry(mirrored, quarters) for mirrored in (False, True) for quarters in range(4))
"""All eight symmetries; the first is the identity."""
