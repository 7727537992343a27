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
"""Weight of the auxiliary head's loss in training, beside 1 of the logits' (section 3.3 of the paper)."""


@dataclass(frozen=True, slots=True)
class EncoderTaps:
    """Layers of an encoder that a PSPNet reads: those of the pyramid, and those of the auxiliary head."""

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

    Means over the whole image go into every logit: it has no finite reach. Strides beyond `output_stride` are made
    dilations. The paper's ResNet50 begins with three convolutions of 3 x 3; here it is that of `keras.applications`,
    which begins with one of 7 x 7. VGG16 is read before its last pool.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        encoder: A key of `terraseam.models.networks.encoders.ENCODERS`.
        output_stride: Stride of the features, in pixels: 8, as in the paper, or 16.
        auxiliary: Whether the model has a second output for training, the logits of an auxiliary head on features
            from before the last stage. Its loss counts `AUXILIARY_WEIGHT`; `without_auxiliary` drops it.
        dropout: Share of the features before each classification that training drops.
        **options: See `terraseam.models.networks.encoders.EncoderOptions`. The paper's `weight_decay` is 1e-4.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, scaled as the encoder wants it, to logits
        ``(batch, height, width, classes)``, or to a list of these and the auxiliary ones. Height and width must be
        multiples of `output_stride`.

    Raises:
        ValueError: If an argument is impossible.
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
    """Return a PSPNet without the head that only training needs; both share their weights."""
    return keras.Model(model.input, model.outputs[0], name=model.name)
