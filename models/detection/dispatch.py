"""Choose between TensorFlow's own detection kernels and their equivalents in `keras.ops`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import keras

_local = threading.local()


@contextlib.contextmanager
def portable() -> Iterator[None]:
    """Use only `keras.ops` while tracing a network in this thread, so that other engines can read the graph."""
    before = getattr(_local, "portable", False)
    _local.portable = True
    try:
        yield
    finally:
        _local.portable = before


def uses_tensorflow() -> bool:
    """Return whether TensorFlow is the backend and its own kernels may be used."""
    return keras.backend.backend() == "tensorflow" and not getattr(_local, "portable", False)
