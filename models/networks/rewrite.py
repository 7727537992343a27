"""Rebuild an encoder from its graph with modified layers: fewer channels, or dilation instead of stride."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import keras
from keras import layers

from terraseam.models.reach.graph import Graph, Step, read_graph
from terraseam.models.reach.network import Ratio, follow


def rewritten(network: keras.Model, change: Callable[[Any], dict[str, Any]]) -> keras.Model:
    """Rebuild a functional network with modified layer configs and new weights.

    Args:
        network: The network to rebuild.
        change: Returns the changes to the config of a layer.
    """

    def again(layer: Any) -> Any:
        return layer.__class__.from_config({**layer.get_config(), **change(layer)})

    return keras.models.clone_model(network, clone_function=again)


def narrowed(network: keras.Model, width: float) -> keras.Model:
    """Build an encoder with each convolution's channels multiplied by `width`, but at least one."""

    def change(layer: Any) -> dict[str, Any]:
        if isinstance(layer, layers.Conv2D):
            return {"filters": narrow(layer.filters, width)}
        return {}

    return rewritten(network, change)


def narrow(channels: int, width: float) -> int:
    """Return a number of channels multiplied by `width` and rounded down, but at least one."""
    return max(1, int(channels * width))


def dilated(network: keras.Model, output_stride: int) -> keras.Model:
    """Build an encoder with no map coarser than `output_stride`, with the same weights.

    A layer that would exceed that stride gets stride 1, and the kernels after it are dilated by the same factor
    (Chen et al., https://arxiv.org/abs/1606.00915, section 3.1): every ``stride / output_stride``-th element
    of the new map is an element of the old one.

    Args:
        network: Functional network with one input and one output, from ``(batch, height, width, bands)``.
        output_stride: Stride of the coarsest map, in pixels; a power of two.

    Returns:
        A network whose layers have the same names and weights.

    Raises:
        ValueError: If the network has a layer that has no dilated form.
    """
    if output_stride < 1 or output_stride & (output_stride - 1):
        raise ValueError(f"output_stride must be a power of two, got {output_stride}")
    graph = read_graph(network)
    strides = _strides(graph)
    readers = {number: step for step in graph.steps for number in step.inputs}
    changes: dict[int, dict[str, Any]] = {}
    for step in graph.steps:
        dilation = max(1, int(strides[step.inputs[0]] / output_stride))
        kernel = readers.get(step.outputs[0], step) if _is_frame(step) else step
        beyond = strides[kernel.outputs[0]] > output_stride
        changes[id(step.layer)] = _dilation_of(step.layer, kernel.layer, dilation) if beyond else {}
    built = rewritten(network, lambda layer: changes[id(layer)])
    built.set_weights(network.get_weights())
    return built


def _strides(graph: Graph) -> dict[int, Fraction]:
    """Return the stride of each tensor, in pixels, along rows; encoders have the same stride along columns."""
    extents = follow(graph, Ratio(Fraction(1)))
    return {number: 1 / pair[0].value for number, pair in extents.items() if pair is not None}


def _is_frame(step: Step) -> bool:
    return isinstance(step.layer, layers.ZeroPadding2D)


def _dilation_of(layer: Any, kernel: Any, dilation: int) -> dict[str, Any]:
    """Return the config changes of a layer whose output, or that of the kernel after it, would be too coarse.

    Args:
        layer: The layer to change.
        kernel: Itself, or the layer that reads its zero padding.
        dilation: Distance in its new input between neighbouring elements of the old input.
    """
    if isinstance(kernel, layers.MaxPooling2D | layers.AveragePooling2D):
        if layer is not kernel or dilation > 1 or tuple(kernel.pool_size) != (2, 2):
            raise ValueError(
                f"layer {kernel.name!r} pools {kernel.pool_size[0]} x {kernel.pool_size[1]} elements that would "
                f"lie {dilation} apart, and pooling cannot be dilated; cut the encoder before it"
            )
        return {"strides": (1, 1), "padding": "same"}
    if isinstance(layer, layers.ZeroPadding2D):
        return {"padding": tuple(_dilated_frame(ends, kernel, dilation) for ends in layer.padding)}
    if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
        return _dilated_kernel(layer, dilation)
    return {}


def _dilated_kernel(layer: Any, dilation: int) -> dict[str, Any]:
    if tuple(layer.kernel_size) == (1, 1):
        return {"strides": (1, 1)}
    if layer.padding == "same" and tuple(layer.strides) != (1, 1):
        raise ValueError(
            f"layer {layer.name!r} steps with padding 'same', which has no dilated form; choose a coarser output_stride"
        )
    return {"strides": (1, 1), "dilation_rate": (dilation, dilation)}


def _dilated_frame(ends: tuple[int, int], kernel: Any, dilation: int) -> tuple[int, int]:
    """Return the padding before a dilated kernel with stride 1 that preserves the size of the map."""
    before = ends[0] * dilation
    return before, (kernel.kernel_size[0] - 1) * dilation - before
