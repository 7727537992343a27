"""The U-Net of Ronneberger et al. (https://arxiv.org/abs/1505.04597) with the contracting path of the paper."""

from __future__ import annotations

import keras
from keras import layers

from terraseam.models.networks.blocks import check_chip, check_dropout, decayed

LEVELS = 4


def plain_unet(
    bands: int, classes: int, *, width: int = 64, dropout: float = 0.5, weight_decay: float = 0.0
) -> keras.Model:
    """Build the U-Net of the paper for images of any size.

    The paper's convolutions crop the border; here they preserve the size, so that logits and image have one size.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        width: Channels of the finest maps; they double at each level.
        dropout: Dropout rate at the end of the contracting path.
        weight_decay: Factor of the L2 penalty on all kernels; 0 for none. The paper names none.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, to logits ``(batch, height, width, classes)``.
        Height and width must be multiples of 16.

    Raises:
        ValueError: If an argument is invalid.
    """
    check_chip(bands, classes)
    check_dropout(dropout)
    if width < 1:
        raise ValueError(f"width must be 1 or more, got {width}")

    chip = x = keras.Input((None, None, bands))
    taps = []
    for level in range(LEVELS):
        x = _two_convolutions(x, width * 2**level, f"encoder{2**level}")
        if level == LEVELS - 1:
            x = layers.Dropout(dropout, name=f"encoder{2**level}_drop")(x)
        taps.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder{2**level}_pool")(x)
    x = _two_convolutions(x, width * 2**LEVELS, "middle")
    x = layers.Dropout(dropout, name="middle_drop")(x)
    for level in range(LEVELS - 1, -1, -1):
        name = f"decoder{2**level}"
        x = layers.Conv2DTranspose(width * 2**level, 2, strides=2, name=f"{name}_up")(x)
        x = layers.Concatenate(name=f"{name}_join")([taps[level], x])
        x = _two_convolutions(x, width * 2**level, name)
    logits = layers.Conv2D(classes, 1, name="logits")(x)
    return decayed(keras.Model(chip, logits, name="plain_unet"), weight_decay)


def _two_convolutions(x: keras.KerasTensor, width: int, name: str) -> keras.KerasTensor:
    """Apply two 3 x 3 convolutions with ReLU, with the paper's initialization (He et al.)."""
    for number in (1, 2):
        x = layers.Conv2D(
            width,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",
            name=f"{name}_conv{number}",
        )(x)
    return x
