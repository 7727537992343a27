"""SavedModels as bytes, built without TensorFlow: protocol buffer fields, one after the other."""

from __future__ import annotations

from pathlib import Path


def varint(number: int) -> bytes:
    """Encode an integer, seven bits a byte."""
    parts = []
    while number > 127:
        parts.append(number & 127 | 128)
        number >>= 7
    return bytes([*parts, number])


def field(number: int, value: bytes | str) -> bytes:
    """Encode a byte field."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(name: str, operation: str, calls: str = "", *, branches: bool = False) -> bytes:
    """Encode a node of a graph, which may call a function by itself or as one of several branches."""
    function = field(1, calls)
    attribute = field(1, field(9, function)) if branches else field(10, function)
    entry = field(5, field(1, "f") + field(2, attribute)) if calls else b""
    return field(1, name) + field(2, operation) + varint(6 << 3) + varint(300) + entry


def function(name: str, *nodes: bytes) -> bytes:
    """Encode a function of a graph."""
    return field(1, field(1, name)) + b"".join(field(3, one) for one in nodes)


def saved_model(
    folder: Path,
    *nodes: bytes,
    functions: tuple[bytes, ...] = (),
    signature: str = "serving_default",
    more: bytes = b"",
) -> Path:
    """Write a SavedModel of these nodes, without variables, so that it cannot be run."""
    library = b"".join(field(1, one) for one in functions)
    graph = b"".join(field(1, one) for one in nodes) + field(2, library)
    saver = field(2, "save:0") + field(3, "restore")
    meta = field(1, field(4, "serve")) + field(2, graph) + field(3, saver)
    meta += field(5, field(1, signature) + field(2, b"")) + field(7, b"") + more
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "saved_model.pb").write_bytes(varint(1 << 3) + varint(1) + field(2, meta))
    return folder
