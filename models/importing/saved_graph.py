"""What a SavedModel would do, read before TensorFlow loads any of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from models.importing.foreign import RefusedError, short

FORBIDDEN = re.compile(
    r"PyFunc|File|Save|Restore|Checkpoint|Reader|Dataset|Iterator|Summary|Debug|Print|Send|Recv|Rpc|Remote"
    r"|ImmutableConst|Table|RecordInput|Remap|Unigram|Session|Feed|Stage|Event|Collective|TfLite|HostCompute|Queue"
)
"""Operations that run Python, or touch files, the terminal or a network; none of them answers pixels."""

CHECKPOINT = frozenset({"SaveV2", "RestoreV2", "MergeV2Checkpoints", "ShardedFilename"})
"""Of these, what the functions that save and restore variables are made of; loading does not run them."""


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
    found = {node.op for node in graph.graph_def.node if FORBIDDEN.search(node.op)}
    for function in functions:
        allowed = CHECKPOINT if function.signature.name in savers - called else frozenset()
        found |= {node.op for node in function.node_def if FORBIDDEN.search(node.op)} - allowed
    if found:
        raise RefusedError(
            f"{path} has the operation{'s' * (len(found) > 1)} {', '.join(sorted(found))}, which may run code or touch "
            "files; export the network without"
        )


def calls_of(node: Any) -> Iterator[str]:
    """Names of the functions that a node calls."""
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        yield from (function.name for function in value.list.func)
