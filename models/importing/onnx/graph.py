"""Derive the receptive field of an ONNX network from its graph."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from terraseam.models.errors import NotUnderstoodError
from terraseam.models.importing.common.foreign import GraphFacts
from terraseam.models.importing.onnx.file import inputs_of
from terraseam.models.importing.onnx.node import Node, read_node
from terraseam.models.importing.onnx.rules import Effect, effect_of
from terraseam.models.importing.onnx.sizes import Sizes
from terraseam.models.importing.onnx.watch import pixel_tensors
from terraseam.models.reach.axis import EVERYWHERE, Axis
from terraseam.models.reach.reach import Reach

Extents = tuple[Axis, Axis]


def read_reach(model: Any, sizes: Sizes) -> GraphFacts:
    """Return the stride and receptive field of an ONNX network, derived from its graph.

    Args:
        model: The network, with its sizes free.
        sizes: The sizes of its tensors.

    Raises:
        NotUnderstoodError: If the receptive field of a node is not known; the message names it.
    """
    stride = sizes.stride()
    chip = inputs_of(model)[0].name
    pixels = pixel_tensors(model)
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 1)
    extents: dict[str, Extents | None] = {chip: (Axis.of_input(stride), Axis.of_input(stride))}
    for proto in model.graph.node:
        if pixels.isdisjoint(proto.output):
            continue
        node = read_node(proto, opset, sizes, pixels)
        try:
            for name in filter(None, node.outputs):
                extents[name] = _step(node, name, extents, stride)
        except NotUnderstoodError as error:
            raise NotUnderstoodError(f"node {node.name!r} is a {node.op}: {error}") from error
    output = extents[model.graph.output[0].name]
    if output is None:
        raise NotUnderstoodError("the output has no rows and columns")
    rows, columns = (axis.reach() for axis in output)
    return GraphFacts(stride, None if rows is None or columns is None else Reach(*rows, *columns))


def _step(node: Node, name: str, known_extents: dict[str, Extents | None], stride: int) -> Extents | None:
    """Return the extents of one output tensor of a node, checked against its sizes."""
    read = [known_extents[tensor] for tensor in node.inputs if tensor in node.pixels]
    sides = node.sizes.sides(name)
    if not any(read):
        return None if sides is None else _everywhere(node.sizes, name, sides, stride)
    effect = effect_of(node)
    if effect == "whole" or sides is None:
        return None
    if effect == "blur":
        return _everywhere(node.sizes, name, sides, stride)
    extents = _apply(effect, _join(read))
    for axis, side, number in zip(extents, sides, (1, 2), strict=True):
        _check_size(axis, node.sizes, name, side, number)
    return extents


def _join(read: list[Extents | None]) -> Extents:
    """Return the extents of a map that reads the same position of all inputs of a node."""
    spatial = [pair for pair in read if pair is not None]
    rows, columns = spatial[0]
    for other_rows, other_columns in spatial[1:]:
        if (rows.size(), columns.size()) != (other_rows.size(), other_columns.size()):
            raise NotUnderstoodError("it joins maps of several sizes")
        rows, columns = rows.merge(other_rows), columns.merge(other_columns)
    return (rows, columns) if len(spatial) == len(read) else (rows.blurred(), columns.blurred())


def _apply(effect: Effect, extents: Extents) -> Extents:
    rows, columns = extents
    if isinstance(effect, str):
        return extents
    for rule in effect[0]:
        rows = rows.through(rule)
    for rule in effect[1]:
        columns = columns.through(rule)
    return rows, columns


def _everywhere(sizes: Sizes, name: str, sides: tuple[int, int], stride: int) -> Extents:
    """Return the extents of a map computed from tensors without rows and columns: it depends on the whole chip."""
    rows, columns = (
        _blurred_axis(ratio, sizes.shapes[name][0][side], pixels, stride)
        for ratio, side, pixels in zip(sizes.ratios(name) or (), sides, sizes.chips[0], strict=True)
    )
    return rows, columns


def _blurred_axis(ratio: Fraction, elements: int, pixels: int, stride: int) -> Axis:
    period = int(ratio * stride)
    surplus = elements - int(ratio * pixels)
    return Axis(stride, surplus, np.full(period, -EVERYWHERE), np.full(period, EVERYWHERE))


def _check_size(axis: Axis, sizes: Sizes, name: str, side: int, longer: int) -> None:
    """Check a map's size against its rule, for the first chip and for the one that is longer along this axis."""
    for number in (0, longer):
        pixels = sizes.chips[number][longer - 1]
        elements = sizes.shapes[name][number][side]
        if axis.period * pixels // axis.stride + axis.surplus != elements:
            raise NotUnderstoodError(f"it makes {elements} elements from {pixels} px, not {axis.size()}")
