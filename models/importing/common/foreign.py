"""Description of an opened network from another tool; imports no Keras, TensorFlow or ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from terraseam.models.reach.call_memory import CallMemory
from terraseam.models.reach.reach import Reach

Shape = tuple[int | None, ...]
"""Sizes of a tensor's axes, None where any size is allowed."""


@dataclass(frozen=True)
class GraphFacts:
    """What was read from the graph of a network.

    Attributes:
        stride: Chips must be multiples of this many pixels; cores start on them.
        reach: Its receptive field beyond a core; None if it covers the whole chip.
    """

    stride: int
    reach: Reach | None


@dataclass(frozen=True)
class Foreign:
    """An imported network that takes one chip of any size.

    Attributes:
        kind: File format, such as ``ONNX file``.
        network_name: File name in a bundle: ``model.onnx``, ``model.keras`` or ``saved_model``.
        layout: ``channels_last`` or ``channels_first``, of the input.
        output_shape: Output shape.
        whole_numbers: Whether the output type is an integer.
        ending: Its last operation if that determines the output type: ``softmax``, ``sigmoid`` or ``argmax``.
        run: Runs it on scaled chips, float32, in its own layout.
        run_scores: For label outputs: runs it up to the scores before the argmax, None if that is not possible.
        read_graph: Reads stride and reach from its graph; raises `NotUnderstoodError`.
        stride_hint: Stride derived from the sizes of its maps, if these could be read, else None.
        memory: Takes the stride; returns the memory of a call, and how it was determined.
        save: Writes the network into a folder, under `network_name`.
        notes: Changes, and information for the user, one sentence each.
        dtype: Input type: ``float16``, ``float32`` or ``float64``.
    """

    kind: str
    network_name: str
    layout: str
    output_shape: Shape
    whole_numbers: bool
    ending: str | None
    run: Callable[[np.ndarray], np.ndarray]
    run_scores: Callable[[np.ndarray], np.ndarray] | None
    read_graph: Callable[[], GraphFacts]
    stride_hint: int | None
    memory: Callable[[int], tuple[CallMemory, str]]
    save: Callable[[Path], None]
    notes: tuple[str, ...] = ()
    dtype: str = "float32"
