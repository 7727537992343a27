"""Read the operations of a SavedModel before TensorFlow loads any of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from terraseam.models.errors import NetworkRefusedError, short
from terraseam.models.saved_models.facts import SavedGraphFacts, graph_facts, refuse_forbidden, the_graph


def read_graph(path: Path) -> Any:
    """Read the description of a SavedModel without loading or running it. TensorFlow must have been imported.

    Raises:
        RefusedError: If there is none, or it comes from TensorFlow 1.
    """
    from google.protobuf import descriptor_pool, message_factory  # type: ignore[import-untyped]
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    kind = descriptor_pool.Default().FindMessageTypeByName("tensorflow.SavedModel")
    described = message_factory.GetMessageClass(kind)()
    try:
        described.ParseFromString((path / "saved_model.pb").read_bytes())
    except (OSError, DecodeError) as error:
        raise NetworkRefusedError(
            f"{path} is not a SavedModel ({short(error)}); export the network again"
        ) from error
    the_graph([_facts(graph) for graph in described.meta_graphs], path)
    return described.meta_graphs[0]


def refuse_operations(graph: Any, path: Path) -> None:
    """Refuse a SavedModel with operations that do more than compute.

    Raises:
        RefusedError: If it has one; the message names it.
    """
    refuse_forbidden(_facts(graph), path)


def _facts(graph: Any) -> SavedGraphFacts:
    return graph_facts(memoryview(graph.SerializeToString()))


def calls_of(node: Any) -> Iterator[str]:
    """Yield the names of the functions a node calls; its operation may itself be one."""
    yield node.op
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
