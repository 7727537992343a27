"""Encoders: what turns an image into feature maps at strides 2, 4, 8, ..., and the numbers they were trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np


@dataclass(frozen=True, slots=True)
class Encoder:
    """One row of `ENCODERS`.

    Attributes:
        application: Builder with the signature of `keras.applications.MobileNet`.
        stem: Name of the layer that reads the bands.
        taps: Last layer of each stride, in pixels, from fine to coarse.
        scale: Network input = raw value (0 to 255) * `scale` + `offset`, for each band.
        offset: See `scale`.
    """

    application: Callable[..., keras.Model]
    stem: str
    taps: Mapping[int, str]
    scale: float
    offset: float

    def __post_init__(self) -> None:
        strides = tuple(self.taps)
        if not strides or strides != tuple(2 ** (i + 1) for i in range(len(strides))):
            raise ValueError(f"taps must be at the strides 2, 4, 8, ... without a gap, got {strides}")


ENCODERS: Mapping[str, Encoder] = {
    "mobilenet": Encoder(
        application=keras.applications.MobileNet,
        stem="conv1",
        taps={
            2: "conv_pw_1_relu",
            4: "conv_pw_3_relu",
            8: "conv_pw_5_relu",
            16: "conv_pw_11_relu",
            32: "conv_pw_13_relu",
        },
        scale=1 / 127.5,
        offset=-1.0,
    ),
}


def encoder(name: str, bands: int, cut_stride: int, weights: str | Path | None = None) -> keras.Model:
    """Build an encoder for images of any size, cut behind its last layer of one stride.

    Args:
        name: A key of `ENCODERS`.
        bands: Bands of the input, 1 or more.
        cut_stride: Stride of the coarsest feature map, in pixels; what the network has behind it is left out.
        weights: Keras weights file of the whole network without top, for three bands, or None to start from random
            weights. For another number of bands the first convolution is averaged over the bands of the file and
            scaled, so that a grey image gives the same features.

    Returns:
        A model from ``(batch, height, width, bands)`` to a list of feature maps, one for each stride 2, 4, ...,
        `cut_stride`. Height and width must be multiples of `cut_stride`.

    Raises:
        ValueError: If the encoder, the stride or the number of bands is impossible, or the weights file is missing.
    """
    row = _row(name, bands, cut_stride)
    whole = _application(row, bands, weights)
    strides = [stride for stride in row.taps if stride <= cut_stride]
    features = [whole.get_layer(row.taps[stride]).output for stride in strides]
    return keras.Model(whole.input, features, name=f"{name}_{cut_stride}")


def _row(name: str, bands: int, cut_stride: int) -> Encoder:
    """Look an encoder up, with every reason why it cannot be built as one sentence."""
    if name not in ENCODERS:
        raise ValueError(f"no encoder is called {name!r}; choose one of {', '.join(sorted(ENCODERS))}")
    row = ENCODERS[name]
    if cut_stride not in row.taps:
        raise ValueError(
            f"{name} cannot be cut at stride {cut_stride}; choose one of {', '.join(map(str, row.taps))}"
        )
    if bands < 1:
        raise ValueError(f"bands must be 1 or more, got {bands}")
    return row


def _application(row: Encoder, bands: int, weights: str | Path | None) -> keras.Model:
    """Build the whole network without top for `bands` bands, with the weights of a file made for three."""
    if weights is None:
        return row.application(input_shape=(None, None, bands), include_top=False, weights=None)
    if not Path(weights).is_file():
        raise ValueError(f"{weights} is not a file; encoder weights are a Keras .weights.h5 file")
    trained = row.application(input_shape=(None, None, 3), include_top=False, weights=str(weights))
    if bands == 3:
        return trained
    network = row.application(input_shape=(None, None, bands), include_top=False, weights=None)
    for target, source in zip(network.layers, trained.layers, strict=True):
        values = source.get_weights()
        if target.name == row.stem:
            values[0] = _spread(values[0], bands)
        target.set_weights(values)
    return network


def _spread(kernel: np.ndarray, bands: int) -> np.ndarray:
    """Average a kernel ``(rows, cols, bands in, channels)`` over its bands; its sum over the bands stays the same."""
    return np.repeat(kernel.sum(axis=2, keepdims=True) / bands, bands, axis=2)
