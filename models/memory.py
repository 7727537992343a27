"""How much memory a network needs, read from its Keras graph."""

from __future__ import annotations

import math
from fractions import Fraction

import keras

from models.graph import Graph, Step, read_graph
from models.layer_rules import effect_of
from models.reach import Ratio, follow

FLOAT_BYTES = 4
WORKING_COPIES = 1.6
"""What a call takes beyond its maps: reordered copies, freed memory not yet used again. TensorFlow on a CPU was
measured to take 1.2 to 1.6 times the maps."""


def memory_per_pixel(model: keras.Model) -> int:
    """Return the peak of memory for one call, in bytes per pixel of the chip, float32.

    Steps run one after another; a map lives from the step that makes it to the last one that reads it. A
    pointwise step that is the only reader of its map writes over it.
    """
    graph = read_graph(model)
    sizes = _sizes(graph)
    readers = _readers(graph)
    live, peak = sizes[0], sizes[0]
    for step in graph.steps:
        for number in step.inputs:
            readers[number] -= 1
        done = sum(sizes[number] for number in set(step.inputs) if readers[number] == 0)
        made = sum(sizes[number] for number in step.outputs)
        reused = min(done, made) if effect_of(step) == "pointwise" and not _joins(step) else Fraction(0)
        peak = max(peak, live + made - reused)
        live += made - done - sum(sizes[number] for number in step.outputs if readers[number] == 0)
    return math.ceil(peak * WORKING_COPIES + sizes[0] + sizes[graph.output])


def _joins(step: Step) -> bool:
    """Whether a step copies several maps into one."""
    return type(step.layer).__name__ == "Concatenate"


def _sizes(graph: Graph) -> dict[int, Fraction]:
    """Return the bytes per pixel of the chip by number of the tensor; 0 for those without rows."""
    channels = {0: graph.input_shape[-1]}
    for step in graph.steps:
        channels.update(zip(step.outputs, (shape[-1] for shape in step.shapes), strict=True))
    ratios = follow(graph, Ratio(Fraction(1)))
    return {
        number: Fraction(0)
        if pair is None
        else FLOAT_BYTES * (channels[number] or 0) * pair[0].value * pair[1].value
        for number, pair in ratios.items()
    }


def _readers(graph: Graph) -> dict[int, int]:
    """Return how often each tensor is read; the logits are read at the end."""
    read = [number for step in graph.steps for number in step.inputs] + [graph.output]
    made = [0, *(number for step in graph.steps for number in step.outputs)]
    return {number: read.count(number) for number in made}
