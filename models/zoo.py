"""The zoo: every architecture that can be built, by name, with what is known before it is built.

Keras is imported only when a network is built, so that reading the table is fast.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from terraseam.models.bundle.values import Scaling
from terraseam.models.reach.reach import Reach

if TYPE_CHECKING:
    import keras

SEMANTIC_CLASSES = 21
INSTANCE_CLASSES = 91
PLAIN_SCALE, PLAIN_OFFSET = 1 / 127.5, -1.0
"""Scaling of 8-bit values for networks without a pretrained encoder."""


class ZooError(ValueError):
    """A network that is not in the zoo, or cannot be built with these options."""


@dataclass(frozen=True, slots=True)
class Paper:
    """The paper that introduced an architecture."""

    title: str
    link: str


@dataclass(frozen=True, slots=True)
class Row:
    """One network of the zoo.

    Attributes:
        architecture: Name of the architecture.
        encoder: Name of its encoder, None if it has its own contracting path.
        task: ``semantic`` or ``instances``.
        paper: Paper that introduced it.
        parameters: Number of weights with three bands and default options, for `SEMANTIC_CLASSES` classes (or
            `INSTANCE_CLASSES` including the background, for instances), including batch normalization statistics.
        stride: Chips must be multiples of this many pixels.
        reach: Its receptive field, None if it covers the whole chip.
        builder: Module and name of the builder.
        arguments: Arguments with which the builder builds this architecture.
    """

    architecture: str
    encoder: str | None
    task: str
    paper: Paper
    parameters: int
    stride: int
    reach: Reach | None
    builder: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


FCN = Paper("Fully Convolutional Networks for Semantic Segmentation", "https://arxiv.org/abs/1411.4038")
SEGNET = Paper("SegNet: A Deep Convolutional Encoder-Decoder", "https://arxiv.org/abs/1511.00561")
UNET = Paper(
    "U-Net: Convolutional Networks for Biomedical Image Segmentation", "https://arxiv.org/abs/1505.04597"
)
PSPNET = Paper("Pyramid Scene Parsing Network", "https://arxiv.org/abs/1612.01105")
MASK_RCNN = Paper("Mask R-CNN", "https://arxiv.org/abs/1703.06870")

_FCN, _SEGNET, _UNET, _PSPNET, _MASK_RCNN = (
    "terraseam.models.networks.fcn:fcn",
    "terraseam.models.networks.segnet:segnet",
    "terraseam.models.networks.unet:unet",
    "terraseam.models.networks.pspnet:pspnet",
    "terraseam.models.detection.mask_rcnn:mask_rcnn",
)
_FCN_VGG16 = Reach(218, 218, 218, 218)
_FCN_RESNET50 = Reach(369, 338, 369, 338)
_FCN_MOBILENET = Reach(254, 285, 254, 285)

ZOO: tuple[Row, ...] = (
    Row("fcn32s", "vgg16", "semantic", FCN, 136_152_917, 32, _FCN_VGG16, _FCN, {"stride": 32}),
    Row("fcn32s", "resnet50", "semantic", FCN, 77_048_213, 32, _FCN_RESNET50, _FCN, {"stride": 32}),
    Row("fcn32s", "mobilenet", "semantic", FCN, 30_999_253, 32, _FCN_MOBILENET, _FCN, {"stride": 32}),
    Row("fcn16s", "vgg16", "semantic", FCN, 134_815_994, 32, _FCN_VGG16, _FCN, {"stride": 16}),
    Row("fcn16s", "resnet50", "semantic", FCN, 75_722_042, 32, _FCN_RESNET50, _FCN, {"stride": 16}),
    Row("fcn16s", "mobilenet", "semantic", FCN, 29_662_330, 32, _FCN_MOBILENET, _FCN, {"stride": 16}),
    Row("fcn8s", "vgg16", "semantic", FCN, 134_489_759, 32, _FCN_VGG16, _FCN, {"stride": 8}),
    Row("fcn8s", "resnet50", "semantic", FCN, 75_401_183, 32, _FCN_RESNET50, _FCN, {"stride": 8}),
    Row("fcn8s", "mobilenet", "semantic", FCN, 29_336_095, 32, _FCN_MOBILENET, _FCN, {"stride": 8}),
    Row("segnet", "vgg16", "semantic", SEGNET, 29_470_997, 32, Reach(186, 186, 186, 186), _SEGNET),
    Row("segnet", "resnet50", "semantic", SEGNET, 28_924_117, 32, Reach(305, 274, 305, 274), _SEGNET),
    Row("segnet", "mobilenet", "semantic", SEGNET, 6_458_837, 32, Reach(286, 317, 286, 317), _SEGNET),
    Row(
        "segnet_basic",
        None,
        "semantic",
        SEGNET,
        1_417_749,
        16,
        Reach(93, 93, 93, 93),
        "terraseam.models.networks.segnet:segnet_basic",
    ),
    Row(
        "unet",
        None,
        "semantic",
        UNET,
        31_033_045,
        16,
        Reach(94, 94, 94, 94),
        "terraseam.models.networks.plain_unet:plain_unet",
    ),
    Row("unet", "vgg16", "semantic", UNET, 14_952_929, 16, Reach(106, 106, 106, 106), _UNET),
    Row("unet", "resnet50", "semantic", UNET, 8_874_517, 16, Reach(161, 146, 161, 146), _UNET),
    Row("unet", "mobilenet", "semantic", UNET, 1_833_301, 16, Reach(110, 125, 110, 125), _UNET),
    Row("pspnet", "vgg16", "semantic", PSPNET, 16_161_749, 8, None, _PSPNET),
    Row("pspnet", "resnet50", "semantic", PSPNET, 46_677_397, 8, None, _PSPNET),
    Row("pspnet", "mobilenet", "semantic", PSPNET, 9_006_549, 8, None, _PSPNET),
    Row("mask_rcnn", "resnet50_fpn", "instances", MASK_RCNN, 44_534_193, 32, None, _MASK_RCNN),
    Row("mask_rcnn", "mobilenet_fpn", "instances", MASK_RCNN, 23_683_825, 32, None, _MASK_RCNN),
)
"""All networks, grouped by architecture."""


def find(architecture: str, encoder: str | None = None) -> Row:
    """Return the row of a network.

    Args:
        architecture: Name of the architecture.
        encoder: Name of its encoder; None or ``none`` for its own contracting path.

    Raises:
        ZooError: If there is no such network; the message lists the choices.
    """
    encoder_name = None if encoder == "none" else encoder
    rows = [row for row in ZOO if row.architecture == architecture]
    if not rows:
        known = ", ".join(dict.fromkeys(row.architecture for row in ZOO))
        raise ZooError(f"no architecture is called {architecture!r}; choose one of {known}")
    for row in rows:
        if row.encoder == encoder_name:
            return row
    known = ", ".join(row.encoder or "none" for row in rows)
    raise ZooError(
        f"{architecture} is not built on the encoder {encoder_name or 'none'!r}; choose one of {known}"
    )


def build(architecture: str, encoder: str | None, bands: int, classes: int, **options: Any) -> keras.Model:
    """Build a network of the zoo.

    Args:
        architecture: Name of the architecture.
        encoder: Name of its encoder; None or ``none`` for its own contracting path.
        bands: Bands of the input.
        classes: Classes of the output.
        **options: Further arguments of its builder; see `option_names`.

    Raises:
        ZooError: If there is no such network, or it takes no such option.
        ValueError: If an argument is invalid.
    """
    row = find(architecture, encoder)
    unknown = sorted(set(options) - set(option_names(row)))
    if unknown:
        raise ZooError(
            f"{architecture} takes no option {', '.join(map(repr, unknown))}; it takes {', '.join(option_names(row))}"
        )
    floats = {
        name: options[name] for name in whole_numbers(row) & set(options) if isinstance(options[name], float)
    }
    broken = sorted(name for name, value in floats.items() if not value.is_integer())
    if broken:
        listing = ", ".join(f"{name} is {floats[name]:g}" for name in broken)
        raise ZooError(f"{architecture} is built with whole numbers: {listing}")
    options |= {name: int(value) for name, value in floats.items()}
    base = {} if row.encoder is None else {"encoder": row.encoder}
    return _builder(row)(bands, classes, **base, **row.arguments, **options)


def option_names(row: Row) -> tuple[str, ...]:
    """Return the names of a network's options for `build`; each takes a number or a string."""
    from terraseam.models.networks.encoders import EncoderOptions

    taken = inspect.signature(_builder(row)).parameters.values()
    own = [parameter.name for parameter in taken if parameter.kind is parameter.KEYWORD_ONLY]
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken):
        own += [option.name for option in fields(EncoderOptions)]
    return tuple(name for name in dict.fromkeys(own) if name not in {"encoder", "settings", *row.arguments})


def whole_numbers(row: Row) -> set[str]:
    """Return the names of a network's options that are integers."""
    taken = inspect.signature(_builder(row)).parameters.values()
    return {parameter.name for parameter in taken if parameter.annotation in ("int", "int | None")}


def input_scaling(encoder: str | None, bands: int) -> Scaling:
    """Return the scaling from 8-bit raster values to the input range of an encoder, for a card.

    Args:
        encoder: The encoder of a row.
        bands: Bands of the input.
    """
    if encoder is None:
        return Scaling((PLAIN_SCALE,) * bands, (PLAIN_OFFSET,) * bands)
    from terraseam.models.networks.encoders import encoder_row

    return Scaling(*encoder_row(encoder.removesuffix("_fpn")).scaling(bands))


def _builder(row: Row) -> Callable[..., keras.Model]:
    module, name = row.builder.split(":")
    builder: Callable[..., keras.Model] = getattr(importlib.import_module(module), name)
    return builder
