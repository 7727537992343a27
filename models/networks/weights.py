"""Load pretrained encoder weights, adapted to any number of bands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np


def fetch_imagenet(application: Callable[..., keras.Model], name: str) -> keras.Model:
    """Build an encoder without top and let Keras download its ImageNet weights.

    Raises:
        ValueError: If they cannot be downloaded.
    """
    try:
        return application(input_shape=(None, None, 3), include_top=False, weights="imagenet")
    except Exception as error:
        raise ValueError(
            f"the ImageNet weights of {name} cannot be downloaded ({error}); download them on a machine with "
            f"internet access, and give the file as encoder weights"
        ) from error


def read_weights(network: keras.Model, path: Path, name: str) -> None:
    """Read a Keras weights file into the encoder that it was saved from.

    Raises:
        ValueError: If the file holds other weights.
    """
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path} does not hold the weights of {name} of this width, without top (names or shapes of its "
            f"layers differ); give the file for this encoder"
        ) from error


def copy_weights(trained: keras.Model, network: keras.Model, stem: str, bgr: bool) -> None:
    """Copy weights between layers of the same names, and adapt those of the first convolution to the bands.

    Args:
        trained: Encoder for three bands.
        network: Network that receives the weights; it may have further layers.
        stem: Name of the layer that reads the bands.
        bgr: Whether `trained` expects blue, green, red. `network` takes red, green, blue.
    """
    for source in trained.layers:
        values = source.get_weights()
        if not values:
            continue
        target = network.get_layer(source.name)
        if source.name == stem:
            bands = target.kernel.shape[2]
            kernel = values[0][:, :, ::-1] if bgr else values[0]
            values[0] = kernel if bands == 3 else _spread(kernel, bands)
        target.set_weights(values)


def _spread(kernel: np.ndarray, bands: int) -> np.ndarray:
    """Average a kernel ``(rows, cols, bands in, channels)`` over its bands, preserving its sum over the bands."""
    return np.repeat(kernel.sum(axis=2, keepdims=True) / bands, bands, axis=2)
