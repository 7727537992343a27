"""Which engine runs a bundle, and what it needs; nothing is imported to say so."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence

ENGINES = ("tensorflow", "openvino", "onnx")
PRECISIONS = ("float32", "bfloat16", "float16")
RUNTIMES = {"tensorflow": "tensorflow", "openvino": "openvino", "onnx": "onnxruntime"}
CHECKERS = {"tensorflow": (), "openvino": ("onnx",), "onnx": ()}
"""What looks at ONNX files before an engine does that would not survive some of them."""
CONVERTERS = {"tensorflow": (), "openvino": ("tensorflow",), "onnx": ("tensorflow", "onnx", "tf2onnx")}
ONNX_FILE = "model.onnx"


def chosen_engine(wanted: str | None, files: Iterable[str]) -> str:
    """The engine of a run.

    Args:
        wanted: Its name; None for the one that takes the networks as they are, most of them where they differ.
        files: Names of the networks' files.
    """
    if wanted is not None:
        return wanted
    return "onnx" if ONNX_FILE in files else "tensorflow"


def missing_packages(engine: str, files: Sequence[str]) -> list[str]:
    """The packages that are not installed here, of those that an engine needs to run networks of such files."""
    converts = any(file != ONNX_FILE for file in files)
    checks = ONNX_FILE in files
    needed = [
        RUNTIMES[engine],
        *(CHECKERS[engine] if checks else ()),
        *(CONVERTERS[engine] if converts else ()),
    ]
    return [name for name in needed if importlib.util.find_spec(name) is None]
