"""Choose the engine that runs a bundle, and list the packages it needs, without importing any."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence

ENGINES = ("tensorflow", "openvino", "onnx")
PRECISIONS = ("float32", "bfloat16", "float16")
RUNTIMES = {"tensorflow": "tensorflow", "openvino": "openvino", "onnx": "onnxruntime"}
CHECKERS = {"tensorflow": (), "openvino": ("onnx",), "onnx": ()}
"""Packages that check ONNX files before an engine that some invalid files would crash."""
CONVERTERS = {"tensorflow": (), "openvino": ("tensorflow",), "onnx": ("tensorflow", "onnx", "tf2onnx")}
ONNX_FILE = "model.onnx"


def chosen_engine(requested: str | None, files: Iterable[str]) -> str:
    """Return the engine of a run.

    Args:
        requested: Its name; None for ONNX Runtime if any network is an ONNX file, otherwise TensorFlow.
        files: Names of the networks' files.
    """
    if requested is not None:
        return requested
    return "onnx" if ONNX_FILE in files else "tensorflow"


def missing_packages(engine: str, files: Sequence[str]) -> list[str]:
    """Return the packages an engine needs to run networks with these files that are not installed here."""
    converts = any(file != ONNX_FILE for file in files)
    checks = ONNX_FILE in files
    needed = [
        RUNTIMES[engine],
        *(CHECKERS[engine] if checks else ()),
        *(CONVERTERS[engine] if converts else ()),
    ]
    return [name for name in needed if importlib.util.find_spec(name) is None]
