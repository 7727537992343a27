"""Open ONNX files for import."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing.common.foreign import Foreign, Shape
from terraseam.models.importing.common.shapes import (
    CHANNEL,
    check_single_input_output,
    check_taken,
    find_layout,
    fixed_sides,
)
from terraseam.models.importing.onnx.claims import refuse_computed
from terraseam.models.importing.onnx.file import (
    Port,
    Session,
    free_sizes,
    import_onnx,
    inputs_of,
    ports,
    read_onnx,
)
from terraseam.models.importing.onnx.graph import read_reach
from terraseam.models.importing.onnx.sizes import Sizes, measure_sizes
from terraseam.models.importing.onnx.watch import pixel_tensors
from terraseam.models.reach.call_memory import (
    ATTENTION_COPIES,
    FLOAT_BYTES,
    CallMemory,
    growth_terms,
    round_up,
    value_bytes,
)

NAME = "model.onnx"
WORKING_COPIES = 2.2
"""Memory of a call relative to the maps alive at once: reordered copies, and memory not released. Measured at 0.9 to
2.2 times for ONNX Runtime on U-Nets, an FCN and a SegNet."""

ENDINGS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "ArgMax": "argmax"}
THROUGH = ("Identity", "Transpose", "Cast", "Squeeze", "Unsqueeze")
"""Operators after the one that determines the output type, which do not change it."""


def open_onnx(path: Path, bands: int, layout: str | None, stride: int | None) -> Foreign:
    """Open an ONNX file, and make its input size free.

    Args:
        path: The file; its weights may lie beside it.
        bands: Number of bands named by the user.
        layout: Layout stated by the user, or None.
        stride: Stride stated by the user, or None.

    Raises:
        RefusedError: If it cannot become the network of a bundle.
    """
    model = read_onnx(path)
    refuse_computed(model, pixel_tensors(model), path)
    taken, outputs = inputs_of(model), ports(model.graph.output)
    check_single_input_output([port.name for port in taken], [port.name for port in outputs])
    shape = check_taken(taken[0].shape, taken[0].dtype)
    layout = find_layout(shape, bands, layout)
    freed = free_sizes(model, layout)
    sizes = _sizes(freed, bands, layout, stride, shape)
    notes = _compare(model, freed, shape, layout)
    ending = _ending(freed)
    return Foreign(
        kind="ONNX file",
        network_name=NAME,
        layout=layout,
        output_shape=sizes.shapes[outputs[0].name][0],
        whole_numbers=np.dtype(_dtype(outputs[0], freed, bands, layout)).kind in "iub",
        ending=ending,
        run=Session(freed),
        run_scores=_scores(freed) if ending == "argmax" else None,
        read_graph=lambda: read_reach(freed, sizes),
        stride_hint=sizes.stride(),
        memory=lambda _: (call_memory(freed, sizes), "from the graph"),
        save=lambda folder: _save(freed, folder / NAME),
        notes=notes,
        dtype=taken[0].dtype,
    )


def call_memory(model: Any, sizes: Sizes) -> CallMemory:
    """Return the peak memory of one call: of maps, and of tensors that grow faster, such as attention scores."""
    onnx, _ = import_onnx()
    typed = onnx.shape_inference.infer_shapes(model).graph
    widths = {port.name: value_bytes(port.dtype) for port in ports([*typed.value_info, *typed.output])}
    terms = {
        name: growth_terms(
            math.prod(sizes.shapes[name][0]) * widths.get(name, FLOAT_BYTES),
            math.prod(sizes.chips[0]),
            sizes.excess(name),
        )
        for name in pixel_tensors(model)
        if name in sizes.shapes
    }
    linear, squared = ({name: term[power] for name, term in terms.items()} for power in (0, 1))
    ends = linear[inputs_of(model)[0].name] + linear[model.graph.output[0].name]
    return CallMemory(
        math.ceil(_peak(model, linear) * WORKING_COPIES + ends),
        round_up(_peak(model, squared) * ATTENTION_COPIES),
    )


def _peak(model: Any, sizes: dict[str, float]) -> float:
    """Return the peak size of the tensors alive at once: each lives from its producer to its last reader."""
    last = {name: place for place, node in enumerate(model.graph.node) for name in node.input}
    output_name = model.graph.output[0].name
    live = peak = sizes[inputs_of(model)[0].name]
    for place, node in enumerate(model.graph.node):
        live += sum(sizes.get(name, 0) for name in node.output)
        peak = max(peak, live)
        dead = {
            name
            for name in (*node.input, *node.output)
            if last.get(name, place) == place and name != output_name
        }
        live -= sum(sizes.get(name, 0) for name in dead)
    return peak


def _sizes(freed: Any, bands: int, layout: str, stride: int | None, shape: Shape) -> Sizes:
    try:
        return measure_sizes(freed, bands, layout, stride)
    except NetworkRefusedError as error:
        height, width = fixed_sides(shape, layout)
        if height is None and width is None:
            raise NetworkRefusedError(
                f"the network does not output a value for each pixel of its chip: {error}"
            ) from error
        raise NetworkRefusedError(
            f"the network only takes chips of {height or 'any'} x {width or 'any'} px, a size that is fixed in "
            f"its graph ({error}); export it with dynamic axes for height and width"
        ) from error


def _compare(model: Any, freed: Any, shape: Shape, layout: str) -> tuple[str, ...]:
    """Compare a network made free in size with the original, and return notes for the user."""
    height, width = fixed_sides(shape, layout)
    if shape[0] is None and height is None and width is None:
        return ()
    sides = [64 if side is None else side for side in shape]
    sides[0] = shape[0] or 1
    chips = np.random.default_rng(0).normal(size=sides).astype(np.float32)
    expected, actual = Session(model)(chips), Session(freed)(chips)
    if expected.shape != actual.shape or not np.allclose(expected, actual, rtol=1e-4, atol=1e-4):
        raise NetworkRefusedError(
            f"the outputs of the network change when its input size of {' x '.join(map(str, sides))} is made "
            "variable; export it with dynamic axes for samples, height and width"
        )
    _check_samples(freed, chips)
    if height is None and width is None:
        return ()
    return (
        f"it only took chips of {height} x {width} px; its input size was made variable, and its outputs stayed the same",
    )


def _check_samples(freed: Any, chips: np.ndarray) -> None:
    """Check that a batch of several chips gives the same outputs as single ones."""
    two = np.concatenate([chips[:1], chips[:1]])
    try:
        outputs = Session(freed)(two)
        same = len(outputs) == 2 and np.allclose(outputs[0], outputs[1], rtol=1e-4, atol=1e-4)
    except Exception:
        same = False
    if not same:
        raise NetworkRefusedError(
            f"the network only takes batches of {chips.shape[0]}; export it with a dynamic batch axis"
        )


def _dtype(port: Port, freed: Any, bands: int, layout: str) -> str:
    """Return the output type of a network, by running it if the file does not state it."""
    if port.dtype != "values of no type":
        return port.dtype
    shape = [1, 64, 64]
    shape.insert(CHANNEL[layout], bands)
    return str(Session(freed)(np.zeros(shape, np.float32)).dtype)


def _last(model: Any) -> Any:
    """Return the node that determines the output type; None if there is none."""
    makers = {name: node for node in model.graph.node for name in node.output}
    node = makers.get(model.graph.output[0].name)
    while node is not None and node.op_type in THROUGH:
        node = makers.get(node.input[0])
    return node


def _ending(model: Any) -> str | None:
    node = _last(model)
    return ENDINGS.get(node.op_type) if node is not None else None


def _scores(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network, in its own layout, that outputs the scores before the argmax."""
    onnx, _ = import_onnx()
    scores = onnx.ModelProto()
    scores.CopyFrom(model)
    del scores.graph.output[:]
    scores.graph.output.append(onnx.ValueInfoProto(name=_last(model).input[0]))
    return Session(scores)


def _save(model: Any, path: Path) -> None:
    path.write_bytes(model.SerializeToString(deterministic=True))
