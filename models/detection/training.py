"""Build the training network of Mask R-CNN: its heads on sampled boxes, with losses as outputs."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from terraseam.models.detection.layers import Proposals, PyramidRoiAlign
from terraseam.models.detection.losses import (
    BoxLosses,
    MaskLoss,
    ProposalLosses,
    SampledBoxes,
    most_instances,
)
from terraseam.models.detection.mask_rcnn import BOX_BINS, MASK_BINS
from terraseam.models.detection.measures import check_detector
from terraseam.models.detection.settings import STRIDES, Training
from terraseam.models.detection.truth import SIDE

LOSSES = ("proposal_class", "proposal_box", "class", "box", "mask")


@keras.saving.register_keras_serializable("terraseam")
class TrainingNetwork(keras.Model):
    """A functional model whose outputs are losses, each logged; training minimizes their sum."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shown = {name: keras.metrics.Mean(name=name) for name in LOSSES}

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Return the sum of all losses, including the layers' penalties."""
        del x, y, sample_weight
        for name, loss in y_pred.items():
            self.shown[name].update_state(loss)
        return sum(self.losses, ops.sum(ops.stack(list(y_pred.values()))))


def training_network(
    network: keras.Model, settings: Training | None = None, side: int = SIDE
) -> TrainingNetwork:
    """Build the network that trains a detector; both share all weights, so that training one changes the other.

    It is trained like any Keras model, on any backend: ``compile(optimizer)``, then ``fit(data)``, where each batch
    is a dict of ``chips`` ``(n, height, width, bands)``, scaled, and the ``boxes``, ``labels`` and ``masks`` of
    `terraseam.models.detection.truth.pad_truth`. The papers use SGD with momentum 0.9 and weight decay 1e-4.

    Args:
        network: A detector built by `terraseam.models.detection.mask_rcnn.detector`, new or loaded.
        settings: Training settings; those of the papers if left out.
        side: Cells of the ground-truth masks along each axis.

    Raises:
        GraphError: If `network` is not a detector.
    """
    check_detector(network)
    settings = settings or Training()
    _freeze_norm(network, settings.frozen_norm)
    pyramid, proposer = network.get_layer("pyramid"), network.get_layer("proposer")
    anchors, strides = network.get_layer("proposals").anchors, STRIDES[:4]

    chips = keras.Input(network.inputs[0].shape[1:], name="chips")
    boxes = keras.Input((None, 4), name="boxes")
    labels = keras.Input((None,), dtype="int32", name="labels")
    masks = keras.Input((None, side, side), dtype="uint8", name="masks")
    maps = pyramid(chips)
    scores, deltas = (list(parts) for parts in zip(*(proposer(level) for level in maps), strict=True))
    proposal_class, proposal_box = ProposalLosses(settings, anchors, name="proposal_losses")(
        scores, deltas, boxes, labels
    )
    proposals, valid = Proposals(anchors, settings.proposals, name="training_proposals")(
        chips, scores, deltas
    )
    drawn = SampledBoxes(settings, name="drawn")(proposals, valid, boxes, labels)
    features = PyramidRoiAlign(BOX_BINS, strides, name="training_box_features")(drawn[0], maps[:4])
    logits, box_deltas = network.get_layer("box_head")(features)
    class_loss, box_loss = BoxLosses(settings, name="box_losses")(logits, box_deltas, drawn, boxes)
    positives = [part[:, : most_instances(settings)] for part in drawn]
    features = PyramidRoiAlign(MASK_BINS, strides, name="training_mask_features")(positives[0], maps[:4])
    mask_loss = MaskLoss(settings, name="mask_loss")(
        network.get_layer("mask_head")(features), positives, boxes, masks
    )
    losses = (proposal_class, proposal_box, class_loss, box_loss, mask_loss)
    return TrainingNetwork(
        {"chips": chips, "boxes": boxes, "labels": labels, "masks": masks},
        dict(zip(LOSSES, losses, strict=True)),
        name=f"{network.name}_training",
    )


def _freeze_norm(network: keras.Model, frozen: bool) -> None:
    """Freeze or unfreeze every batch normalization of a network: its statistics, scale and offset."""
    for layer in network._flatten_layers():
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = not frozen
