"""What is known of a network from elsewhere once its file was opened; no Keras, TensorFlow or ONNX here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from terraseam.models.reach.call_memory import CallMemory
from terraseam.models.reach.reach import Reach

Shape = tuple[int | None, ...]
"""Sizes of a tensor's axes, None where any is taken."""


@dataclass(frozen=True)
class GraphFacts:
    """What was read from the graph of a network.

    Attributes:
        stride: Chips must be multiples of this many pixels; cores start on them.
        reach: How far it looks; None where it sees the whole chip.
    """

    stride: int
    reach: Reach | None


@dataclass(frozen=True)
class Foreign:
    """A network from elsewhere that takes one chip of any size.

    Attributes:
        kind: What the file is, in words, such as ``ONNX file``.
        network_name: What the network is called in a bundle: ``model.onnx``, ``model.keras`` or ``saved_model``.
        layout: ``channels_last`` or ``channels_first``, of what it takes.
        made: Shape of what it makes.
        whole_numbers: Whether it makes whole numbers.
        ending: Its last operation where that says what it makes: ``softmax``, ``sigmoid`` or ``argmax``.
        run: Runs it on scaled chips, float32, in its own layout.
        run_scores: Where it makes labels: runs it up to what they are made of, None where that is not possible.
        read_graph: Reads stride and reach from its graph; raises `NotUnderstoodError`.
        stride_hint: Stride that the sizes of its maps speak for, where they could be read, else None.
        memory: Takes the stride; gives the memory of a call, and how that is known.
        save: Writes the network into a folder, under `network_name`.
        notes: What was changed, and what the user should know, a sentence each.
        dtype: Type of what it takes: ``float16``, ``float32`` or ``float64``.
    """

    kind: str
    network_name: str
    layout: str
    made: Shape
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
