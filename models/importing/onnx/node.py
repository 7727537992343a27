"""One node of an ONNX graph, with what is known of the tensors that it reads and makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from terraseam.models.errors import NotUnderstoodError
from terraseam.models.importing.onnx.file import import_onnx
from terraseam.models.importing.onnx.sizes import Sizes


@dataclass(frozen=True)
class Node:
    """One node of an ONNX graph.

    Attributes:
        op: Its operator.
        name: Its name, or that of what it makes.
        inputs: Names of the tensors that it reads; empty where one is left out.
        outputs: Names of the tensors that it makes.
        attributes: Its attributes as Python has them, texts as str.
        opset: Version of the operators.
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
    def read(self) -> str:
        """The first tensor that it reads."""
        return self.inputs[0]

    @property
    def made(self) -> str:
        """The first tensor that it makes."""
        return self.outputs[0]

    @property
    def rank(self) -> int:
        """Axes of the first tensor that it reads."""
        return len(self.sizes.shapes[self.read][0])

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute, or what it is where it is left out."""
        return self.attributes.get(name, default)

    def parameter(self, place: int) -> np.ndarray | None:
        """An input that says what the node does; None where it is left out.

        Raises:
            NotUnderstoodError: If it depends on pixels, or on the size of the chip.
        """
        if place >= len(self.inputs) or not self.inputs[place]:
            return None
        if self.inputs[place] in self.pixels:
            raise NotUnderstoodError("what it does depends on the pixels")
        return self.sizes.constant(self.inputs[place])

    def axes(self, stated: Any) -> list[int]:
        """Axes, counted from the front."""
        return [int(axis) % self.rank for axis in np.atleast_1d(stated)]

    def sides(self) -> tuple[int, int]:
        """Axes of rows and columns of what it reads.

        Raises:
            NotUnderstoodError: If it has none.
        """
        found = self.sizes.sides(self.read)
        if found is None:
            raise NotUnderstoodError("what it reads has no rows and columns")
        return found

    def spatial_last(self) -> None:
        """Check that rows and columns are its last two axes, where ONNX slides kernels.

        Raises:
            NotUnderstoodError: If they are not; rows and columns may stand in either order.
        """
        if self.rank != 4 or set(self.sides()) != {2, 3}:
            raise NotUnderstoodError("it does not slide over rows and columns")

    def by_side(self, values: Any) -> tuple[Any, Any]:
        """Values for axes 2 and 3 as values for rows and columns."""
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
