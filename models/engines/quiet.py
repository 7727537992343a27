"""Import TensorFlow and OpenVINO without their console output and telemetry."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any


def import_tensorflow() -> Any:
    """Import TensorFlow as Keras' backend, without its console output."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with _hushed():
        import tensorflow as tf

    return tf


def import_openvino() -> Any:
    """Import OpenVINO with its telemetry disabled, by making the telemetry package unimportable."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino  # type: ignore[import-untyped]

    return openvino


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Suppress the process's standard error stream, unless an exception is raised.

    TensorFlow reports on the machine during import; it has no setting to prevent that.
    """
    with tempfile.TemporaryFile() as heard:
        saved_stderr = os.dup(2)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        except Exception:
            heard.seek(0)
            os.write(saved_stderr, heard.read())
            raise
        finally:
            os.dup2(saved_stderr, 2)
            os.close(saved_stderr)
