"""The pyramid scene parsing network of Zhao et al. (https://arxiv.org/abs/1612.01105)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from terraseam.models.layers.bilinear import EnlargeLike2D
from terraseam.models.layers.pooling import BinMean2D
from terraseam.models.networks.blocks import check_chip, check_dropout, convolved, decayed
from terraseam.models.networks.encoders import EncoderOptions, encoder_row, whole_encoder
from terraseam.models.networks.rewrite import dilated

PYRAMID = (1, 2, 3, 6)
OUTPUT_STRIDES = (8, 16)
AUXILIARY_WEIGHT = 0.4
"""Weight of the auxiliary head's loss in training, relative to 1 for the logits (section 3.3 of the paper)."""


@dataclass(frozen=True, slots=True)
class EncoderTaps:
    """Encoder layers that feed a PSPNet's pyramid and its auxiliary head."""

    features: str
    auxiliary: str


SOURCES: Mapping[str, EncoderTaps] = {
    "vgg16": EncoderTaps("block5_conv3", "block4_conv3"),
    "resnet50": EncoderTaps("conv5_block3_out", "conv4_block6_out"),
    "mobilenet": EncoderTaps("conv_pw_13_relu", "conv_pw_11_relu"),
}


def pspnet(
    bands: int,
    classes: int,
    *,
    encoder: str = "resnet50",
    output_stride: int = 8,
    auxiliary: bool = False,
    dropout: float = 0.1,
    **options: Any,
) -> keras.Model:
    """Build a PSPNet for images of any size.

    Every logit depends on means over the whole image, so the receptive field is unbounded. Strides beyond
    `output_stride` become dilations. The paper's ResNet50 begins with three 3 x 3 convolutions; here it is that of
    `keras.applications`, which begins with one of 7 x 7. VGG16 is tapped before its last pool.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        encoder: A key of `terraseam.models.networks.encoders.ENCODERS`.
        output_stride: Stride of the features, in pixels: 8, as in the paper, or 16.
        auxiliary: Whether to add a second output for training, the logits of an auxiliary head on features
            from before the last stage. Its loss is weighted by `AUXILIARY_WEIGHT`; `without_auxiliary` removes it.
        dropout: Dropout rate before each classification.
        **options: See `terraseam.models.networks.encoders.EncoderOptions`. The paper's `weight_decay` is 1e-4.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, scaled as the encoder expects, to logits
        ``(batch, height, width, classes)``, or to a list of these and the auxiliary logits. Height and width must be
        multiples of `output_stride`.

    Raises:
        ValueError: If an argument is invalid.
    """
    settings = EncoderOptions(**options)
    check_chip(bands, classes)
    check_dropout(dropout)
    encoder_row(encoder)
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"output_stride must be one of {', '.join(map(str, OUTPUT_STRIDES))}, got {output_stride}"
        )
    source = SOURCES[encoder]
    whole = whole_encoder(encoder, bands, settings)
    network = dilated(keras.Model(whole.input, whole.get_layer(source.features).output), output_stride)

    features = network.output
    width = max(1, features.shape[-1] // len(PYRAMID))
    levels = [features]
    for bins in PYRAMID:
        x = BinMean2D(bins, name=f"pyramid{bins}_mean")(features)
        x = convolved(x, width, 1, f"pyramid{bins}")
        levels.append(EnlargeLike2D(name=f"pyramid{bins}_up")([x, features]))
    x = layers.Concatenate(name="pyramid_join")(levels)
    heads = {"logits": (x, width)}
    if auxiliary:
        early = network.get_layer(source.auxiliary).output
        heads["auxiliary"] = (early, max(1, early.shape[-1] // 4))
    outputs = []
    for name, (read, mixed) in heads.items():
        x = convolved(read, mixed, 3, f"{name}_mix")
        x = layers.Dropout(dropout, name=f"{name}_drop")(x)
        x = layers.Conv2D(classes, 1, name=f"{name}_score")(x)
        outputs.append(EnlargeLike2D(name=name)([x, network.input]))
    model = keras.Model(network.input, outputs if auxiliary else outputs[0], name=f"pspnet_{encoder}")
    return decayed(model, settings.weight_decay)


def without_auxiliary(model: keras.Model) -> keras.Model:
    """Return a PSPNet without its training-only auxiliary head; the two models share their weights."""
    return keras.Model(model.input, model.outputs[0], name=model.name)
