"""Count what a network computes: two operations for every product of a convolution or a dense layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from terraseam.models.reach.graph import read_graph

SIDE = 1024
"""Side of the chip for which operations are counted, in pixels."""


def flops_per_pixel(model: Any, side: int = SIDE) -> float:
    """Return the floating-point operations per pixel of a chip.

    Normalization, activations, sums and upsampling are not counted: a few operations for each value of a map.

    Args:
        model: A Keras network that maps a chip to a map of logits.
        side: Side of the chip, in pixels; a multiple of the network's stride.
    """
    graph = read_graph(model)
    shapes: dict[int, Sequence[int]] = {0: (1, side, side, int(graph.input_shape[-1] or 0))}
    counted = 0.0
    for step in graph.steps:
        taken = [shapes[number] for number in step.inputs]
        made = step.layer.compute_output_shape(taken[0] if len(taken) == 1 else taken)
        shapes[step.outputs[0]] = made
        counted += 2 * products(step.layer, taken[0], made)
    return counted / side**2


def products(layer: Any, taken: Sequence[int], made: Sequence[int]) -> int:
    """Return the products that a layer computes for inputs and outputs of some shapes.

    Args:
        layer: The layer; those without a kernel compute none.
        taken: Shape of its input.
        made: Shape of its output.
    """
    kind = type(layer).__name__
    if kind == "Conv2DTranspose":  # each value of the input is multiplied by the whole kernel
        return math.prod(taken) * math.prod(layer.kernel_size) * made[-1]
    if kind == "Conv2D":
        return math.prod(made) * math.prod(layer.kernel_size) * taken[-1] // layer.groups
    if kind == "DepthwiseConv2D":
        return math.prod(made) * math.prod(layer.kernel_size)
    if kind == "SeparableConv2D":
        between = taken[-1] * layer.depth_multiplier
        return math.prod(made[:-1]) * between * (math.prod(layer.kernel_size) + made[-1])
    if kind == "Dense":
        return math.prod(made) * taken[-1]
    return 0
