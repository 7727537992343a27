"""The eight symmetries of the square: quarter turns, each with or without a mirror."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Symmetry:
    """One way of laying a square onto itself.

    Attributes:
        mirrored: Whether left and right are swapped first.
        quarters: Quarter turns against the clock that follow, 0 to 3.
    """

    mirrored: bool
    quarters: int

    def turned(self, maps: np.ndarray) -> np.ndarray:
        """Return a view of maps ``(n, height, width, channels)`` turned; height and width swap for odd quarters."""
        mirrored = maps[:, :, ::-1] if self.mirrored else maps
        return np.rot90(mirrored, self.quarters, axes=(1, 2))

    def turned_back(self, maps: np.ndarray) -> np.ndarray:
        """Return a view of turned maps as they were."""
        upright = np.rot90(maps, -self.quarters, axes=(1, 2))
        return upright[:, :, ::-1] if self.mirrored else upright


SYMMETRIES = tuple(Symmetry(mirrored, quarters) for mirrored in (False, True) for quarters in range(4))
"""All eight; the first changes nothing."""
