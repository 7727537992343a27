"""Read ONNX files, check their contents before running anything, and make their input size free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.errors import NetworkRefusedError, short
from terraseam.models.importing.common.foreign import Shape
from terraseam.models.importing.common.shapes import CHANNEL
from terraseam.models.importing.onnx.claims import LARGEST, refuse_claims, refuse_large_file, refuse_outside

DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True)
class Port:
    """An input or output: its name, its shape (None if unknown) and its numpy type."""

    name: str
    shape: Shape | None
    dtype: str


def import_onnx() -> tuple[Any, Any]:
    """Import onnx and onnxruntime.

    Raises:
        RefusedError: If they are not installed.
    """
    try:
        import onnx
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError as error:
        raise NetworkRefusedError(
            f"reading ONNX files needs {error.name}, which is not installed; pip install 'terraseam[onnx]'"
        ) from error
    onnxruntime.set_default_logger_severity(4)
    return onnx, onnxruntime


def read_onnx(path: Path) -> Any:
    """Read an ONNX file and the weights beside it into one model, and inline its local functions.

    Raises:
        RefusedError: If it is not an ONNX file, or needs operators outside ONNX or weights outside its folder.
    """
    onnx, _ = import_onnx()
    refuse_large_file(path)
    try:
        model = onnx.load(path, load_external_data=False)
        known = bool(model.graph.node)
    except Exception as error:
        raise NetworkRefusedError(
            f"{path} is not an ONNX file ({short(error)}); export the network again"
        ) from error
    if not known:
        raise NetworkRefusedError(
            f"{path} is not an ONNX file with a network in it; export the network again"
        )
    _load_weights(model, path)
    try:
        model = onnx.inliner.inline_local_functions(model) if model.functions else model
        _refuse_domains(model, path)
        refuse_claims(list(_tensors(model)), path)
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise NetworkRefusedError(
            f"{path} is not a valid ONNX file: {short(error)}; export the network again"
        ) from error
    if model.ByteSize() > LARGEST:
        raise NetworkRefusedError(
            f"{path} holds more than 2 GB of weights, which one ONNX file cannot hold; make the network smaller"
        )
    return model


def ports(values: Iterable[Any]) -> list[Port]:
    """Describe inputs or outputs of an ONNX graph."""
    onnx, _ = import_onnx()
    described = []
    for value in values:
        tensor = value.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(size.dim_value if size.HasField("dim_value") else None for size in tensor.shape.dim)
        kind = tensor.elem_type
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(kind)) if kind else "values of no type"
        described.append(Port(value.name, shape, dtype))
    return described


def inputs_of(model: Any) -> list[Port]:
    """Return the inputs of a network, excluding weights that are listed as inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return ports(value for value in model.graph.input if value.name not in weights)


def free_sizes(model: Any, layout: str) -> Any:
    """Return a copy of a network with all declared sizes removed except the number of bands.

    Whether it accepts other sizes is only known after running it: a size may be built into its graph.
    """
    onnx, _ = import_onnx()
    freed = onnx.ModelProto()
    freed.CopyFrom(model)
    taken = next(value for value in freed.graph.input if value.name == inputs_of(freed)[0].name)
    names = {
        "channels_last": ("samples", "height", "width", None),
        "channels_first": ("samples", None, "height", "width"),
    }
    sizes = taken.type.tensor_type.shape
    for size, name in zip(sizes.dim, names[layout], strict=True):
        if name is not None:
            size.dim_param = name
    del freed.graph.value_info[:]
    for value in freed.graph.output:
        rank = len(value.type.tensor_type.shape.dim)
        channel = CHANNEL[layout] if rank == 4 else None
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if axis != channel:
                size.dim_param = f"out_{axis}"
    return freed


class Session:
    """An ONNX network ready to run on the CPU, on chips in its own layout.

    Raises:
        RefusedError: If ONNX Runtime cannot run it.
    """

    def __init__(self, model: Any) -> None:
        _, runtime = import_onnx()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        (taken, *_) = inputs_of(model)
        self._taken, self._type = taken.name, taken.dtype
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise NetworkRefusedError(
                f"ONNX Runtime cannot run this network: {short(error)}; export it again"
            ) from error

    def __call__(self, chips: np.ndarray) -> np.ndarray:
        """Return its first output."""
        return np.asarray(self.all(chips)[0])

    def all(self, chips: np.ndarray) -> list[np.ndarray]:
        """Return all its outputs."""
        outputs: list[np.ndarray] = self._session.run(None, {self._taken: np.asarray(chips, self._type)})
        return outputs


def nodes_of(graph: Any) -> Iterator[Any]:
    """Yield all nodes of a graph and of its subgraphs."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def _refuse_domains(model: Any, path: Path) -> None:
    foreign = {
        f"{node.domain}.{node.op_type}" for node in nodes_of(model.graph) if node.domain not in DOMAINS
    }
    if foreign:
        raise NetworkRefusedError(
            f"{path} needs {', '.join(sorted(foreign))}, which standard ONNX does not have; export it with "
            "standard ONNX operators only"
        )


def _load_weights(model: Any, path: Path) -> None:
    """Read weights stored in other files, which must lie in the network's folder."""
    onnx, _ = import_onnx()
    refuse_outside(
        [tensor for tensor in _tensors(model) if tensor.data_location == onnx.TensorProto.EXTERNAL], path
    )
    try:
        onnx.load_external_data_for_model(model, str(path.resolve().parent))
    except Exception as error:
        raise NetworkRefusedError(
            f"the weights beside {path} cannot be read: {short(error)}; export it again"
        ) from error


def _tensors(model: Any) -> Iterator[Any]:
    """Yield every tensor of a file, including those of nodes and subgraphs."""
    graphs = [model.graph]
    nodes = list(nodes_of(model.graph)) + [node for function in model.functions for node in function.node]
    for node in nodes:
        for attribute in node.attribute:
            graphs += [attribute.g, *attribute.graphs]
            yield from (attribute.t, *attribute.tensors)
    for graph in graphs:
        yield from graph.initializer
        for sparse in graph.sparse_initializer:
            yield from (sparse.values, sparse.indices)
