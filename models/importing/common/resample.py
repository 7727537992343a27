"""Resizing along one axis, in the modes of ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from terraseam.models.errors import NotUnderstoodError
from terraseam.models.reach.axis import Axis

HALF = Fraction(1, 2)

COORDINATES: dict[str, Callable[[int, Fraction], Fraction]] = {
    "half_pixel": lambda element, scale: (element + HALF) / scale - HALF,
    "pytorch_half_pixel": lambda element, scale: (element + HALF) / scale - HALF,
    "half_pixel_symmetric": lambda element, scale: (element + HALF) / scale - HALF,
    "tf_half_pixel_for_nn": lambda element, scale: (element + HALF) / scale,
    "asymmetric": lambda element, scale: element / scale,
}
"""Position in the input of an output element."""

NEAREST: dict[str, Callable[[Fraction], int]] = {
    "round_prefer_floor": lambda place: math.ceil(place - HALF),
    "round_prefer_ceil": lambda place: math.floor(place + HALF),
    "floor": math.floor,
    "ceil": math.ceil,
}

AROUND = {"linear": (0, 1), "cubic": (-1, 2)}
"""First and last input element read, relative to the one before the position."""


@dataclass(frozen=True)
class Resample:
    """Resizing by a factor: element ``i`` reads the input elements around its position.

    Attributes:
        scale: Output elements per input element.
        place: A key of `COORDINATES`.
        how: ``linear``, ``cubic``, or a key of `NEAREST`.
    """

    scale: Fraction
    place: str
    how: str

    @property
    def ratio(self) -> Fraction:
        """Output elements per input element."""
        return self.scale

    def apply(self, axis: Axis) -> Axis:
        """Return the axis of the resized map."""
        period = axis.period * self.scale
        if period.denominator != 1:
            raise NotUnderstoodError(f"it makes {period} elements from every {axis.stride} px")
        taps = np.array([self._taps(element) for element in range(int(period))])
        return axis.gather(taps, math.floor(axis.surplus * self.scale))

    def _taps(self, element: int) -> list[int]:
        """Return the first and last input element read."""
        place = COORDINATES[self.place](element, self.scale)
        if self.how in NEAREST:
            return [NEAREST[self.how](place)] * 2
        before = math.floor(place)
        if place == before:
            return [before] * 2
        first, last = AROUND[self.how]
        return [before + first, before + last]
