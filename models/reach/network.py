"""Derive the receptive field of a network from its Keras graph."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol, Self, TypeVar

import keras

from terraseam.models.reach.axis import Axis, Rule
from terraseam.models.reach.graph import Graph, GraphError, Step, read_graph
from terraseam.models.reach.layer_rules import Effect, effect_of
from terraseam.models.reach.reach import Reach


class Extent(Protocol):
    """A quantity propagated through the graph along one axis."""

    def through(self, rule: Rule) -> Self:
        """Return the extent of a layer's output."""

    def merge(self, other: Self) -> Self:
        """Return the extent of a map that reads this one and another of the same size."""

    def blurred(self) -> Self:
        """Return the extent of a map whose elements each depend on the whole chip."""

    def size(self) -> str:
        """Return the number of elements as a text that is equal for equal sizes."""


@dataclass(frozen=True)
class Ratio:
    """Elements of a map per pixel of the chip."""

    value: Fraction

    def through(self, rule: Rule) -> Ratio:
        """Return the ratio of a layer's output."""
        return Ratio(self.value * rule.ratio)

    def merge(self, _: Ratio) -> Ratio:
        """Return the ratio of a map that reads two."""
        return self

    def blurred(self) -> Ratio:
        """Return the same ratio."""
        return self

    def size(self) -> str:
        """Return an empty text: a ratio does not know padding, so sizes cannot be compared by it."""
        return ""


E = TypeVar("E", bound=Extent)


def network_reach(model: keras.Model) -> tuple[int, Reach | None]:
    """Return the stride and receptive field of a network, derived from its graph.

    Args:
        model: A functional or sequential network that maps chips ``(batch, height, width, bands)`` to maps
            of the same height and width.

    Returns:
        The stride, in pixels: the smallest increment of a chip's size; and the pixels that outputs need beyond a
        core that begins and ends on multiples of it, None if they depend on the whole chip.

    Raises:
        UnknownLayerError: If a layer is not known.
        GraphError: If the network does not have one input and one output of the same size.
    """
    graph = read_graph(model)
    stride = graph_stride(graph)
    axes = follow(graph, Axis.of_input(stride))[graph.output]
    if axes is None:
        _check_fixed_size(graph)
        return stride, None
    for axis in axes:
        if axis.size() != Axis.of_input(stride).size():
            raise GraphError(
                f"network {model.name!r} makes {axis.size()} elements from chips of {stride}*k px; "
                "its logits must have the size of the chip"
            )
    rows, columns = (axis.reach() for axis in axes)
    if rows is None or columns is None:
        return stride, None
    return stride, Reach(*rows, *columns)


def graph_stride(graph: Graph) -> int:
    """Return the smallest increment of a chip's size, in pixels, at which every map grows by whole elements."""
    ratios = [ratio.value for pair in follow(graph, Ratio(Fraction(1))).values() for ratio in pair or ()]
    return math.lcm(*(ratio.denominator for ratio in ratios))


def follow(graph: Graph, chip: E) -> dict[int, tuple[E, E] | None]:
    """Propagate an extent along rows and columns from the chip to every tensor of a graph.

    Returns:
        Extents of rows and columns by number of the tensor; None for tensors without rows and columns, which
        depend on the whole chip, such as the output of global pooling.
    """
    extents: dict[int, tuple[E, E] | None] = {0: (chip, chip)}
    for step in graph.steps:
        effect = effect_of(step)
        sized = step.inputs[-1:] if effect == "like" else step.inputs
        output_extents = _apply(effect, _join([extents[number] for number in sized], step))
        extents.update(dict.fromkeys(step.outputs, output_extents))
    return extents


def _join(read: list[tuple[E, E] | None], step: Step) -> tuple[E, E] | None:
    """Return the extents of a map that reads the same position of all inputs of a step."""
    spatial = [pair for pair in read if pair is not None]
    if not spatial:
        return None
    rows, columns = spatial[0]
    for others in spatial[1:]:
        for mine, other in zip((rows, columns), others, strict=True):
            if mine.size() != other.size():
                raise GraphError(
                    f"layer {step.layer.name!r} joins maps of {mine.size()} and {other.size()} elements; "
                    "it can only join maps of one size"
                )
        rows, columns = rows.merge(others[0]), columns.merge(others[1])
    return (rows, columns) if len(spatial) == len(read) else (rows.blurred(), columns.blurred())


def _apply(effect: Effect, extents: tuple[E, E] | None) -> tuple[E, E] | None:
    if extents is None or effect == "whole":
        return None
    if effect == "pointwise":
        return extents
    rows, columns = extents
    if isinstance(effect, str):
        return rows.blurred(), columns.blurred()
    return rows.through(effect[0]), columns.through(effect[1])


def _check_fixed_size(graph: Graph) -> None:
    """Check the size of logits that no rule could derive; it is known if the chip has a fixed size."""
    input_size, output_size = graph.input_shape[1:3], graph.output_shape[1:3]
    if None in input_size or input_size != output_size:
        raise GraphError(
            f"the network makes logits of shape {output_size} from chips of shape {input_size}; they must be equal"
        )
