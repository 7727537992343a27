"""Mask R-CNN (https://arxiv.org/abs/1703.06870) on a feature pyramid (https://arxiv.org/abs/1612.03144)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import keras
from keras import layers

from terraseam.models.detection.layers import Detections, MaskScores, Proposals, PyramidRoiAlign
from terraseam.models.detection.settings import SLIM, STRIDES, Detector, with_room
from terraseam.models.networks.blocks import check_chip, decayed
from terraseam.models.networks.encoders import EncoderOptions, cut_encoder

BOX_BINS, MASK_BINS = 7, 14
MASK_CONVOLUTIONS = 4
PARTS = ("pyramid", "proposer", "box_head", "mask_head")


def mask_rcnn(  # noqa: PLR0913 - each is an option that users set
    bands: int,
    classes: int,
    *,
    encoder: str = "resnet50_fpn",
    settings: Detector | None = None,
    width: int | None = None,
    slim: bool = False,
    room: int | None = None,
    **options: Any,
) -> keras.Model:
    """Build a Mask R-CNN for chips of any size.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes, 2 or more; class 0 is the background.
        encoder: A key of `terraseam.models.networks.encoders.ENCODERS`, optionally with the suffix ``_fpn``.
        settings: Its settings; those of the papers if left out.
        width: Channels of the pyramid and of the mask head; those of `settings` if left out.
        slim: Whether to use `terraseam.models.detection.settings.SLIM` if `settings` are left out.
        room: Maximum number of instances per chip; a larger number also considers more proposals.
        **options: Encoder weights and more; see `terraseam.models.networks.encoders.EncoderOptions`.

    Returns:
        A model from ``(n, height, width, bands)``, float32, scaled as the encoder expects, to

        - boxes ``(n, k, 4)``: ``row0, col0, row1, col1`` in chip pixels,
        - labels ``(n, k)``, int32: indices into the classes, never that of the background,
        - scores ``(n, k)``: 0 to 1, descending; 0 where a row is empty, and then the whole row is 0,
        - masks ``(n, k, 28, 28)``: scores 0 to 1 in cells that divide the box.

        Height and width must be multiples of 32 px.

    Raises:
        ValueError: If an argument is invalid.
    """
    encoding = EncoderOptions(**options)
    check_chip(bands, classes)
    settings = settings or (SLIM if slim else Detector())
    if width is not None:
        settings = replace(settings, width=width)
    if room is not None:
        settings = with_room(settings, room)
    network = cut_encoder(encoder.removesuffix("_fpn"), bands, STRIDES[3], encoding)
    model = detector(network, classes, settings)
    for part in PARTS:
        decayed(model.get_layer(part), encoding.weight_decay)
    return model


def detector(encoder: keras.Model, classes: int, settings: Detector | None = None) -> keras.Model:
    """Build a Mask R-CNN on any encoder.

    Args:
        encoder: From chips ``(n, height, width, bands)`` to feature maps, the last four at strides 4, 8, 16, 32.
        classes: See `mask_rcnn`.
        settings: See `mask_rcnn`.

    Returns:
        See `mask_rcnn`. It contains the models `PARTS`, which the training network shares.
    """
    if classes < 2:
        raise ValueError(f"classes must be 2 or more, including the background, got {classes}")
    settings = settings or Detector()
    pyramid = feature_pyramid(encoder, settings.width)
    proposer = region_proposer(settings.width, len(settings.anchors.ratios))
    box_head = fully_connected_head(settings.width, settings.box_width, classes)
    mask_head = convolutional_head(settings.width, classes)
    strides = STRIDES[:4]

    chips = keras.Input(encoder.inputs[0].shape[1:], name="chips")
    maps = pyramid(chips)
    scores, deltas = zip(*(proposer(level) for level in maps), strict=True)
    proposals, valid = Proposals(settings.anchors, settings.proposals, name="proposals")(
        chips, list(scores), list(deltas)
    )
    features = PyramidRoiAlign(BOX_BINS, strides, name="box_features")(proposals, maps[:4])
    logits, box_deltas = box_head(features)
    boxes, labels, detection_scores = Detections(settings.detections, name="detections")(
        chips, proposals, valid, logits, box_deltas
    )
    features = PyramidRoiAlign(MASK_BINS, strides, name="mask_features")(boxes, maps[:4])
    masks = MaskScores(name="masks")(mask_head(features), labels)
    return keras.Model(chips, [boxes, labels, detection_scores, masks], name=f"mask_rcnn_{encoder.name}")


def feature_pyramid(encoder: keras.Model, width: int) -> keras.Model:
    """Build the feature pyramid, in which coarser levels are added to finer ones.

    Returns:
        A model from chips to P2 to P6, each with `width` channels, at the strides `STRIDES`.
    """
    *finer, coarsest = encoder.outputs[-4:]
    x = layers.Conv2D(width, 1, kernel_initializer="he_uniform", name="lateral32")(coarsest)
    levels = [x]
    for stride, tap in zip((16, 8, 4), reversed(finer), strict=True):
        x = layers.UpSampling2D(2, interpolation="nearest", name=f"up{stride}")(x)
        side = layers.Conv2D(width, 1, kernel_initializer="he_uniform", name=f"lateral{stride}")(tap)
        x = layers.Add(name=f"join{stride}")([x, side])
        levels.append(x)
    maps = [
        layers.Conv2D(width, 3, padding="same", kernel_initializer="he_uniform", name=f"level{stride}")(level)
        for stride, level in zip((4, 8, 16, 32), reversed(levels), strict=True)
    ]
    maps.append(layers.MaxPooling2D(1, strides=2, name="level64")(maps[-1]))
    return keras.Model(encoder.input, maps, name="pyramid")


def region_proposer(width: int, anchors: int) -> keras.Model:
    """Build the head of the region proposal network, shared by all levels.

    Returns:
        A model from one level to a logit for each anchor of a cell, above 0 if it contains an object, and four
        deltas for each.
    """
    start = keras.initializers.RandomNormal(stddev=0.01)
    level = keras.Input((None, None, width), name="level")
    x = layers.Conv2D(
        width, 3, padding="same", activation="relu", kernel_initializer="he_uniform", name="proposer_mix"
    )(level)
    scores = layers.Conv2D(anchors, 1, kernel_initializer=start, name="proposer_scores")(x)
    deltas = layers.Conv2D(4 * anchors, 1, kernel_initializer=start, name="proposer_deltas")(x)
    return keras.Model(level, [scores, deltas], name="proposer")


def fully_connected_head(width: int, hidden: int, classes: int) -> keras.Model:
    """Build the box head.

    Returns:
        A model from features ``(boxes, 7, 7, width)`` to logits ``(boxes, classes)`` and deltas
        ``(boxes, 4 * classes)``.
    """
    features = keras.Input((BOX_BINS, BOX_BINS, width), name="box_bins")
    x = layers.Flatten(name="box_flat")(features)
    x = layers.Dense(hidden, activation="relu", kernel_initializer="he_uniform", name="box_fc6")(x)
    x = layers.Dense(hidden, activation="relu", kernel_initializer="he_uniform", name="box_fc7")(x)
    logits = layers.Dense(
        classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="classes"
    )(x)
    deltas = layers.Dense(
        4 * classes, kernel_initializer=keras.initializers.RandomNormal(stddev=0.001), name="deltas"
    )(x)
    return keras.Model(features, [logits, deltas], name="box_head")


def convolutional_head(width: int, classes: int) -> keras.Model:
    """Build the mask head.

    Returns:
        A model from features ``(boxes, 14, 14, width)`` to logits ``(boxes, 28, 28, classes)``.
    """
    features = keras.Input((MASK_BINS, MASK_BINS, width), name="mask_bins")
    x = features
    for number in range(1, MASK_CONVOLUTIONS + 1):
        x = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"mask_conv{number}",
        )(x)
    x = layers.Conv2DTranspose(
        width, 2, strides=2, activation="relu", kernel_initializer="he_normal", name="mask_up"
    )(x)
    logits = layers.Conv2D(classes, 1, kernel_initializer="he_normal", name="mask_logits")(x)
    return keras.Model(features, logits, name="mask_head")
