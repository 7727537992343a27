"""Effect of each kind of Keras layer on the extent and receptive field of a feature map."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal

import keras

from terraseam.models.layers.bilinear import EnlargeLike2D
from terraseam.models.layers.pooling import BinMean2D, IndexedMaxPooling2D, Unpooling2D
from terraseam.models.reach.axis import Enlarge, Frame, Rule, Slide, Spread
from terraseam.models.reach.graph import GraphError, Step, UnknownLayerError

layers = keras.layers

Effect = tuple[Rule, Rule] | Literal["pointwise", "blur", "like", "whole"]
"""Rules for rows and columns; or ``pointwise``: each element depends on its own position; ``blur``: each depends on
the whole map; ``like``: each depends on all maps entirely, and the last of them gives the size; ``whole``: the output
has no rows and columns, and depends on the whole map."""


def effect_of(step: Step) -> Effect:
    """Return the effect of a step on its maps.

    Raises:
        UnknownLayerError: If the receptive field of the layer is not known.
        GraphError: If it is channels-first.
    """
    layer = step.layer
    if getattr(layer, "data_format", None) == "channels_first":
        raise GraphError(f"layer {layer.name!r} has channels first; build the network with channels last")
    rule = LAYERS.get(type(layer))
    if rule is not None:
        return rule(layer)
    if type(layer).__module__.startswith("keras.src.ops."):
        return _operation(step)
    raise UnknownLayerError(layer)


def _sliding(layer: Any) -> Effect:
    _check_activation(layer)
    return _slides(layer, layer.kernel_size, layer.dilation_rate)


def _pooling(layer: Any) -> Effect:
    return _slides(layer, layer.pool_size, (1, 1))


def _slides(layer: Any, sizes: Iterable[int], dilations: Iterable[int]) -> Effect:
    same = layer.padding == "same"
    rows, columns = (
        Slide(int(size), int(step), int(dilation), same)
        for size, step, dilation in zip(sizes, layer.strides, dilations, strict=True)
    )
    return rows, columns


def _transposed(layer: Any) -> Effect:
    _check_activation(layer)
    extras = layer.output_padding
    extras = (extras, extras) if extras is None or isinstance(extras, int) else extras
    rows, columns = (
        Spread(int(size), int(step), int(dilation), layer.padding == "same", extra)
        for size, step, dilation, extra in zip(
            layer.kernel_size, layer.strides, layer.dilation_rate, extras, strict=True
        )
    )
    return rows, columns


def _upsampling(layer: Any) -> Effect:
    if layer.interpolation not in ("nearest", "bilinear"):
        raise UnknownLayerError(layer, f"its interpolation is {layer.interpolation}, not nearest or bilinear")
    rows, columns = (Enlarge(int(factor), layer.interpolation == "bilinear") for factor in layer.size)
    return rows, columns


def _pooling_by_two(_: Any) -> Effect:
    return Slide(2, 2), Slide(2, 2)


def _unpooling_by_two(_: Any) -> Effect:
    """Return the effect of upsampling: each element reads one value and one index, as if both were repeated."""
    return Enlarge(2), Enlarge(2)


def _padding(layer: Any) -> Effect:
    (top, bottom), (left, right) = layer.padding
    return Frame(int(top), int(bottom)), Frame(int(left), int(right))


def _cropping(layer: Any) -> Effect:
    (top, bottom), (left, right) = layer.cropping
    return Frame(-int(top), -int(bottom)), Frame(-int(left), -int(right))


def _pointwise(layer: Any) -> Effect:
    _check_activation(layer)
    return "pointwise"


def _over_channels(layer: Any) -> Effect:
    """Return ``pointwise`` if the layer reduces over channels only, otherwise ``blur``."""
    axes = layer.axis if isinstance(layer.axis, list | tuple) else [layer.axis]
    return "pointwise" if set(axes) <= {-1, 3} else "blur"


def _per_channel(layer: Any) -> Effect:
    """Return ``pointwise`` for a layer whose parameters run along the channels."""
    if _over_channels(layer) != "pointwise":
        raise UnknownLayerError(layer, f"its axis is {layer.axis}, not that of the channels")
    return "pointwise"


def _shared_slopes(layer: Any) -> Effect:
    if not {1, 2} <= set(layer.shared_axes or ()):
        raise UnknownLayerError(layer, "its slopes differ between pixels; give it shared_axes=[1, 2]")
    return "pointwise"


def _blur(_: Any) -> Effect:
    return "blur"


def _like(_: Any) -> Effect:
    return "like"


def _whole(_: Any) -> Effect:
    return "whole"


def _check_activation(layer: Any) -> None:
    activation = getattr(layer, "activation", None)
    module = getattr(activation, "__module__", None) or type(activation).__module__
    if activation is not None and module.split(".")[0] != "keras":
        raise UnknownLayerError(layer, "its activation is not a Keras activation")


def _table(rule: Callable[[Any], Effect], *names: str) -> dict[type, Callable[[Any], Effect]]:
    """Map the layers of these names to a rule, skipping names that this version of Keras lacks."""
    return {getattr(layers, name): rule for name in names if hasattr(layers, name)}


LAYERS: dict[type, Callable[[Any], Effect]] = {
    **_table(_sliding, "Conv2D", "DepthwiseConv2D", "SeparableConv2D"),
    **_table(_transposed, "Conv2DTranspose"),
    **_table(_pooling, "MaxPooling2D", "AveragePooling2D"),
    **_table(_upsampling, "UpSampling2D"),
    **_table(_padding, "ZeroPadding2D"),
    **_table(_cropping, "Cropping2D"),
    **_table(_pointwise, "Activation", "Dense", "Identity", "Rescaling"),
    **_table(_pointwise, "ReLU", "LeakyReLU", "ELU"),
    **_table(_pointwise, "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    **_table(_pointwise, "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"),
    **_table(_shared_slopes, "PReLU"),
    **_table(_per_channel, "BatchNormalization", "Normalization", "Concatenate"),
    **_table(_over_channels, "LayerNormalization", "UnitNormalization", "RMSNormalization", "Softmax"),
    **_table(_blur, "GroupNormalization", "Attention", "AdditiveAttention"),
    **_table(_blur, "MultiHeadAttention", "GroupQueryAttention"),
    **_table(_whole, "GlobalAveragePooling2D", "GlobalMaxPooling2D", "AdaptiveAveragePooling2D"),
    **_table(_whole, "AdaptiveMaxPooling2D", "Resizing", "Flatten", "Reshape", "Permute"),
    IndexedMaxPooling2D: _pooling_by_two,
    Unpooling2D: _unpooling_by_two,
    BinMean2D: _whole,
    EnlargeLike2D: _like,
}

POINTWISE_OPERATIONS = frozenset(
    {
        "Add",
        "Subtract",
        "Multiply",
        "Divide",
        "TrueDivide",
        "Maximum",
        "Minimum",
        "Negative",
        "Absolute",
        "Clip",
    }
    | {"Exp", "Log", "Sqrt", "Square", "Relu", "Relu6", "LeakyRelu", "Elu", "Selu", "Gelu", "Silu", "Tanh"}
    | {"Sigmoid", "HardSigmoid", "HardSilu", "Softplus", "Softsign"}
)


def _operation(step: Step) -> Effect:
    """Return the effect of a function of ``keras.ops`` called on tensors."""
    operation = step.layer
    name = type(operation).__name__
    if name in ("Concatenate", "Softmax"):
        return _per_channel(operation)
    if name not in POINTWISE_OPERATIONS:
        raise UnknownLayerError(operation)
    for argument in step.arguments:
        if not isinstance(argument, keras.KerasTensor) and len(getattr(argument, "shape", ())) > 1:
            raise UnknownLayerError(operation, "it uses an array whose values differ between pixels")
    return "pointwise"
