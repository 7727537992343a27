"""Effect of slicing and reshaping on rows and columns of ONNX tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from terraseam.models.errors import NotUnderstoodError
from terraseam.models.importing.onnx.node import Node
from terraseam.models.reach.axis import Enlarge, Frame, Rule, Slide

Rules = tuple[Sequence[Rule], Sequence[Rule]]


def slicing(node: Node) -> Rules:
    """Return the cropping and step of a Slice along rows and columns.

    Raises:
        NotUnderstoodError: If it reverses them, or cuts at a position that depends on the size of the chip.
    """
    cuts = [_cuts(node, number) for number in range(len(node.sizes.chips))]
    rows, columns = (_rules_of_cuts([cut.get(side, (0, 0, 1)) for cut in cuts]) for side in node.sides())
    return rows, columns


def _rules_of_cuts(cuts: list[tuple[int, int, int]]) -> list[Rule]:
    before, after, step = cuts[0]
    if any(other != cuts[0] for other in cuts[1:]) or step < 1:
        raise NotUnderstoodError("it slices at an index that depends on the size of the chip, or backwards")
    return [Frame(-before, -after), Slide(1, step)] if step > 1 else [Frame(-before, -after)]


def _cuts(node: Node, number: int) -> dict[int, tuple[int, int, int]]:
    """Return the elements cut off before and after, and the step, by axis, for one chip size."""
    shape = node.sizes.shapes[node.input][number]
    starts, ends = (_value(node, name, place, number) for place, name in ((1, "starts"), (2, "ends")))
    if starts is None or ends is None:
        raise NotUnderstoodError("it does not say where it slices")
    axes = _value(node, "axes", 3, number)
    steps = _value(node, "steps", 4, number)
    axes = np.arange(len(starts)) if axes is None else np.atleast_1d(axes)
    steps = np.ones(len(starts), np.int64) if steps is None else np.atleast_1d(steps)
    cuts = {}
    for axis, start, end, step in zip(node.axes(axes), starts, ends, steps, strict=True):
        size = shape[axis]
        first, last = (int(place + size if place < 0 else place) for place in (int(start), int(end)))
        first, last = min(max(first, 0), size), min(max(last, 0), size)
        cuts[axis] = (first, size - last, int(step))
    return cuts


def _value(node: Node, name: str, place: int, number: int) -> np.ndarray | None:
    """Return an attribute (older files) or the value of an input for one chip size."""
    if name in node.attributes:
        return np.asarray(node.attributes[name])
    if place >= len(node.inputs) or not node.inputs[place]:
        return None
    if node.inputs[place] in node.pixels:
        raise NotUnderstoodError("where it slices depends on the pixels")
    return np.atleast_1d(node.sizes.values[node.inputs[place]][number])


def reshape(node: Node) -> Rules:
    """Return the rules of a reshape that splits rows and columns into blocks, or merges blocks into them.

    Raises:
        NotUnderstoodError: If elements do not keep their order along rows and columns.
    """
    map_axes = node.sizes.sides(node.output)
    if map_axes is None:
        raise NotUnderstoodError("it makes one axis of rows, columns or channels")
    blocks = [
        _blocks(_parts(node.sizes.shapes[node.input][number], node.sides()),
                _parts(node.sizes.shapes[node.output][number], map_axes))
        for number in range(len(node.sizes.chips))
    ]  # fmt: skip
    if any(other != blocks[0] for other in blocks):
        raise NotUnderstoodError("how it folds rows or columns depends on the size of the chip")
    rows, columns = blocks[0]
    return _fold(*rows), _fold(*columns)


def _parts(shape: Sequence[int], sides: tuple[int, int]) -> tuple[int, int, int, int, int]:
    """Return the elements before the rows, rows, elements between, columns, elements after."""
    rows, columns = sides
    if rows > columns:
        raise NotUnderstoodError("its columns stand before its rows")
    return (
        math.prod(shape[:rows]),
        shape[rows],
        math.prod(shape[rows + 1 : columns]),
        shape[columns],
        math.prod(shape[columns + 1 :]),
    )


def _blocks(
    input_sizes: Sequence[int], output_sizes: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return the factors by which rows grow from, and shrink into, the elements after them; the same for columns."""
    before, rows, between, columns, behind = input_sizes
    out_before, out_rows, out_between, out_columns, out_behind = output_sizes
    if before != out_before or rows * between != out_rows * out_between:
        raise NotUnderstoodError("it mixes rows with the axes before them")
    if columns * behind != out_columns * out_behind:
        raise NotUnderstoodError("it mixes rows with columns")
    return _factor(rows, out_rows), _factor(columns, out_columns)


def _factor(input_size: int, output_size: int) -> tuple[int, int]:
    """Return the integer factors by which elements grow and shrink in number."""
    if output_size % input_size and input_size % output_size:
        raise NotUnderstoodError("it folds rows or columns by a factor that is not a whole number")
    return max(output_size // input_size, 1), max(input_size // output_size, 1)


def _fold(grown: int, shrunk: int) -> list[Rule]:
    if shrunk > 1:
        return [Slide(shrunk, shrunk)]
    return [Enlarge(grown)] if grown > 1 else []
