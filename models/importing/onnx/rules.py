"""Effect of each ONNX operator on the extent and receptive field of a map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from terraseam.models.errors import NotUnderstoodError
from terraseam.models.importing.common.resample import COORDINATES, NEAREST, Resample
from terraseam.models.importing.onnx.node import Node
from terraseam.models.importing.onnx.shape_rules import reshape, slicing
from terraseam.models.reach.axis import Enlarge, Frame, Rule, Slide, Spread

Effect = tuple[Sequence[Rule], Sequence[Rule]] | Literal["pointwise", "blur", "whole"]
"""Rules for rows and columns, one after another; or ``pointwise``: each element depends on its own position;
``blur``: each depends on the whole map, or on its position; ``whole``: the output has no rows and columns."""


def effect_of(node: Node) -> Effect:
    """Return the effect of a node on its input maps.

    Raises:
        NotUnderstoodError: If it is not known.
    """
    rule = RULES.get(node.op)
    if rule is None:
        raise NotUnderstoodError("its reach is not known")
    return rule(node)


def _sliding(node: Node) -> Effect:
    node.spatial_last()
    if any(name in node.pixels for name in node.inputs[1:]):
        raise NotUnderstoodError("its kernel depends on the pixels")
    if len(node.outputs) > 1 and node.outputs[1]:
        raise NotUnderstoodError("it also makes indices")
    kernel = node.attribute("kernel_shape", None) or node.sizes.shapes[node.inputs[1]][0][2:]
    pads, same = _pads(node)
    ceil = node.attribute("ceil_mode", 0)
    rules: list[list[Rule]] = [
        [Frame(before, after + ceil * (step - 1)), Slide(size, step, dilation, same)]
        for size, step, dilation, before, after in zip(
            node.by_side(kernel),
            node.by_side(node.attribute("strides", (1, 1))),
            node.by_side(node.attribute("dilations", (1, 1))),
            node.by_side(pads[:2]),
            node.by_side(pads[2:]),
            strict=True,
        )
    ]
    return rules[0], rules[1]


def _pads(node: Node) -> tuple[Sequence[int], bool]:
    """Return the padding before and after axes 2 and 3, and whether it is TensorFlow's ``same``."""
    auto = node.attribute("auto_pad", "NOTSET")
    if auto == "SAME_LOWER":
        raise NotUnderstoodError("its auto_pad is SAME_LOWER")
    pads = node.attribute("pads", (0, 0, 0, 0)) if auto == "NOTSET" else (0, 0, 0, 0)
    return pads, auto == "SAME_UPPER"


def _transposed(node: Node) -> Effect:
    node.spatial_last()
    if node.inputs[1] in node.pixels:
        raise NotUnderstoodError("its kernel depends on the pixels")
    if node.attribute("output_shape", None) is not None:
        raise NotUnderstoodError("it has a fixed size, output_shape")
    kernel = node.attribute("kernel_shape", None) or node.sizes.shapes[node.inputs[1]][0][2:]
    pads, same = _pads(node)
    if same:
        raise NotUnderstoodError("its auto_pad is SAME_UPPER")
    rules: list[list[Rule]] = [
        [Spread(size, step, dilation, extra=extra), Frame(-before, -after)]
        for size, step, dilation, extra, before, after in zip(
            node.by_side(kernel),
            node.by_side(node.attribute("strides", (1, 1))),
            node.by_side(node.attribute("dilations", (1, 1))),
            node.by_side(node.attribute("output_padding", (0, 0))),
            node.by_side(pads[:2]),
            node.by_side(pads[2:]),
            strict=True,
        )
    ]
    return rules[0], rules[1]


def _padding(node: Node) -> Effect:
    pads = node.attribute("pads", None)
    pads = node.parameter(1) if pads is None else np.asarray(pads)
    chosen = node.parameter(3)
    axes = list(range(node.rank)) if chosen is None else node.axes(chosen)
    if pads is None or len(pads) != 2 * len(axes):
        raise NotUnderstoodError("its pads do not fit its axes")
    before = dict(zip(axes, map(int, pads[: len(axes)]), strict=True))
    after = dict(zip(axes, map(int, pads[len(axes) :]), strict=True))
    if node.attribute("mode", "constant") == "wrap":
        return "blur"
    rows, columns = ([Frame(before.get(side, 0), after.get(side, 0))] for side in node.sides())
    return rows, columns


def _resizing(node: Node) -> Effect:
    if node.attribute("antialias", 0) or node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise NotUnderstoodError("it resizes with antialiasing or an aspect ratio policy")
    upsample = node.op == "Upsample"
    place = "asymmetric" if upsample else node.attribute("coordinate_transformation_mode", "half_pixel")
    mode = node.attribute("mode", "nearest")
    nearest = "floor" if upsample else node.attribute("nearest_mode", "round_prefer_floor")
    if place == "align_corners":
        return "blur"
    how = nearest if mode == "nearest" else mode
    if place not in COORDINATES or how not in {*NEAREST, "linear", "cubic"}:
        raise NotUnderstoodError(f"it resizes {mode} with {place}")
    rows, columns = (_factors(node, number) for number in range(2))
    if None in rows | columns or len(rows) > 1 or len(columns) > 1:
        return "blur"  # The factor depends on the size of the chip, and so does the receptive field.
    return [Resample(rows.pop(), place, how)], [Resample(columns.pop(), place, how)]


def _factors(node: Node, number: int) -> set[Any]:
    """Return the factors along rows (0) or columns (1) for chips of each size."""
    side = node.sides()[number]
    input_shapes, output_shapes = node.sizes.shapes[node.input], node.sizes.shapes[node.output]
    return {
        Fraction(after[side], before[side]) for before, after in zip(input_shapes, output_shapes, strict=True)
    }


def _space_to_depth(node: Node) -> Effect:
    node.spatial_last()
    block = int(node.attribute("blocksize", 1))
    return [Slide(block, block)], [Slide(block, block)]


def _depth_to_space(node: Node) -> Effect:
    node.spatial_last()
    block = int(node.attribute("blocksize", 1))
    return [Enlarge(block)], [Enlarge(block)]


def _elementwise(node: Node) -> Effect:
    """Return ``pointwise``, or ``blur`` if an operand besides pixels varies with position."""
    sides = node.sizes.sides(node.output)
    rank = len(node.sizes.shapes[node.output][0])
    for name in node.inputs:
        if not name or name in node.pixels or name in node.sizes.uniform or sides is None:
            continue
        shape = node.sizes.shapes[name][0]
        axes = [side - rank + len(shape) for side in sides]
        if any(axis >= 0 and shape[axis] > 1 for axis in axes):
            return "blur"
    return "pointwise"


def _per_channel(node: Node) -> Effect:
    """Return ``pointwise`` for an operator with parameters along axis 1."""
    if 1 in node.sides():
        raise NotUnderstoodError("its channel axis is the axis of rows or columns")
    return "pointwise"


def _joining(node: Node) -> Effect:
    sides = node.sizes.sides(node.output) or ()
    axis = int(node.attribute("axis", 0)) % len(node.sizes.shapes[node.output][0])
    if axis in sides:
        raise NotUnderstoodError("it joins maps along rows or columns")
    return _elementwise(node)


def _along_axis(default: int) -> Callable[[Node], Effect]:
    """Return a rule: pointwise along a channel axis; ``blur`` along rows or columns."""

    def effect(node: Node) -> Effect:
        stated = node.attribute("axis", default)
        return "blur" if set(node.axes(stated)) & set(node.sizes.sides(node.input) or ()) else "pointwise"

    return effect


def _from_axis_on(node: Node) -> Effect:
    """Return the effect like `_along_axis`, for operators that reduce over an axis and all after it."""
    axis = node.axes(node.attribute("axis", -1 if node.op == "LayerNormalization" else 1))[0]
    return "blur" if {*range(axis, node.rank)} & set(node.sizes.sides(node.input) or ()) else "pointwise"


def _softmax(node: Node) -> Effect:
    return _along_axis(-1)(node) if node.opset >= 13 else _from_axis_on(node)


def _picking(node: Node) -> Effect:
    """Return ``pointwise`` for an operator that selects along an axis other than rows or columns."""
    axis = node.axes(node.attribute("axis", -1 if node.op == "TopK" else 0))[0]
    if axis in node.sides() or any(name in node.pixels for name in node.inputs[1:]):
        raise NotUnderstoodError("it picks rows or columns, or what it picks depends on the pixels")
    return "pointwise"


def _reducing(node: Node) -> Effect:
    stated = node.attribute("axes", None)
    stated = node.parameter(1) if stated is None else stated
    axes = set(range(node.rank)) if stated is None or not len(stated) else set(node.axes(stated))
    sides = set(node.sides())
    if sides <= axes:
        return "whole"
    if sides & axes:
        raise NotUnderstoodError("it gathers rows without columns, or columns without rows")
    return "pointwise"


def _product(node: Node) -> Effect:
    """Return ``pointwise`` for a product with a weight matrix along the last axis."""
    if node.inputs[1] in node.pixels or node.input not in node.pixels:
        raise NotUnderstoodError(
            "it multiplies what depends on the pixels by a matrix of pixels, or from the left"
        )
    if node.rank - 1 in node.sides() or len(node.sizes.shapes[node.inputs[1]][0]) != 2:
        raise NotUnderstoodError("it mixes rows or columns")
    return "pointwise"


def _tiling(node: Node) -> Effect:
    repeats = node.parameter(1)
    if repeats is None or any(repeats[side] != 1 for side in node.sides()):
        raise NotUnderstoodError("it repeats rows or columns")
    return "pointwise"


def _alike(_: Node) -> Effect:
    """Return ``pointwise``: axes may be moved, added and dropped."""
    return "pointwise"


def _whole(_: Node) -> Effect:
    return "whole"


def _blur(_: Node) -> Effect:
    return "blur"


UNARY = """Abs Acos Acosh Asin Asinh Atan Atanh Cast CastLike Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu
HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin
Sinh Softplus Softsign Sqrt Swish Tan Tanh ThresholdedRelu DequantizeLinear QuantizeLinear"""
SEVERAL = """Add And BitShift Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub Sum
Where Xor"""

RULES: dict[str, Callable[[Node], Effect]] = {
    **dict.fromkeys(UNARY.split(), _alike),
    **dict.fromkeys(("Squeeze", "Transpose", "Unsqueeze"), _alike),
    **dict.fromkeys(SEVERAL.split(), _elementwise),
    **dict.fromkeys(("Conv", "MaxPool", "AveragePool", "LpPool"), _sliding),
    **dict.fromkeys(("Resize", "Upsample"), _resizing),
    **dict.fromkeys(("BatchNormalization", "LRN"), _per_channel),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), _softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), _along_axis(0)),
    **dict.fromkeys(("LpNormalization",), _along_axis(-1)),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization"), _from_axis_on),
    **dict.fromkeys(("InstanceNormalization", "GroupNormalization", "MeanVarianceNormalization"), _blur),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"), _whole),
    **dict.fromkeys(("Gather", "Split", "TopK"), _picking),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceProd"), _reducing
    ),
    **dict.fromkeys(("Reshape", "Flatten"), reshape),
    "ConvTranspose": _transposed,
    "Pad": _padding,
    "SpaceToDepth": _space_to_depth,
    "DepthToSpace": _depth_to_space,
    "Slice": slicing,
    "Concat": _joining,
    "MatMul": _product,
    "Tile": _tiling,
    "Expand": _elementwise,
}
