"""SegNet of Badrinarayanan et al. (https://arxiv.org/abs/1511.00561): decoders unpool with the encoder's indices.

On VGG16 it is the paper's network. ResNet50 has one pooling layer and MobileNet none: their decoders mirror them too,
with pooling indices where there was a pool, and nearest-neighbour upsampling where a convolution was strided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import layers

from terraseam.models.layers.pooling import IndexedMaxPooling2D, Unpooling2D
from terraseam.models.networks.blocks import check_chip, convolved, decayed, normalized
from terraseam.models.networks.encoders import ENCODERS, EncoderOptions, load_encoder_weights, whole_encoder
from terraseam.models.networks.rewrite import narrow

VGG16_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and convolutions of each block of VGG16."""

RESNET50_STAGES = (
    ("conv5", 512, 1024, 2),
    ("conv4", 256, 512, 2),
    ("conv3", 128, 256, 2),
    ("conv2", 64, 64, 1),
)
"""Mirrored stages of ResNet50: name, inner channels, output channels, and upsampling factor."""


def segnet(bands: int, classes: int, *, encoder: str = "vgg16", **options: Any) -> keras.Model:
    """Build a SegNet for images of any size.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        encoder: ``vgg16``, ``resnet50`` or ``mobilenet``.
        **options: See `terraseam.models.networks.encoders.EncoderOptions`. The paper names no weight decay.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, scaled as the encoder expects, to logits
        ``(batch, height, width, classes)``. Height and width must be multiples of 32.

    Raises:
        ValueError: If an argument is invalid.
    """
    settings = EncoderOptions(**options)
    check_chip(bands, classes)
    if encoder not in SEGNETS:
        raise ValueError(f"no SegNet is built on {encoder!r}; choose one of {', '.join(sorted(SEGNETS))}")
    chip, logits = SEGNETS[encoder](bands, classes, settings)
    model = keras.Model(chip, logits, name=f"segnet_{encoder}")
    if encoder == "vgg16":
        load_encoder_weights(model, encoder, settings)
    return decayed(model, settings.weight_decay)


def segnet_basic(bands: int, classes: int, *, width: int = 64, weight_decay: float = 0.0) -> keras.Model:
    """Build the paper's SegNet-Basic for images of any size: four encoders and four decoders with 7 x 7 kernels.

    The paper applies local contrast normalization to its images; here the card's scaling is used instead.

    Args:
        bands: Bands of the input, 1 or more.
        classes: Classes of the output, 2 or more.
        width: Channels of every map.
        weight_decay: Factor of the L2 penalty on all kernels; 0 for none.

    Returns:
        A model from ``(batch, height, width, bands)``, float32, to logits ``(batch, height, width, classes)``.
        Height and width must be multiples of 16.

    Raises:
        ValueError: If an argument is invalid.
    """
    check_chip(bands, classes)
    if width < 1:
        raise ValueError(f"width must be 1 or more, got {width}")
    chip = x = keras.Input((None, None, bands))
    places = []
    for level in range(1, 5):
        x = convolved(x, width, 7, f"encoder{level}")
        x, place = IndexedMaxPooling2D(name=f"encoder{level}_pool")(x)
        places.append(place)
    for level in range(4, 0, -1):
        x = Unpooling2D(name=f"decoder{level}_unpool")([x, places[level - 1]])
        x = layers.Conv2D(width, 7, padding="same", use_bias=False, name=f"decoder{level}")(x)
        x = layers.BatchNormalization(name=f"decoder{level}_norm")(x)
    logits = layers.Conv2D(classes, 1, name="logits")(x)
    return decayed(keras.Model(chip, logits, name="segnet_basic"), weight_decay)


def _on_vgg16(
    bands: int, classes: int, settings: EncoderOptions
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build the paper's network: 13 convolutions, each with batch normalization, and their mirror image."""
    chip = x = keras.Input((None, None, bands))
    blocks = [(narrow(channels, settings.encoder_width), count) for channels, count in VGG16_BLOCKS]
    places = []
    for block, (width, count) in enumerate(blocks, start=1):
        for number in range(1, count + 1):
            x = convolved(x, width, 3, f"block{block}_conv{number}", use_bias=True)
        x, place = IndexedMaxPooling2D(name=f"block{block}_pool")(x)
        places.append(place)
    for block in range(len(blocks), 0, -1):
        width, count = blocks[block - 1]
        x = Unpooling2D(name=f"decoder{block}_unpool")([x, places[block - 1]])
        for number in range(count, 1, -1):
            x = convolved(x, width, 3, f"decoder{block}_conv{number}", use_bias=True)
        if block > 1:
            x = convolved(x, blocks[block - 2][0], 3, f"decoder{block}_conv1", use_bias=True)
    return chip, layers.Conv2D(classes, 3, padding="same", name="logits")(x)


def _on_resnet50(
    bands: int, classes: int, settings: EncoderOptions
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build ResNet50, a bottleneck decoder for each stage, and a transposed convolution for the first convolution.

    Its pooling uses overlapping 3 x 3 windows and is kept as trained; the indices are those of 2 x 2 windows.
    """
    network = whole_encoder("resnet50", bands, settings)
    x = network.get_layer(ENCODERS["resnet50"].taps[32]).output
    for stage, inner, channels, growth in RESNET50_STAGES:
        within = narrow(inner, settings.encoder_width)
        x = convolved(x, within, 1, f"decoder_{stage}_reduce")
        if growth > 1:
            x = layers.UpSampling2D(growth, name=f"decoder_{stage}_up")(x)
        x = convolved(x, within, 3, f"decoder_{stage}_mix")
        x = convolved(x, narrow(channels, settings.encoder_width), 1, f"decoder_{stage}_expand")
    _, places = IndexedMaxPooling2D(name="pool1_places")(network.get_layer("conv1_relu").output)
    x = Unpooling2D(name="decoder_pool1_unpool")([x, places])
    x = convolved(x, narrow(64, settings.encoder_width), 3, "decoder_pool1_mix")
    logits = layers.Conv2DTranspose(classes, 7, strides=2, padding="same", name="logits")(x)
    return network.input, logits


def _on_mobilenet(
    bands: int, classes: int, settings: EncoderOptions
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build MobileNet and its 13 blocks mirrored, pointwise before depthwise, ending in a transposed convolution."""
    network = whole_encoder("mobilenet", bands, settings)
    x = network.get_layer(ENCODERS["mobilenet"].taps[32]).output
    for block in range(13, 0, -1):
        depthwise = network.get_layer(f"conv_dw_{block}")
        x = layers.Conv2D(depthwise.output.shape[-1], 1, use_bias=False, name=f"decoder{block}_pw")(x)
        x = normalized(x, f"decoder{block}_pw", 6.0)
        if depthwise.strides[0] > 1:
            x = layers.UpSampling2D(depthwise.strides, name=f"decoder{block}_up")(x)
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name=f"decoder{block}_dw")(x)
        x = normalized(x, f"decoder{block}_dw", 6.0)
    logits = layers.Conv2DTranspose(classes, 3, strides=2, padding="same", name="logits")(x)
    return network.input, logits


SEGNETS: Mapping[str, Callable[[int, int, EncoderOptions], tuple[keras.KerasTensor, keras.KerasTensor]]] = {
    "vgg16": _on_vgg16,
    "resnet50": _on_resnet50,
    "mobilenet": _on_mobilenet,
}
