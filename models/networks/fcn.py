"""The fully convolutional networks of Long et al. (https://arxiv.org/abs/1411.4038): FCN-32s, FCN-16s and FCN-8s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from terraseam.models.layers.bilinear import BilinearKernel
from terraseam.models.networks.blocks import check_chip, check_dropout, decayed
from terraseam.models.networks.encoders import EncoderOptions, encoder_row, whole_encoder

STRIDES = (32, 16, 8)
VGG16_HEAD, OTHER_HEAD = 4096, 512

SCORED: Mapping[str, Mapping[int, str]] = {
    "vgg16": {8: "block3_pool", 16: "block4_pool", 32: "block5_pool"},
}
"""Layers that are scored, by stride, where not the encoder's taps: the paper scores VGG16's pooling layers."""


def fcn(
    bands: int,
    classes: int,
    *,
    encoder: str = "vgg16",
    stride: int = 8,
    head_width: int | None = None,
    dropout: float = 0.5,
    **options: Any,
) -> keras.Model:
    """Build an FCN for images of any size.

    Scores at stride 32 are upsampled and added to those of finer features; transposed convolutions are initialized
    to bilinear interpolation and trained. The paper pads the image by 100 pixels and crops; here all convolutions
    preserve the size, so that logits and image have one size. The scoring layers are initialized randomly: with
    zeros, as in the paper, no gradient would reach earlier layers in the first step.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        encoder: A key of `terraseam.models.networks.encoders.ENCODERS`.
        stride: Stride of the finest features scored, in pixels: 32, 16 or 8.
        head_width: Channels of fc6 and fc7. None for the paper's 4096 on VGG16, whose classifier layers these were,
            and for 512 on the other encoders, which have no such layers.
        dropout: Dropout rate of fc6 and fc7.
        **options: See `terraseam.models.networks.encoders.EncoderOptions`. The paper's `weight_decay` is 5e-4.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, scaled as the encoder expects, to logits
        ``(batch, height, width, classes)``. Height and width must be multiples of 32.

    Raises:
        ValueError: If an argument is invalid.
    """
    settings = EncoderOptions(**options)
    check_chip(bands, classes)
    check_dropout(dropout)
    if stride not in STRIDES:
        raise ValueError(f"the stride of an FCN must be one of {', '.join(map(str, STRIDES))}, got {stride}")
    width = head_width if head_width is not None else VGG16_HEAD if encoder == "vgg16" else OTHER_HEAD
    if width < 1:
        raise ValueError(f"head_width must be 1 or more, got {width}")
    scored = SCORED.get(encoder) or encoder_row(encoder).taps
    network = whole_encoder(encoder, bands, settings)

    x = network.get_layer(scored[32]).output
    x = layers.Conv2D(width, 7, padding="same", activation="relu", name="fc6")(x)
    x = layers.Dropout(dropout, name="fc6_drop")(x)
    x = layers.Conv2D(width, 1, activation="relu", name="fc7")(x)
    x = layers.Dropout(dropout, name="fc7_drop")(x)
    x = layers.Conv2D(classes, 1, name="score32")(x)
    for finer in (16, 8)[: STRIDES.index(stride)]:
        x = _enlarged(x, classes, 2, f"up{finer}")
        score = layers.Conv2D(classes, 1, name=f"score{finer}")(network.get_layer(scored[finer]).output)
        x = layers.Add(name=f"join{finer}")([x, score])
    logits = _enlarged(x, classes, stride, "logits")
    return decayed(keras.Model(network.input, logits, name=f"fcn{stride}s_{encoder}"), settings.weight_decay)


def _enlarged(x: keras.KerasTensor, classes: int, factor: int, name: str) -> keras.KerasTensor:
    """Upsample scores with a transposed convolution initialized to bilinear interpolation."""
    return layers.Conv2DTranspose(
        classes,
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=BilinearKernel(),
        name=name,
    )(x)
