"""TensorFlow and OpenVINO without what they tell of themselves."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


def import_tensorflow() -> Any:
    """Import TensorFlow as Keras' backend, without what it tells of itself on the terminal."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with _hushed():
        import tensorflow as tf

    return tf


def import_openvino() -> Any:
    """Import OpenVINO; it would tell its makers what it converts or fails at, unless what does so cannot be imported."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino  # type: ignore[import-untyped]

    return openvino


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep what libraries write to the standard error stream of the process to themselves, unless they fail.

    While it is imported, TensorFlow tells what it found of the machine; no setting of it keeps it from that.
    """
    with tempfile.TemporaryFile() as heard:
        kept = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except Exception:
            heard.seek(0)
            os.write(kept, heard.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
