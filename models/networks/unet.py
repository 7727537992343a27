"""The U-Net of Ronneberger et al. (https://arxiv.org/abs/1505.04597) on a truncated encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from terraseam.models.networks.blocks import check_chip, decayed, normalized
from terraseam.models.networks.encoders import ENCODERS, EncoderOptions, cut_encoder


def unet(
    bands: int,
    classes: int,
    *,
    encoder: str = "mobilenet",
    cut: int = 16,
    decoder_width: int = 24,
    encoder_weights: str | Path | None = None,
    **options: Any,
) -> keras.Model:
    """Build a U-Net for images of any size.

    Truncating the encoder at stride 16 instead of 32 more than halves its receptive field. If the encoder begins with
    stride 2, only the logits exist at full size, as a transposed convolution of the features at that stride, which
    saves memory and time. VGG16 has features at full size, and its decoder uses them.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        encoder: A key of `terraseam.models.networks.encoders.ENCODERS`.
        cut: Stride of the coarsest features, in pixels, 4 or more.
        decoder_width: Channels of the decoder at stride 2; twice as many at each coarser stride.
        encoder_weights: Source of the encoder's weights; see `terraseam.models.networks.encoders.EncoderOptions`.
        **options: See `terraseam.models.networks.encoders.EncoderOptions`.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, scaled as the encoder expects, to logits
        ``(batch, height, width, classes)``. Height and width must be multiples of `cut`.

    Raises:
        ValueError: If an argument is invalid.
    """
    settings = EncoderOptions(encoder_weights=encoder_weights, **options)
    check_chip(bands, classes)
    if decoder_width < 1:
        raise ValueError(f"decoder_width must be 1 or more, got {decoder_width}")
    if cut < 4:
        raise ValueError(f"a U-Net needs an encoder cut at stride 4 or more, got {cut}")
    network = cut_encoder(encoder, bands, cut, settings)
    *strides, _ = tap_strides = [stride for stride in ENCODERS[encoder].taps if stride <= cut]
    *taps, x = network.outputs
    if not ENCODERS[encoder].normalized:
        # VGG16's features are in the hundreds, the decoder's around one: without normalization the coarse path and
        # its gradient would count for a hundredth at each join.
        *taps, x = [
            layers.BatchNormalization(name=f"tap{stride}_norm")(tap)
            for stride, tap in zip(tap_strides, network.outputs, strict=True)
        ]

    for stride, tap in zip(reversed(strides), reversed(taps), strict=True):
        x = _decoder_level(x, tap, max(1, decoder_width * stride // 2), f"decoder{stride}")
    if strides[0] == 1:
        logits = layers.Conv2D(classes, 1, name="logits")(x)
    else:
        logits = layers.Conv2DTranspose(classes, 4, strides=2, padding="same", name="logits")(x)
    model = keras.Model(network.input, logits, name=f"unet_{encoder}_{cut}")
    return decayed(model, settings.weight_decay)


def _decoder_level(x: keras.KerasTensor, tap: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Double the size of `x`, join it with the encoder's `tap` of that size, and mix both into `width` channels.

    A 1x1 convolution of two concatenated maps is the sum of a convolution of each, and it commutes with repeating
    pixels: so the wide concatenated map is never built, and half of the work is done at the coarse size.
    """
    x = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_coarse")(x)
    x = layers.UpSampling2D(2, interpolation="nearest", name=f"{name}_up")(x)
    tap = layers.Conv2D(width, 1, use_bias=False, name=f"{name}_fine")(tap)
    x = layers.Add(name=f"{name}_join")([x, tap])
    x = normalized(x, f"{name}_join")
    x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"{name}_mix")(x)
    return normalized(x, f"{name}_mix")
