"""TensorFlow as the engine: one compiled call for each size of chip, XLA off."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from models.engines.profile import EngineError, Profile


class TensorflowNetwork:
    """The network of a bundle on TensorFlow; several threads may call it at once.

    Args:
        bundle: Folder of the bundle.
        profile: How the call runs.

    Raises:
        CardError: If the bundle is not what its card says.
        EngineError: If TensorFlow already runs in another way than the profile says.
    """

    def __init__(self, bundle: Path, profile: Profile) -> None:
        self._profile = profile
        self._lock = threading.Lock()
        self._tf = _start_tensorflow(profile)
        self._model = _load(bundle, self._tf, profile)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network on scaled chips; returns all that it makes."""
        call = self._call(batch.shape)
        chips = self._tf.constant(batch)
        with self._executor():
            made = call(chips)
            return tuple(tensor.numpy() for tensor in self._tf.nest.flatten(made))

    def _call(self, shape: tuple[int, ...]) -> Any:
        """Return the compiled call for chips of one shape.

        The shape is whole: Keras' bilinear upsampling cannot be compiled for chips of unknown size.
        """
        with self._lock:
            if shape not in self._compiled:
                call = self._tf.function(self._run, jit_compile=False, autograph=False)
                spec = self._tf.TensorSpec(shape, self._tf.float32)
                with self._executor():
                    self._compiled[shape] = call.get_concrete_function(spec)
            return self._compiled[shape]

    def _run(self, chips: Any) -> Any:
        with self._tf.device(_device(self._profile)):
            return self._model(chips, training=False)

    def _executor(self) -> AbstractContextManager[None]:
        """Return the context of a call; on a CPU it runs in the calling thread, one operation after another.

        TensorFlow's own pool would run branches of the network at once: measured no faster where several chips
        are under way, and with half as much memory again.
        """
        if self._profile.device == "gpu":
            return nullcontext()
        return self._tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR")


def import_tensorflow() -> Any:
    """Import TensorFlow as Keras' backend, without what it tells of itself on the terminal."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    with _hushed():
        import tensorflow as tf

    return tf


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


def _start_tensorflow(profile: Profile) -> Any:
    """Import TensorFlow and make it run as a profile says."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU") if profile.device == "gpu" else []
    if profile.device == "gpu" and not gpus:
        raise EngineError(
            "the profile says gpu, but TensorFlow sees none; run where the plan was made, or plan here"
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(profile.threads)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise EngineError(
            f"TensorFlow already runs in this process in another way than with {profile.threads} threads per "
            f"operation on a {profile.device}; make the engine before anything else uses TensorFlow"
        ) from error
    if profile.device == "gpu":
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    return tf


def _load(bundle: Path, tf: Any, profile: Profile) -> Any:
    """Load the network of a bundle onto the profile's device."""
    import keras

    if keras.backend.backend() != "tensorflow":
        raise EngineError(
            f"Keras runs on {keras.backend.backend()} here, the profile says tensorflow; "
            "set KERAS_BACKEND=tensorflow or leave it unset"
        )
    from models.bundle import load_model

    with tf.device(_device(profile)):
        return load_model(bundle)


def _device(profile: Profile) -> str:
    return f"/{profile.device}:0"
