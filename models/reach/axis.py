"""Track which input pixels each element of a feature map depends on, along one axis.

Feature maps repeat with the network's stride ``S``: if the chip has ``S * k`` pixels, a map has
``P * k + b`` elements, and element ``i + P`` depends on the same pixels as element ``i``, shifted by ``S``. So the
dependencies of ``P`` elements describe all of them, and layers are index arithmetic on arrays of that length.

Indices are counted from one origin, whatever the chip: in a chip that starts at pixel ``S * m``, the first
element of a map is element ``P * m``. An element has its true value if everything it depends on lies in the chip.
Beyond the border of a map, layers invent values (zeros, repeated edges, smaller divisors), so an element that
is read must also lie within its map. That requires a chip that begins early and ends late enough, which counts
as part of the receptive field.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np

EVERYWHERE = 1 << 40


@dataclass(frozen=True)
class Axis:
    """One axis of a feature map.

    Attributes:
        stride: Input pixels after which the map repeats itself, ``S``.
        surplus: Elements of the map beyond ``P * k`` for ``S * k`` input pixels, ``b``; often negative.
        low: First input pixel that elements ``0 .. P-1`` depend on; ``-EVERYWHERE`` if they depend on all of them.
        high: Last input pixel they depend on; ``EVERYWHERE`` if they depend on all of them.
    """

    stride: int
    surplus: int
    low: np.ndarray
    high: np.ndarray

    @property
    def period(self) -> int:
        """Elements per `stride` input pixels, ``P``."""
        return len(self.low)

    @classmethod
    def of_input(cls, stride: int) -> Axis:
        """Return the axis of the chip itself, where each pixel depends on itself."""
        pixels = np.arange(stride, dtype=np.int64)
        return cls(stride, 0, pixels, pixels)

    def blurred(self) -> Axis:
        """Return an axis of the same size whose elements all depend on the whole chip."""
        return Axis(
            self.stride,
            self.surplus,
            np.full_like(self.low, -EVERYWHERE),
            np.full_like(self.high, EVERYWHERE),
        )

    def receptive_field(self, elements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and last input pixel required to read the elements with the given indices."""
        begins, phases = np.divmod(elements, self.period)
        ends = (elements - self.surplus) // self.period
        low = np.minimum(self.low[phases], self.stride - 1) + begins * self.stride
        high = np.maximum(self.high[phases] + begins * self.stride, ends * self.stride)
        return low, high

    def gather(self, taps: np.ndarray, surplus: int) -> Axis:
        """Return the axis of a map whose element ``i`` reads the elements ``taps[i]`` of this one.

        Args:
            taps: Indices read by the elements of one period, shape ``(period, taps)``; masked where nothing is read.
            surplus: Surplus of the new map.
        """
        low, high = self.receptive_field(np.ma.getdata(taps))
        unread = np.ma.getmaskarray(taps)
        return Axis(
            self.stride,
            surplus,
            np.where(unread, EVERYWHERE, low).min(axis=1, initial=EVERYWHERE),
            np.where(unread, -EVERYWHERE, high).max(axis=1, initial=-EVERYWHERE),
        )

    def merge(self, other: Axis) -> Axis:
        """Return the axis of a map whose element ``i`` reads element ``i`` of both."""
        return Axis(
            self.stride, self.surplus, np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        )

    def through(self, rule: Rule) -> Axis:
        """Return the axis of this one's output under a layer with `rule`."""
        return rule.apply(self)

    def size(self) -> str:
        """Return the number of elements as a formula, for chips of `stride` times ``k`` pixels."""
        return f"{self.period}*k{self.surplus:+d}" if self.surplus else f"{self.period}*k"

    def reach(self) -> tuple[int, int] | None:
        """Return the pixels needed before and after a core; None if elements depend on the whole chip.

        A core begins and ends on multiples of the stride.
        """
        low, high = self.receptive_field(np.arange(self.period))
        first, last = int(low.min()), int(high.max())
        if first < -EVERYWHERE // 2 or last > EVERYWHERE // 2:
            return None
        return max(0, -first), max(0, last - (self.stride - 1))


class Rule(Protocol):
    """Effect of a layer along one axis."""

    @property
    def ratio(self) -> Fraction:
        """Output elements per input element, on long axes."""

    def apply(self, axis: Axis) -> Axis:
        """Return the axis of the layer's output for an input with `axis`."""


@dataclass(frozen=True)
class Slide:
    """A kernel that slides over the map: convolution and pooling."""

    kernel: int
    step: int = 1
    dilation: int = 1
    same: bool = False

    @property
    def ratio(self) -> Fraction:
        """Output elements per input element."""
        return Fraction(1, self.step)

    def apply(self, axis: Axis) -> Axis:
        """Return the axis of the kernel's output; ``same`` padding follows TensorFlow."""
        span = (self.kernel - 1) * self.dilation + 1
        if self.same:
            surplus = -(-axis.surplus // self.step)
            before = max((surplus - 1) * self.step + span - axis.surplus, 0) // 2
        else:
            surplus = (axis.surplus - span) // self.step + 1
            before = 0
        starts = np.arange(axis.period // self.step) * self.step - before
        return axis.gather(starts[:, None] + np.arange(self.kernel) * self.dilation, surplus)


@dataclass(frozen=True)
class Spread:
    """A kernel that spreads every element over the output: transposed convolution."""

    kernel: int
    step: int = 1
    dilation: int = 1
    same: bool = False
    extra: int | None = None

    @property
    def ratio(self) -> Fraction:
        """Output elements per input element."""
        return Fraction(self.step)

    def apply(self, axis: Axis) -> Axis:
        """Return the axis of the output: element ``j`` adds to ``j * step - before + tap * dilation``."""
        span = (self.kernel - 1) * self.dilation + 1
        growth = self._growth(span)
        before = max(span - self.step - growth, 0) // 2 if self.same else 0
        positions = np.arange(axis.period * self.step)
        offsets = positions[:, None] + before - np.arange(self.kernel) * self.dilation
        taps = np.ma.masked_array(offsets // self.step, mask=offsets % self.step != 0)
        return axis.gather(taps, axis.surplus * self.step + growth)

    def _growth(self, span: int) -> int:
        """Return the number of output elements beyond `step` times those read."""
        if self.same:
            return 0 if self.extra is None else span % 2 + self.extra - self.step
        extra = max(self.step - span, 0) if self.extra is None else self.extra
        return span + extra - self.step


@dataclass(frozen=True)
class Enlarge:
    """Upsampling by an integer factor, nearest or bilinear (half-pixel centres)."""

    factor: int
    bilinear: bool = False

    @property
    def ratio(self) -> Fraction:
        """Output elements per input element."""
        return Fraction(self.factor)

    def apply(self, axis: Axis) -> Axis:
        """Return the axis of the upsampled map."""
        positions = np.arange(axis.period * self.factor)
        taps = positions[:, None] // self.factor
        if self.bilinear:
            doubled = 2 * positions + 1 - self.factor
            taps = np.stack([doubled // (2 * self.factor), -(-doubled // (2 * self.factor))], axis=1)
        return axis.gather(taps, axis.surplus * self.factor)


@dataclass(frozen=True)
class Frame:
    """Elements added (or, if negative, cut off) at both ends: zero padding and cropping."""

    before: int
    after: int

    @property
    def ratio(self) -> Fraction:
        """Output elements per input element."""
        return Fraction(1)

    def apply(self, axis: Axis) -> Axis:
        """Return the axis of the padded or cropped map."""
        taps = np.arange(axis.period)[:, None] - self.before
        return axis.gather(taps, axis.surplus + self.before + self.after)
