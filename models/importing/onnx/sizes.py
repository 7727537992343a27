"""Determine the sizes of all maps of an ONNX network by running it on chips of three sizes.

Exporters compute sizes in the graph itself, over dozens of nodes. These need not be followed: how a tensor's
shape changes with the chip's says everything they compute.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from terraseam.models.errors import NetworkRefusedError, NotUnderstoodError, short
from terraseam.models.importing.common.shapes import CHANNEL, SIDES
from terraseam.models.importing.onnx.watch import observe
from terraseam.models.reach.call_memory import excess_of

UNITS = (192, 64, 80, 112, 256)
"""Trial chips are multiples of these many pixels, one after the other: first of one that has many divisors."""

OTHER = {"channels_last": "channels_first", "channels_first": "channels_last"}


@dataclass(frozen=True)
class Sizes:
    """Observations from running a network on chips of three sizes.

    Attributes:
        unit: Chips were multiples of this many pixels: `chips`.
        chips: Height and width of the three chips; compared with the first, the second is higher and the third wider.
        shapes: Shape of each tensor for each chip, by name.
        values: Parameters of nodes for each chip, by name of the tensor.
        uniform: Names of tensors that do not depend on pixels and are constant, such as zeros.
    """

    unit: int
    chips: tuple[tuple[int, int], ...]
    shapes: dict[str, tuple[tuple[int, ...], ...]]
    values: dict[str, tuple[np.ndarray, ...]]
    uniform: frozenset[str]

    def sides(self, name: str) -> tuple[int, int] | None:
        """Return the axes of a tensor's rows and columns; None if it has none.

        Raises:
            NotUnderstoodError: If it only has rows, or an axis that is both.
        """
        shapes = self.shapes[name]
        rank = len(shapes[0])
        rows = [axis for axis in range(rank) if shapes[1][axis] != shapes[0][axis]]
        columns = [axis for axis in range(rank) if shapes[2][axis] != shapes[0][axis]]
        if not rows and not columns:
            return None
        if len(rows) != 1 or len(columns) != 1 or rows == columns:
            raise NotUnderstoodError(
                f"its shape {_plain(shapes[0])} does not have one axis of rows and one of columns"
            )
        return rows[0], columns[0]

    def ratios(self, name: str) -> tuple[Fraction, Fraction] | None:
        """Return rows and columns of a tensor per pixel of the chip; None if it has none."""
        sides = self.sides(name)
        if sides is None:
            return None
        first, higher, wider = self.shapes[name]
        rows, columns = sides
        return (
            Fraction(higher[rows] - first[rows], self.chips[1][0] - self.chips[0][0]),
            Fraction(wider[columns] - first[columns], self.chips[2][1] - self.chips[0][1]),
        )

    def excess(self, name: str) -> float:
        """Return a tensor's growth exponent in pixels minus 1: 0 for maps and tokens, 1 for pairs of tokens."""
        try:
            self.sides(name)
        except NotUnderstoodError:
            first, higher, wider = map(math.prod, self.shapes[name])
            (height, width), (more, _), (_, broad) = self.chips
            if not min(first, higher, wider):
                return 0.0
            return excess_of(
                math.log(higher / first) / math.log(more / height),
                math.log(wider / first) / math.log(broad / width),
            )
        return 0.0

    def stride(self) -> int:
        """Return the smallest increment of a chip's size, in pixels, at which all maps grow by whole elements."""
        denominators = [1]
        for name in self.shapes:
            try:
                denominators += [ratio.denominator for ratio in self.ratios(name) or ()]
            except NotUnderstoodError:
                continue
        return math.lcm(*denominators)

    def constant(self, name: str) -> np.ndarray:
        """Return the value of a parameter that does not depend on the size of the chip.

        Raises:
            NotUnderstoodError: If it does.
        """
        first, *others = self.values[name]
        if any(not np.array_equal(first, other) for other in others):
            raise NotUnderstoodError("what it does depends on the size of the chip")
        return first


def measure_sizes(model: Any, bands: int, layout: str, stride: int | None) -> Sizes:
    """Run a network on chips of three sizes, and check that it labels each pixel.

    Args:
        model: The network, with its sizes free.
        bands: Bands of a chip.
        layout: Layout of the input.
        stride: Stride stated by the user, or None.

    Raises:
        RefusedError: If it runs on none of the sizes tried, or its output has another size than its input.
    """
    stated = () if stride is None else (stride * math.ceil(UNITS[0] / stride),)
    problem = ""
    for unit in (*stated, *UNITS):
        chips = ((2 * unit, 3 * unit), (3 * unit, 3 * unit), (2 * unit, 4 * unit))
        try:
            inputs = [np.zeros(_chip_shape(size, bands, layout), np.float32) for size in chips]
            observed = observe(model, inputs)
        except Exception as error:
            problem = f"on chips of {chips[0][0]} x {chips[0][1]} px it fails: {short(error)}"
            continue
        output_shapes = observed.shapes[model.graph.output[0].name]
        wrong = [
            (chip, shape)
            for chip, shape in zip(chips, output_shapes, strict=True)
            if _output_size(shape, layout) != chip
        ]
        if not wrong:
            return Sizes(unit, chips, observed.shapes, observed.values, observed.uniform)
        (height, width), shape = wrong[0]
        problem = f"for a chip of {height} x {width} px it outputs {_plain(shape)}"
        if _output_size(shape, OTHER[layout]) == (height, width):
            problem += ", in another layout than its input; export it with one layout for both"
            break
    raise NetworkRefusedError(problem)


def _output_size(shape: tuple[int, ...], layout: str) -> tuple[int, ...]:
    """Return height and width of an output; label maps may lack the channel axis."""
    if len(shape) == 4:
        rows, columns = SIDES[layout]
        return shape[rows], shape[columns]
    return shape[1:3] if len(shape) == 3 else ()


def _chip_shape(size: tuple[int, int], bands: int, layout: str) -> tuple[int, ...]:
    shape = [1, *size]
    shape.insert(CHANNEL[layout], bands)
    return tuple(shape)


def _plain(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
