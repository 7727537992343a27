"""What a SavedModel would do, read before TensorFlow loads any of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.importing.foreign import RefusedError, short
from models.importing.operations import ALLOWED, CHECKPOINT

MOST_NAMED = 5
"""Operations that a refusal names."""


def read_graph(path: Path) -> Any:
    """Read the description of a SavedModel; nothing of it is loaded or run. TensorFlow must have been imported.

    Raises:
        RefusedError: If there is none, or it is of TensorFlow 1.
    """
    from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    kind = descriptor_pool.Default().FindMessageTypeByName("tensorflow.SavedModel")
    described = message_factory.GetMessageClass(kind)()
    try:
        described.ParseFromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise RefusedError(
            f"{path} is not a SavedModel ({short(error)}); export the network again"
        ) from error
    graphs = [graph for graph in described.meta_graphs if "serve" in graph.meta_info_def.tags]
    if len(graphs) != 1 or len(described.meta_graphs) != 1:
        raise RefusedError(f"{path} has {len(graphs)} graphs for serving; export it with one")
    if not graphs[0].HasField("object_graph_def"):
        raise RefusedError(f"{path} is a SavedModel of TensorFlow 1; export the network with TensorFlow 2")
    return graphs[0]


def refuse_operations(graph: Any, path: Path) -> None:
    """Refuse a SavedModel with operations that do more than compute.

    Functions that save and restore variables may touch checkpoints, as long as nothing but TensorFlow's saver calls
    them: loading a SavedModel does not.

    Raises:
        RefusedError: If it has one; the message names it.
    """
    saver = {graph.saver_def.save_tensor_name.split(":")[0], graph.saver_def.restore_op_name.split(":")[0]}
    savers = {name for node in graph.graph_def.node if node.name in saver for name in calls_of(node)}
    called = {name for node in graph.graph_def.node if node.name not in saver for name in calls_of(node)}
    functions = graph.graph_def.library.function
    called |= {name for function in functions for node in function.node_def for name in calls_of(node)}
    called |= set(graph.object_graph_def.concrete_functions)
    own = {name for function in functions if (name := function.signature.name).startswith("__")}
    found = {node.op for node in graph.graph_def.node} - ALLOWED - own
    for function in functions:
        saves = function.signature.name in savers - called
        found |= {node.op for node in function.node_def} - ALLOWED - own - (CHECKPOINT if saves else set())
    if found:
        raise RefusedError(
            f"{path} has the operation{'s' * (len(found) > 1)} {_named(found)}, and a SavedModel may only have operations "
            "that compute on tensors; export the network without, or to ONNX"
        )


def _named(operations: set[str]) -> str:
    """The first few operations by name."""
    names = sorted(operations)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(short(name, 60) for name in names[:MOST_NAMED]) + more


def calls_of(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls; an operation may be one itself."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
