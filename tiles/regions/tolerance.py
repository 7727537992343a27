"""Tolerance of line simplification."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest distance of a vertex from the line that replaces it.

    Attributes:
        metres: The distance, in metres on the ground.
        ground: Metres on the ground ``(right, up)`` for a step of one column, and for one of one row.
    """

    metres: float
    ground: tuple[tuple[float, float], tuple[float, float]]

    def __post_init__(self) -> None:
        if not self.metres > 0:
            raise ValueError(f"the tolerance must be more than 0 m, got {self.metres}")

    @property
    def pixels(self) -> int:
        """Largest number of columns or rows that the tolerance spans, rounded up."""
        (a, b), (c, d) = self.ground
        longest = max(math.hypot(a, b), math.hypot(c, d))
        return math.ceil(self.metres * longest / abs(a * d - b * c))

    @property
    def reach(self) -> int:
        """Largest distance from a ring of the corners that affect its lines, in columns or rows."""
        return 2 * self.pixels
