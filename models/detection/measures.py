"""Derive the card fields of a detector from its graph: stride, number of classes, and memory."""

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
"""Copies of the box features in memory at once: samples of each bin, their sum, and the reordered result."""
CHIP = 1024
"""Side of the chip, in pixels, over which the heads' constant memory is spread."""


def detector_measures(model: keras.Model) -> tuple[int, int]:
    """Return the stride of a detector and the memory it needs.

    The coarsest pyramid level does not count for the stride: it is every second cell of the one before.

    Args:
        model: A detector built by `terraseam.models.detection.mask_rcnn.detector`, new or loaded.

    Returns:
        The smallest increment of a chip's size, in pixels; and the peak memory of one call, in bytes per pixel of a
        chip of `CHIP` x `CHIP` pixels, estimated from maps and heads. Measured on TensorFlow: 292 bytes against an
        estimate of 265 for a slim MobileNet detector, and 378 against 601 for one on ResNet50 with 91 classes. Larger
        chips need less per pixel, smaller ones more.

    Raises:
        GraphError: If the network is not such a detector.
    """
    check_detector(model)
    pyramid, proposer = model.get_layer("pyramid"), model.get_layer("proposer")
    *read_by_heads, _ = pyramid.outputs
    stride = graph_stride(read_graph(_ending_in(pyramid, read_by_heads)))
    proposed = [map_ for level in pyramid.outputs for map_ in proposer(level)]
    spatial = memory_per_pixel(_ending_in(pyramid, [*pyramid.outputs, *proposed]))
    return stride, math.ceil(spatial + _head_bytes(model) * WORKING_COPIES / CHIP**2)


def detector_classes(model: keras.Model) -> int:
    """Return the number of classes of a detector, including the background."""
    check_detector(model)
    return int(model.get_layer("box_head").outputs[0].shape[-1])


def check_detector(model: keras.Model) -> None:
    """Check that a network has the structure and outputs of the detectors built here.

    Raises:
        GraphError: If it does not.
    """
    names = {layer.name for layer in model.layers}
    missing = [name for name in (*PARTS, "proposals", "detections") if name not in names]
    if missing or [len(output.shape) for output in model.outputs] != [3, 2, 2, 4]:
        lacks = (
            f"it lacks {', '.join(missing)}"
            if missing
            else "it does not output boxes, labels, scores and masks"
        )
        raise GraphError(
            f"network {model.name!r} is not a Terraseam detector: {lacks}; build it with "
            f"terraseam.models.detection.mask_rcnn"
        )


def _ending_in(model: keras.Model, maps: list[keras.KerasTensor]) -> keras.Model:
    """Return a network with one output that reads all given maps at its very end."""
    ends = [layers.Dense(1)(layers.GlobalAveragePooling2D()(feature_map)) for feature_map in maps]
    return keras.Model(model.input, layers.Add()(ends))


def _head_bytes(model: keras.Model) -> int:
    """Return the peak memory of the parts that process boxes, in bytes."""
    proposals, detections = model.get_layer("proposals"), model.get_layer("detections")
    if not isinstance(proposals, Proposals) or not isinstance(detections, Detections):
        raise GraphError(
            f"network {model.name!r} does not have the layers of a detector; build it with mask_rcnn"
        )
    mask_head = model.get_layer("mask_head")
    width, classes = mask_head.inputs[0].shape[-1], mask_head.outputs[0].shape[-1]
    boxes = proposals.choice.kept * COPIES * BOX_BINS**2 * width + 3 * proposals.choice.candidates**2
    enlarged = (2 * MASK_BINS) ** 2 * (width + 2 * classes)
    masks = detections.choice.kept * max(COPIES * MASK_BINS**2 * width, enlarged)
    return FLOAT_BYTES * max(boxes, masks)
