"""Whether TensorFlow's own detection kernels may stand in for the same thing in `keras.ops`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import keras

_local = threading.local()


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Use `keras.ops` alone while a network is traced in this thread, so that other engines can read the graph."""
    before = getattr(_local, "portable", False)
    _local.portable = True
    try:
        yield
    finally:
        _local.portable = before


def uses_tensorflow() -> bool:
    """Whether TensorFlow is the backend and its own kernels are wanted."""
    return keras.backend.backend() == "tensorflow" and not getattr(_local, "portable", False)
