"""Read a SavedModel's operations from its file with our own parser: plans need them, but import no TensorFlow.

Protocol buffer messages are a sequence of fields with a number, a type and a value. The few that describe
operations are nested at fixed depths; everything else is skipped.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from terraseam.models.errors import NetworkRefusedError, short
from terraseam.models.saved_models.operations import ALLOWED, CHECKPOINT

SIGNATURE = "serving_default"
SAVED_MODEL, FILE = "saved_model", "saved_model.pb"
MOST_NAMED = 5
"""Number of operations that an error message names."""


class _DamagedError(ValueError):
    """Bytes that are not a message."""


@dataclass(frozen=True)
class Call:
    """A node of a graph: its name, its operation, and the functions it calls."""

    name: str
    operation: str
    functions: tuple[str, ...]


@dataclass(frozen=True)
class SavedGraphFacts:
    """Those parts of a graph that determine its operations.

    Attributes:
        tags: Its tags.
        signatures: Names of its signatures.
        nodes: Its nodes.
        functions: The nodes of each function, by name; functions of the same name follow each other.
        saver: Nodes that save and restore variables.
        concrete: Functions that may be called from outside.
        has_objects: Whether it was saved by TensorFlow 2.
    """

    tags: tuple[str, ...]
    signatures: tuple[str, ...]
    nodes: tuple[Call, ...]
    functions: tuple[tuple[str, tuple[Call, ...]], ...]
    saver: frozenset[str]
    concrete: frozenset[str]
    has_objects: bool


def check_saved_model(folder: Path) -> None:
    """Check that a SavedModel can be loaded and only computes on tensors, without importing TensorFlow.

    Raises:
        RefusedError: If it is not a SavedModel, lacks a single serving graph or a signature, or has operations
            that are not allowed.
    """
    facts = the_graph(_read_file(folder), folder)
    if SIGNATURE not in facts.signatures:
        raise NetworkRefusedError(missing_signature(facts.signatures, folder))
    refuse_forbidden(facts, folder)


def the_graph(graphs: list[SavedGraphFacts], path: Path) -> SavedGraphFacts:
    """Return the only graph of a SavedModel.

    Raises:
        RefusedError: If it has several, or one that is not for serving, or comes from TensorFlow 1.
    """
    serving = [graph for graph in graphs if "serve" in graph.tags]
    if len(serving) != 1 or len(graphs) != 1:
        raise NetworkRefusedError(f"{path} has {len(serving)} graphs for serving; export it with one")
    if not serving[0].has_objects:
        raise NetworkRefusedError(
            f"{path} is a SavedModel of TensorFlow 1; export the network with TensorFlow 2"
        )
    return serving[0]


def missing_signature(signatures: tuple[str, ...], path: Path) -> str:
    """Return the error message for a SavedModel without a serving signature."""
    names = ", ".join(short(name, 60) for name in sorted(signatures) if not name.startswith("__")) or "none"
    return f"{path} has no signature {SIGNATURE!r} (its signatures: {names}); export it with one, as model.export does"


def refuse_forbidden(graph: SavedGraphFacts, path: Path) -> None:
    """Refuse a SavedModel with operations that do more than compute.

    Functions that save and restore variables may use checkpoints, as long as only TensorFlow's saver calls
    them: loading a SavedModel does not.

    Raises:
        RefusedError: If it has one; the message names it.
    """
    savers = {name for node in graph.nodes if node.name in graph.saver for name in node.functions}
    inner = [node for _, nodes in graph.functions for node in nodes]
    outer = [node for node in graph.nodes if node.name not in graph.saver]
    called = {name for node in (*outer, *inner) for name in node.functions} | graph.concrete
    own = {name for name, _ in graph.functions if name.startswith("__")}
    forbidden = {node.operation for node in graph.nodes} - ALLOWED - own
    for name, nodes in graph.functions:
        saves = name in savers - called
        forbidden |= {node.operation for node in nodes} - ALLOWED - own - (CHECKPOINT if saves else set())
    if forbidden:
        raise NetworkRefusedError(
            f"{path} has the operation{'s' * (len(forbidden) > 1)} {_named(forbidden)}, and a SavedModel may "
            f"only have operations that compute on tensors; export the network without such operations, or to ONNX"
        )


def _named(operations: set[str]) -> str:
    """Return the names of the first few operations, and the number of others."""
    names = sorted(operations)
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(short(name, 60) for name in names[:MOST_NAMED]) + more


def _read_file(folder: Path) -> list[SavedGraphFacts]:
    """Read the graphs of a SavedModel; its file is memory-mapped."""
    try:
        with (folder / FILE).open("rb") as file:
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return [graph_facts(graph) for graph in _messages(data, 2)]
    except (OSError, ValueError) as error:
        raise NetworkRefusedError(
            f"{folder} is not a SavedModel ({short(error)}); export the network again"
        ) from error


def graph_facts(data: memoryview) -> SavedGraphFacts:
    """Read the parts of a ``MetaGraphDef`` that determine its operations.

    Raises:
        ValueError: If it is not one.
    """
    graphs = _messages(data, 2)
    functions = [
        function for graph in graphs for library in _messages(graph, 2) for function in _messages(library, 1)
    ]
    saver = [text for part in _messages(data, 3) for number in (2, 3) for text in _texts(part, number)]
    objects = _messages(data, 7)
    return SavedGraphFacts(
        tags=tuple(tag for about in _messages(data, 1) for tag in _texts(about, 4)),
        signatures=tuple(name for signature in _messages(data, 5) for name in _texts(signature, 1)),
        nodes=tuple(_call(node) for graph in graphs for node in _messages(graph, 1)),
        functions=tuple(
            (_function_name(function), tuple(map(_call, _messages(function, 3)))) for function in functions
        ),
        saver=frozenset(text.split(":")[0] for text in saver),
        concrete=frozenset(
            name
            for object_graph in objects
            for entry in _messages(object_graph, 2)
            for name in _texts(entry, 1)
        ),
        has_objects=bool(objects),
    )


def _function_name(function: memoryview) -> str:
    names = [name for signature in _messages(function, 1) for name in _texts(signature, 1)]
    return names[-1] if names else ""


def _call(node: memoryview) -> Call:
    """Read a ``NodeDef``; its operation may itself be a function."""
    name = operation = ""
    functions: list[str] = []
    for number, value in _fields(node):
        if number == 1:
            name = _text(value)
        elif number == 2:
            operation = _text(value)
        elif number == 5:
            for attribute in _messages(value, 2):
                several = [
                    function for values in _messages(attribute, 1) for function in _messages(values, 9)
                ]
                functions += [
                    text for function in (*_messages(attribute, 10), *several) for text in _texts(function, 1)
                ]
    return Call(name, operation, (operation, *functions))


def _messages(data: memoryview, number: int) -> list[memoryview]:
    """Return the byte fields with a given number, in order."""
    return [value for field_number, value in _fields(data) if field_number == number]


def _texts(data: memoryview, number: int) -> list[str]:
    return [_text(value) for value in _messages(data, number)]


def _text(value: memoryview) -> str:
    return bytes(value).decode(errors="replace")


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of a message's byte fields; others are skipped."""
    place, end = 0, len(data)
    while place < end:
        tag, place = _varint(data, place, end)
        kind = tag & 7
        if kind == 0:
            _, place = _varint(data, place, end)
        elif kind in (1, 5):
            place += 8 if kind == 1 else 4
        elif kind == 2:
            size, place = _varint(data, place, end)
            if size > end - place:
                raise _DamagedError("it is truncated")
            yield tag >> 3, data[place : place + size]
            place += size
        else:
            raise _DamagedError("it has fields of an unknown kind")
    if place > end:
        raise _DamagedError("it is truncated")


def _varint(data: memoryview, place: int, end: int) -> tuple[int, int]:
    """Read a varint, and return it and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if place >= end:
            raise _DamagedError("it ends too early")
        byte = data[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
    raise _DamagedError("it has a number of more than ten bytes")
