"""Encoders: feature maps of an image at strides 1, 2, 4, 8, ..., and the input scaling they were trained with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras

from terraseam.models.networks.rewrite import narrowed
from terraseam.models.networks.weights import copy_weights, fetch_imagenet, read_weights


@dataclass(frozen=True, slots=True)
class Encoder:
    """One row of `ENCODERS`.

    Attributes:
        application: Builder with the signature of `keras.applications.MobileNet`.
        stem: Name of the layer that reads the bands.
        taps: Last layer of each stride, in pixels, from fine to coarse.
        scale: Network input = raw value (0 to 255) * `scale` + `offset`, for each band.
        offset: See `scale`; one number, or one each for red, green and blue.
        bgr: Whether Keras' own weights expect blue, green, red. Networks here always take red, green, blue.
        normalized: Whether it has batch normalization; without it, the scale of its features is arbitrary.
    """

    application: Callable[..., keras.Model]
    stem: str
    taps: Mapping[int, str]
    scale: float
    offset: float | tuple[float, float, float]
    bgr: bool = False
    normalized: bool = True

    def __post_init__(self) -> None:
        strides = tuple(self.taps)
        if not strides or strides[0] not in (1, 2) or strides != _doubling(strides[0], len(strides)):
            raise ValueError(
                f"taps must be at the strides 1, 2, 4, 8, ... or 2, 4, 8, ... without a gap, got {strides}"
            )

    def scaling(self, bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return scale and offset of each band; unless there are three, all bands use the mean offset."""
        if not isinstance(self.offset, tuple):
            offsets = (self.offset,) * bands
        elif bands == len(self.offset):
            offsets = self.offset
        else:
            offsets = (sum(self.offset) / len(self.offset),) * bands
        return (self.scale,) * bands, offsets


def _doubling(first: int, count: int) -> tuple[int, ...]:
    return tuple(first * 2**i for i in range(count))


IMAGENET_MEANS = (-123.68, -116.779, -103.939)

ENCODERS: Mapping[str, Encoder] = {
    "vgg16": Encoder(
        application=keras.applications.VGG16,
        stem="block1_conv1",
        taps={
            1: "block1_conv2",
            2: "block2_conv2",
            4: "block3_conv3",
            8: "block4_conv3",
            16: "block5_conv3",
            32: "block5_pool",
        },
        scale=1.0,
        offset=IMAGENET_MEANS,
        bgr=True,
        normalized=False,
    ),
    "resnet50": Encoder(
        application=keras.applications.ResNet50,
        stem="conv1_conv",
        taps={
            2: "conv1_relu",
            4: "conv2_block3_out",
            8: "conv3_block4_out",
            16: "conv4_block6_out",
            32: "conv5_block3_out",
        },
        scale=1.0,
        offset=IMAGENET_MEANS,
        bgr=True,
    ),
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


@dataclass(frozen=True, slots=True)
class EncoderOptions:
    """Options that every builder accepts besides its own arguments.

    Attributes:
        encoder_weights: Keras weights file of the whole encoder without top, for three bands; ``imagenet`` to
            let Keras download them; None for random weights. For another number of bands the first convolution
            is averaged over the bands of the file and rescaled, so that a grey image gives the same
            features.
        encoder_width: Width multiplier of the encoder's channels. Weights only fit the width they were trained at.
        weight_decay: Factor of the L2 penalty on all kernels, including the encoder's; 0 for none.

    Raises:
        ValueError: If the weights file does not exist, or a number is out of range.
    """

    encoder_weights: str | Path | None = None
    encoder_width: float = 1.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        weights = self.encoder_weights
        if weights not in (None, "imagenet") and not Path(str(weights)).is_file():
            raise ValueError(f"{weights} is not a file; encoder weights are a Keras .weights.h5 file")
        if self.encoder_width <= 0:
            raise ValueError(f"encoder_width must be more than 0, got {self.encoder_width}")
        if weights == "imagenet" and self.encoder_width != 1:
            raise ValueError(
                f"ImageNet weights need encoder_width 1, got {self.encoder_width}; leave out one of the two"
            )


def encoder(name: str, bands: int, cut_stride: int, weights: str | Path | None = None) -> keras.Model:
    """Build an encoder for images of any size, truncated after its last layer of a given stride.

    Args:
        name: A key of `ENCODERS`.
        bands: Bands of the input, 1 or more.
        cut_stride: Stride of the coarsest feature map, in pixels; later layers are dropped.
        weights: Source of its weights; see `EncoderOptions`.

    Returns:
        A model from ``(batch, height, width, bands)`` to a list of feature maps, one for each stride it has
        up to `cut_stride`. Height and width must be multiples of `cut_stride`.

    Raises:
        ValueError: If the encoder, the stride or the number of bands is invalid, or the weights are unavailable.
    """
    return cut_encoder(name, bands, cut_stride, EncoderOptions(encoder_weights=weights))


def cut_encoder(name: str, bands: int, cut_stride: int, options: EncoderOptions) -> keras.Model:
    """Build a truncated encoder like `encoder`, with all options."""
    row = encoder_row(name)
    if cut_stride not in row.taps:
        raise ValueError(
            f"{name} cannot be cut at stride {cut_stride}; choose one of {', '.join(map(str, row.taps))}"
        )
    whole = whole_encoder(name, bands, options)
    strides = [stride for stride in row.taps if stride <= cut_stride]
    features = [whole.get_layer(row.taps[stride]).output for stride in strides]
    return keras.Model(whole.input, features, name=f"{name}_{cut_stride}")


def whole_encoder(name: str, bands: int, options: EncoderOptions) -> keras.Model:
    """Build a whole encoder without top, as in `keras.applications`.

    Args:
        name: A key of `ENCODERS`.
        bands: Bands of the input, 1 or more.
        options: Weights and width.

    Returns:
        A model from ``(batch, height, width, bands)``, scaled by `Encoder.scaling`, to its last feature map; its
        layers keep their names.

    Raises:
        ValueError: If the encoder or the number of bands is invalid, or the weights are unavailable.
    """
    row = encoder_row(name)
    if bands < 1:
        raise ValueError(f"bands must be 1 or more, got {bands}")
    network = _build(row, bands, options.encoder_width)
    load_encoder_weights(network, name, options)
    return network


def load_encoder_weights(network: keras.Model, name: str, options: EncoderOptions) -> None:
    """Load the encoder weights named in `options`, if any, into the layers of the same names.

    Raises:
        ValueError: If the weights are unavailable, or are not those of this encoder.
    """
    row, weights = encoder_row(name), options.encoder_weights
    if weights is None:
        return
    if weights == "imagenet":
        trained = fetch_imagenet(row.application, name)
    else:
        trained = _build(row, 3, options.encoder_width)
        read_weights(trained, Path(weights), name)
    copy_weights(trained, network, row.stem, row.bgr)


def encoder_row(name: str) -> Encoder:
    """Return the row of `ENCODERS` with a given name.

    Raises:
        ValueError: If there is no such encoder; the message lists them.
    """
    if name not in ENCODERS:
        raise ValueError(f"no encoder is called {name!r}; choose one of {', '.join(sorted(ENCODERS))}")
    return ENCODERS[name]


def _build(row: Encoder, bands: int, width: float) -> keras.Model:
    network = row.application(input_shape=(None, None, bands), include_top=False, weights=None)
    return network if width == 1 else narrowed(network, width)
