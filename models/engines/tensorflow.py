"""TensorFlow engine: one compiled call for each chip size, without XLA."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.bundle.card import Card, check_weights
from terraseam.models.engines.building import building
from terraseam.models.engines.profile import EngineError, Profile
from terraseam.models.engines.quiet import import_tensorflow
from terraseam.models.engines.recent_shapes import RecentShapes
from terraseam.models.engines.saved_model import load_saved_model

SHAPES = 8
"""Chip shapes whose calls are kept: tracing takes more CPU time than on other engines, and a call little memory."""


class TensorflowNetwork:
    """The network of a bundle on TensorFlow; thread-safe.

    Args:
        bundle: Folder of the bundle.
        card: Its card.
        profile: Execution profile.

    Raises:
        CardError: If the bundle does not match its card.
        EngineError: If TensorFlow already runs with settings other than the profile's, or cannot run the network.
    """

    def __init__(self, bundle: Path, card: Card, profile: Profile) -> None:
        self._card, self._profile = card, profile
        self._tf = _start_tensorflow(profile)
        with self._tf.device(_device(profile)):
            self._network = load_network(bundle, card, self._tf, profile.precision)
        self._compiled: RecentShapes[Any] = RecentShapes(self._trace, SHAPES)

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network on scaled chips, and return all of its outputs."""
        call = self._compiled.get(batch.shape)
        chips = self._tf.constant(batch)
        with self._executor():
            outputs = call(chips)
            return tuple(tensor.numpy() for tensor in self._tf.nest.flatten(outputs))

    def _trace(self, shape: tuple[int, ...]) -> Any:
        """Compile the call for chips of one shape.

        The shape is fixed: Keras' bilinear upsampling cannot be compiled for chips of unknown size.
        """
        call = self._tf.function(self._run, jit_compile=False, autograph=False)
        spec = self._tf.TensorSpec(shape, self._tf.float32)
        with building(self._card, "tensorflow"), self._executor():
            return call.get_concrete_function(spec)

    def _run(self, chips: Any) -> Any:
        with self._tf.device(_device(self._profile)):
            return self._tf.nest.map_structure(self._in_float32, self._network(chips))

    def _in_float32(self, tensor: Any) -> Any:
        """Cast a floating-point tensor to float32; return any other unchanged."""
        return self._tf.cast(tensor, self._tf.float32) if tensor.dtype.is_floating else tensor

    def _executor(self) -> AbstractContextManager[None]:
        """Return the context of a call; on a CPU it runs in the calling thread, one operation after another.

        TensorFlow's own pool would run branches of the network in parallel: measured no faster when several chips
        are in progress, and with half as much memory again.
        """
        if self._profile.device == "gpu":
            return nullcontext()
        return self._tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR")


def _start_tensorflow(profile: Profile) -> Any:
    """Import TensorFlow and configure it according to a profile."""
    tf = import_tensorflow()
    gpus = tf.config.list_physical_devices("GPU") if profile.device == "gpu" else []
    if profile.device == "gpu" and not gpus:
        raise EngineError(
            "the profile requires a GPU, but TensorFlow finds none; run on the machine where the plan was made, "
            "or plan again here"
        )
    try:
        tf.config.threading.set_intra_op_parallelism_threads(profile.threads)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:
        raise EngineError(
            f"TensorFlow is already set up in this process, but not with {profile.threads} threads per "
            f"operation on a {profile.device}; create the engine before anything else uses TensorFlow"
        ) from error
    if profile.device == "gpu":
        tf.config.experimental.enable_op_determinism()
        tf.config.experimental.enable_tensor_float_32_execution(False)
    return tf


def load_network(bundle: Path, card: Card, tf: Any, precision: str = "float32") -> Callable[[Any], Any]:
    """Load the network of a bundle.

    Returns:
        A function that takes a batch of scaled chips as a tensor and returns one tensor, or a list or a dictionary
        of them.

    Raises:
        CardError: If the bundle does not match its card.
        EngineError: If TensorFlow cannot run its network, or not in that precision.
    """
    if card.network.name == "model.onnx":
        raise EngineError(
            f"TensorFlow does not run model.onnx of {card.name}; pass --engine onnx or openvino"
        )
    if card.network.name == "saved_model":
        if precision != "float32":
            raise EngineError(
                f"the SavedModel of {card.name} computes in its own precision; leave out --precision"
            )
        check_weights(bundle, card)
        return load_saved_model(bundle / card.network.name, tf)
    return _load_keras(bundle, precision)


def _load_keras(bundle: Path, precision: str) -> Callable[[Any], Any]:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise EngineError(
            f"Keras runs on {keras.backend.backend()} here, but the profile requires tensorflow; "
            "set KERAS_BACKEND=tensorflow or leave it unset"
        )
    from terraseam.models.bundle.archive import load_model
    from terraseam.models.engines.precision import compute_in

    model = load_model(bundle)
    if precision != "float32":
        compute_in(model, precision)
    return partial(model, training=False)


def _device(profile: Profile) -> str:
    return f"/{profile.device}:0"
