"""Check the sizes declared in an ONNX file against its bytes, before anything allocates that memory."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.errors import NetworkRefusedError

LARGEST = 2_000_000_000
"""Maximum size of one ONNX file, in bytes; larger networks keep their weights in files beside it."""
MOST_COMPUTED = 500_000_000
"""Maximum size of arrays that nodes compute without the chip's pixels, in bytes."""
PACKED = 8
"""Maximum bytes of a value per byte of the file: small integers take one byte of eight."""


def refuse_large_file(path: Path) -> None:
    """Refuse a file larger than the ONNX limit, without reading it.

    Raises:
        RefusedError: If it is.
    """
    size = path.stat().st_size
    if size > LARGEST:
        raise NetworkRefusedError(
            f"{path} has {size / 1e9:,.1f} GB, but one ONNX file can hold at most 2 GB; export the network again, with its "
            "weights in files beside it"
        )


def refuse_outside(tensors: Sequence[Any], path: Path) -> None:
    """Refuse weights in files outside the network's folder, or larger than a bundle can hold.

    Args:
        tensors: Tensors stored in other files.
        path: The network.

    Raises:
        RefusedError: If there are any; nothing is read.
    """
    folder = path.resolve().parent
    outside, sizes = [], {}
    for tensor in tensors:
        external_data = {entry.key: entry.value for entry in tensor.external_data}
        location = external_data.get("location", "")
        file = (folder / location).resolve()
        if not file.is_relative_to(folder) or not file.is_file():
            outside.append(location or "a file without a name")
            continue
        sizes[tensor.name] = _part(external_data, file, f"{tensor.name!r} of {path}")
        _refuse_claim(tensor, sizes[tensor.name], path)
    if outside:
        names = ", ".join(sorted(set(outside)))
        raise NetworkRefusedError(
            f"{path} keeps weights in {names}, but there is no such file in its folder; put them beside it, "
            "or export it as one file"
        )
    if sum(sizes.values()) > LARGEST:
        raise NetworkRefusedError(
            f"the weights beside {path} have {sum(sizes.values()) / 1e9:,.1f} GB, but a bundle can hold at most "
            "2 GB; make the "
            "network smaller"
        )


def _part(external_data: dict[str, str], file: Path, what: str) -> int:
    """Return the bytes to read from a file for one tensor."""
    size = file.stat().st_size
    try:
        offset, length = int(external_data.get("offset", 0)), int(external_data.get("length", -1))
    except ValueError:
        offset = length = -1
    length = size - offset if "length" not in external_data else length
    if offset < 0 or length < 0 or offset + length > size:
        raise NetworkRefusedError(
            f"the weights {what} are incomplete: {file.name} has {size:,} bytes, and their offset and length "
            "lie outside; export it again"
        )
    return length


def refuse_claims(tensors: Sequence[Any], path: Path) -> None:
    """Refuse weights whose declared size is far larger than their bytes.

    Raises:
        RefusedError: If there are any.
    """
    for tensor in tensors:
        if tensor.data_type:
            _refuse_claim(tensor, tensor.ByteSize(), path)


def refuse_computed(model: Any, pixels: Collection[str], path: Path) -> None:
    """Refuse a network that expands a few numbers to huge arrays, such as sparse weights or a shaped constant.

    Args:
        model: The network, with all weights in it.
        pixels: Names of the tensors that depend on the chip.
        path: Its file.

    Raises:
        RefusedError: If such arrays are computed before any pixel is read.
    """
    room = MOST_COMPUTED + PACKED * model.ByteSize()
    sparse = sum(math.prod(tensor.dims) * _width(tensor.values.data_type) for tensor in _sparse(model.graph))
    sizes = {"sparse weights": sparse, **_computed_sizes(model, pixels)}
    whole, most = sum(sizes.values()), max(sizes, key=lambda name: sizes[name])
    if whole > room:
        raise NetworkRefusedError(
            f"{path} creates {whole / 1e6:,.0f} MB of constants, most of it as {most!r}; the limit for a file "
            f"of its size is {room / 1e6:,.0f} MB; export the network again"
        )


def _computed_sizes(model: Any, pixels: Collection[str]) -> dict[str, float]:
    """Return the bytes that nodes compute from weights and constants alone, by name, where the graph gives sizes."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph.value_info
    constants = {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    sizes = {}
    for value in inferred:
        kind = value.type.tensor_type
        known = kind.HasField("shape") and all(size.HasField("dim_value") for size in kind.shape.dim)
        if known and value.name not in pixels and value.name not in constants:
            sizes[value.name] = math.prod(size.dim_value for size in kind.shape.dim) * _width(kind.elem_type)
    return sizes


def _refuse_claim(tensor: Any, held: int, path: Path) -> None:
    size = math.prod(tensor.dims) * _width(tensor.data_type)
    if min(tensor.dims, default=0) < 0 or size > PACKED * held:
        raise NetworkRefusedError(
            f"{path} declares {size / 1e6:,.0f} MB of weights {tensor.name!r} but holds {held / 1e6:,.1f} MB of "
            "them; export it again"
        )


def _width(kind: int) -> float:
    """Return the bytes of a value."""
    import onnx

    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).itemsize
    except (KeyError, TypeError):
        return 1


def _sparse(graph: Any) -> Iterator[Any]:
    """Yield sparse weights and constants of a graph."""
    yield from graph.sparse_initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor
            for inner in (attribute.g, *attribute.graphs):
                yield from _sparse(inner)
