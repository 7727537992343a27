"""A node of an ONNX graph, with what is known about its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from terraseam.models.errors import NotUnderstoodError
from terraseam.models.importing.onnx.file import import_onnx
from terraseam.models.importing.onnx.sizes import Sizes


@dataclass(frozen=True)
class Node:
    """A node of an ONNX graph.

    Attributes:
        op: Its operator.
        name: Its name, or that of its first output.
        inputs: Names of its input tensors; empty where one is omitted.
        outputs: Names of its output tensors.
        attributes: Its attributes as Python values, with texts as str.
        opset: Operator set version.
        sizes: The sizes of all tensors.
        pixels: Names of the tensors that depend on the pixels of the chip.
    """

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    opset: int
    sizes: Sizes
    pixels: frozenset[str]

    @property
    def input(self) -> str:
        """Name of its first input."""
        return self.inputs[0]

    @property
    def output(self) -> str:
        """Name of its first output."""
        return self.outputs[0]

    @property
    def rank(self) -> int:
        """Number of axes of its first input."""
        return len(self.sizes.shapes[self.input][0])

    def attribute(self, name: str, default: Any) -> Any:
        """Return an attribute, or its default if it is omitted."""
        return self.attributes.get(name, default)

    def parameter(self, place: int) -> np.ndarray | None:
        """Return an input that configures the node; None if it is omitted.

        Raises:
            NotUnderstoodError: If it depends on pixels, or on the size of the chip.
        """
        if place >= len(self.inputs) or not self.inputs[place]:
            return None
        if self.inputs[place] in self.pixels:
            raise NotUnderstoodError("what it does depends on the pixels")
        return self.sizes.constant(self.inputs[place])

    def axes(self, stated: Any) -> list[int]:
        """Return axes as non-negative numbers."""
        return [int(axis) % self.rank for axis in np.atleast_1d(stated)]

    def sides(self) -> tuple[int, int]:
        """Return the axes of rows and columns of its input.

        Raises:
            NotUnderstoodError: If it has none.
        """
        sides = self.sizes.sides(self.input)
        if sides is None:
            raise NotUnderstoodError("its input has no rows and columns")
        return sides

    def spatial_last(self) -> None:
        """Check that rows and columns are the last two axes, over which ONNX slides kernels.

        Raises:
            NotUnderstoodError: If they are not; rows and columns may be in either order.
        """
        if self.rank != 4 or set(self.sides()) != {2, 3}:
            raise NotUnderstoodError("it does not slide over rows and columns")

    def by_side(self, values: Any) -> tuple[Any, Any]:
        """Return values for axes 2 and 3 in the order of rows and columns."""
        rows, columns = self.sides()
        return values[rows - 2], values[columns - 2]


def read_node(proto: Any, opset: int, sizes: Sizes, pixels: frozenset[str]) -> Node:
    """Read a node of an ONNX graph."""
    onnx, _ = import_onnx()
    attributes = {item.name: _plain(onnx.helper.get_attribute_value(item)) for item in proto.attribute}
    return Node(
        op=proto.op_type,
        name=proto.name or proto.output[0],
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=attributes,
        opset=opset,
        sizes=sizes,
        pixels=pixels,
    )


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
