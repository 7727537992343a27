"""Estimate the memory of a network from its Keras graph."""

from __future__ import annotations

import math
from fractions import Fraction

import keras

from terraseam.models.reach.call_memory import (
    ATTENTION_COPIES,
    FLOAT_BYTES,
    LARGE_CHIP,
    CallMemory,
    growth_terms,
    round_up,
    value_bytes,
)
from terraseam.models.reach.graph import Graph, Step, read_graph
from terraseam.models.reach.layer_rules import effect_of
from terraseam.models.reach.network import Ratio, follow

ATTENTIONS = ("MultiHeadAttention", "Attention", "AdditiveAttention")
Pair = tuple[Ratio, Ratio]
WORKING_COPIES = 1.6
"""Memory of a call relative to its maps: reordered copies, and freed memory not yet reused. Measured at 1.2 to 1.6
times for TensorFlow on a CPU."""


def call_memory(model: keras.Model) -> CallMemory:
    """Return the peak memory of one call, including attention, which compares every position with every other."""
    graph = read_graph(model)
    ratios = follow(graph, Ratio(Fraction(1)))
    taken = [_attention_terms(step, *(ratios[number] for number in step.inputs[:2])) for step in graph.steps]
    linear, squared = (max(terms, default=0.0) * ATTENTION_COPIES for terms in zip(*taken, strict=True))
    return CallMemory(memory_per_pixel(model) + math.ceil(linear), round_up(squared))


def _attention_terms(step: Step, queries: Pair | None, keys: Pair | None = None) -> tuple[float, float]:
    """Return the bytes of an attention layer's scores over maps, before and after softmax: see `growth_terms`."""
    layer = step.layer
    if type(layer).__name__ not in ATTENTIONS or queries is None or keys is None:
        return 0.0, 0.0
    side = math.isqrt(LARGE_CHIP)
    heads = getattr(layer, "num_heads", step.shapes[0][-1] or 1)
    axes = getattr(layer, "_attention_axes", (2,))
    places = math.prod(float(axis.value) * side for axis in queries)
    others = math.prod(float(keys[axis - 1].value) * side for axis in axes)
    return growth_terms(2 * FLOAT_BYTES * heads * places * others, LARGE_CHIP, len(axes) / 2)


def memory_per_pixel(model: keras.Model) -> int:
    """Return the peak memory of one call without attention, in bytes per pixel of the chip.

    Steps run one after another; a map lives from the step that produces it to the last one that reads it. A
    pointwise step that is the only reader of its input works in place.
    """
    graph = read_graph(model)
    sizes = _sizes(graph)
    readers = _readers(graph)
    live, peak = sizes[0], sizes[0]
    for step in graph.steps:
        for number in step.inputs:
            readers[number] -= 1
        released = sum(sizes[number] for number in set(step.inputs) if readers[number] == 0)
        allocated = sum(sizes[number] for number in step.outputs)
        reused = (
            min(released, allocated) if effect_of(step) == "pointwise" and not _joins(step) else Fraction(0)
        )
        peak = max(peak, live + allocated - reused)
        live += allocated - released - sum(sizes[number] for number in step.outputs if readers[number] == 0)
    return math.ceil(peak * WORKING_COPIES + sizes[0] + sizes[graph.output])


def _joins(step: Step) -> bool:
    """Return whether a step copies several maps into one."""
    return type(step.layer).__name__ == "Concatenate"


def _sizes(graph: Graph) -> dict[int, Fraction]:
    """Return the bytes per pixel of the chip of each tensor; 0 for tensors without rows."""
    values = {0: FLOAT_BYTES * (graph.input_shape[-1] or 0)}
    for step in graph.steps:
        for number, shape, dtype in zip(step.outputs, step.shapes, step.dtypes, strict=True):
            values[number] = value_bytes(dtype) * (shape[-1] or 0)
    ratios = follow(graph, Ratio(Fraction(1)))
    return {
        number: Fraction(0) if pair is None else values[number] * pair[0].value * pair[1].value
        for number, pair in ratios.items()
    }


def _readers(graph: Graph) -> dict[int, int]:
    """Return the number of reads of each tensor; the logits are read at the end."""
    read = [number for step in graph.steps for number in step.inputs] + [graph.output]
    tensors = [0, *(number for step in graph.steps for number in step.outputs)]
    return {number: read.count(number) for number in tensors}
