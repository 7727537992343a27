"""What a card says of a detector: its stride, its classes, and the memory that it needs."""

from __future__ import annotations

import math

import keras
from keras import layers

from terraseam.models.detection.layers import Detections, Proposals
from terraseam.models.detection.mask_rcnn import BOX_BINS, MASK_BINS, PARTS
from terraseam.models.reach.graph import GraphError, read_graph
from terraseam.models.reach.memory import FLOAT_BYTES, WORKING_COPIES, memory_per_pixel
from terraseam.models.reach.network import graph_stride

COPIES = 3
"""Features of boxes that live at once: a sample of every bin, their sum, and what is put into order."""
CHIP = 1024
"""Side of the chip, in pixels, over which the memory of the heads is spread: they take the same for any chip."""


def detector_measures(model: keras.Model) -> tuple[int, int]:
    """Read the stride of a detector and the memory that it needs.

    The coarsest level of the pyramid does not count for the stride: it is every second cell of the one before.

    Args:
        model: What `terraseam.models.detection.mask_rcnn.detector` builds, new or loaded.

    Returns:
        The least by which chips may grow, in pixels; and the peak of memory for one call, in bytes per pixel of a
        chip of `CHIP` x `CHIP` pixels, to which maps and heads add up: TensorFlow was measured to take 292 of the
        265 bytes of a slim MobileNet one, and 378 of the 601 of one on ResNet50 with 91 classes. A larger chip
        needs less for each of its pixels, a smaller one more.

    Raises:
        GraphError: If the network is no such detector.
    """
    check_detector(model)
    pyramid, proposer = model.get_layer("pyramid"), model.get_layer("proposer")
    *read_by_heads, _ = pyramid.outputs
    stride = graph_stride(read_graph(_ending_in(pyramid, read_by_heads)))
    proposed = [map_ for level in pyramid.outputs for map_ in proposer(level)]
    spatial = memory_per_pixel(_ending_in(pyramid, [*pyramid.outputs, *proposed]))
    return stride, math.ceil(spatial + _head_bytes(model) * WORKING_COPIES / CHIP**2)


def detector_classes(model: keras.Model) -> int:
    """Return how many classes a detector tells apart, the background among them."""
    check_detector(model)
    return int(model.get_layer("box_head").outputs[0].shape[-1])


def check_detector(model: keras.Model) -> None:
    """Check that a network is built as detectors are here, and answers as they do.

    Raises:
        GraphError: If it is not.
    """
    names = {layer.name for layer in model.layers}
    missing = [name for name in (*PARTS, "proposals", "detections") if name not in names]
    if missing or [len(output.shape) for output in model.outputs] != [3, 2, 2, 4]:
        lacks = (
            f"it lacks {', '.join(missing)}" if missing else "it does not answer boxes, labels, scores, masks"
        )
        raise GraphError(
            f"network {model.name!r} is not a detector of ours: {lacks}; build it with terraseam.models.detection.mask_rcnn"
        )


def _ending_in(model: keras.Model, maps: list[keras.KerasTensor]) -> keras.Model:
    """Return a network of one output that reads all of some maps at its very end."""
    ends = [layers.Dense(1)(layers.GlobalAveragePooling2D()(one)) for one in maps]
    return keras.Model(model.input, layers.Add()(ends))


def _head_bytes(model: keras.Model) -> int:
    """Return the peak of memory of what works on boxes, in bytes."""
    proposals, detections = model.get_layer("proposals"), model.get_layer("detections")
    if not isinstance(proposals, Proposals) or not isinstance(detections, Detections):
        raise GraphError(f"network {model.name!r} has other layers than a detector; build it with mask_rcnn")
    mask_head = model.get_layer("mask_head")
    width, classes = mask_head.inputs[0].shape[-1], mask_head.outputs[0].shape[-1]
    boxes = proposals.choice.kept * COPIES * BOX_BINS**2 * width + 3 * proposals.choice.candidates**2
    enlarged = (2 * MASK_BINS) ** 2 * (width + 2 * classes)
    masks = detections.choice.kept * max(COPIES * MASK_BINS**2 * width, enlarged)
    return FLOAT_BYTES * max(boxes, masks)
