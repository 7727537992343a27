"""Building blocks, argument checks and weight decay shared by the semantic networks."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

KERNELS = {"kernel_regularizer": "kernel", "depthwise_regularizer": "kernel"}
"""Maps the attribute of a layer that holds a regularizer to the attribute that holds the regularized weight."""


def check_chip(bands: int, classes: int) -> None:
    """Check the numbers of input bands and output classes.

    Raises:
        ValueError: If there are no bands, or fewer than two classes.
    """
    if bands < 1:
        raise ValueError(f"bands must be 1 or more, got {bands}")
    if classes < 2:
        raise ValueError(f"classes must be 2 or more, got {classes}")


def check_dropout(dropout: float) -> None:
    """Check a dropout rate.

    Raises:
        ValueError: If it is not at least 0 and less than 1.
    """
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be 0 or more and less than 1, got {dropout}")


def normalized(x: keras.KerasTensor, name: str, most: float | None = None) -> keras.KerasTensor:
    """Apply batch normalization and ReLU, optionally capped at `most`."""
    x = layers.BatchNormalization(name=f"{name}_norm")(x)
    return layers.ReLU(most, name=f"{name}_relu")(x)


def convolved(
    x: keras.KerasTensor, width: int, kernel: int, name: str, *, use_bias: bool = False
) -> keras.KerasTensor:
    """Apply a size-preserving convolution to `width` channels, batch normalization and ReLU."""
    x = layers.Conv2D(width, kernel, padding="same", use_bias=use_bias, name=name)(x)
    return normalized(x, name)


def decayed(model: keras.Model, weight_decay: float) -> keras.Model:
    """Add an L2 penalty to all kernels of a network, including its encoder's, but not to biases and scales.

    Args:
        model: Functional network.
        weight_decay: Factor of the sum of squares, 0 for none.

    Returns:
        `model` itself.

    Raises:
        ValueError: If the factor is negative.
    """
    if weight_decay < 0:
        raise ValueError(f"weight_decay must be 0 or more, got {weight_decay}")
    if weight_decay:
        for layer in model.layers:
            _penalize(layer, keras.regularizers.L2(weight_decay))
    return model


def _penalize(layer: Any, penalty: keras.regularizers.Regularizer) -> None:
    for attribute, kernel in KERNELS.items():
        if hasattr(layer, attribute) and hasattr(layer, kernel):
            setattr(layer, attribute, penalty)
            getattr(layer, kernel).regularizer = penalty
