"""The engine that runs a bundle: one compiled call, built once a process and shared by its threads.

Floats differ in their last bits between devices, thread counts and samples a call. A `Profile` pins them, so
that the same pixels give the same bits wherever the profile is the same.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.card import Card
from models.scaling import scale

CPU_SAMPLES = 1
GPU_SAMPLES = 4
VECTOR_INSTRUCTIONS = ("avx512f", "avx2", "avx", "sve", "asimd")
THREADS = 1


class EngineError(RuntimeError):
    """An engine that cannot run as its profile says."""


@dataclass(frozen=True)
class Profile:
    """What decides the last bits of logits, next to network and pixels.

    Attributes:
        engine: Name of the engine, ``tensorflow``.
        engine_version: Its version.
        keras_version: Version of Keras.
        precision: Type of the network's numbers.
        device: ``cpu`` or ``gpu``.
        instructions: Kind of CPU and its widest vector instructions, which the kernels are chosen by.
        threads: Threads that one operation may use on the CPU.
        samples: Chips per call; calls with fewer are filled up.
    """

    engine: str
    engine_version: str
    keras_version: str
    precision: str
    device: str
    instructions: str
    threads: int
    samples: int

    def __post_init__(self) -> None:
        if self.engine != "tensorflow" or self.precision != "float32" or self.device not in ("cpu", "gpu"):
            raise ValueError(f"no engine runs {self.engine} in {self.precision} on a {self.device}")
        if self.threads < 1 or self.samples < 1:
            raise ValueError(f"threads and samples must be 1 or more, got {self.threads} and {self.samples}")

    def to_json(self) -> dict[str, Any]:
        """Return the profile as a plain dictionary, for content keys and manifests."""
        return asdict(self)


def execution_profile(batch_size: int | None = None) -> Profile:
    """Return the profile of this machine; TensorFlow is imported only where there is a GPU to ask it about.

    Args:
        batch_size: Chips per call; by default 1 on a CPU, where batches do not pay, and 4 on a GPU.
    """
    device = "gpu" if _has_gpu() else "cpu"
    default = GPU_SAMPLES if device == "gpu" else CPU_SAMPLES
    return Profile(
        engine="tensorflow",
        engine_version=_version("tensorflow", "tensorflow-cpu"),
        keras_version=_version("keras"),
        precision="float32",
        device=device,
        instructions=_instructions(),
        threads=THREADS,
        samples=default if batch_size is None else batch_size,
    )


class Engine:
    """A network behind one compiled call for each size of chip; a run has one size.

    Attributes:
        card: Card of the bundle.
        profile: How the call runs.
        calls: Calls of the network so far.

    Raises:
        CardError: If the bundle is not what its card says.
        EngineError: If TensorFlow already runs in another way than the profile says.
    """

    def __init__(self, bundle: str | os.PathLike[str], profile: Profile) -> None:
        self.card = Card.read(bundle)
        self.profile = profile
        self.calls = 0
        self._lock = threading.Lock()
        self._tf = _start_tensorflow(profile)
        self._model = _load(Path(bundle), self._tf, profile)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def logits(self, chips: np.ndarray) -> np.ndarray:
        """Run the network; several threads may do so at once.

        Args:
            chips: Raw values of any raster type, shape ``(n, height, width, bands)``, with height and width
                multiples of the stride; never written to.

        Returns:
            Logits, float32, shape ``(n, height, width, classes)``.

        Raises:
            ValueError: If there are no chips, or they do not fit the network.
        """
        self._check(chips)
        samples = self.profile.samples
        call = self._call((samples, *chips.shape[1:]))
        parts = []
        for first in range(0, len(chips), samples):
            batch = self._feed(chips[first : first + samples])
            with self._executor():
                parts.append(call(batch).numpy()[: len(chips) - first])
            del batch
            with self._lock:
                self.calls += 1
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _feed(self, chips: np.ndarray) -> Any:
        """Return the tensor of one call: chips scaled, the last repeated where there are fewer than a call takes."""
        batch = scale(chips, self.card.scaling)
        missing = self.profile.samples - len(batch)
        if missing:
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        return self._tf.constant(batch)

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
        with self._tf.device(_device(self.profile)):
            return self._model(chips, training=False)

    def _executor(self) -> AbstractContextManager[None]:
        """Return the context of a call; on a CPU it runs in the calling thread, one operation after another.

        TensorFlow's own pool would run branches of the network at once: measured no faster where several chips
        are under way, and with half as much memory again.
        """
        if self.profile.device == "gpu":
            return nullcontext()
        return self._tf.experimental.function_executor_type("SINGLE_THREADED_EXECUTOR")

    def _check(self, chips: np.ndarray) -> None:
        bands, stride = len(self.card.bands), self.card.stride
        if chips.ndim != 4 or not len(chips) or chips.shape[3] != bands:
            raise ValueError(f"{self.card.name} wants chips (1+, height, width, {bands}), got {chips.shape}")
        height, width = chips.shape[1:3]
        if height % stride or width % stride or not height or not width:
            raise ValueError(
                f"{self.card.name} wants chips on multiples of {stride} px, got {height} x {width} px"
            )


_engines: dict[tuple[Path, Profile], Engine] = {}
_engines_lock = threading.Lock()


def shared_engine(bundle: str | os.PathLike[str], profile: Profile) -> Engine:
    """Return the one engine of this process for a bundle and a profile, made at the first call."""
    key = (Path(bundle).resolve(), profile)
    with _engines_lock:
        if key not in _engines:
            _engines[key] = Engine(key[0], profile)
        return _engines[key]


def _instructions() -> str:
    """Such as ``x86_64 avx512f``."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    widest = next((name for name in VECTOR_INSTRUCTIONS if name in flags), "")
    return f"{platform.machine()} {widest}".strip()


def _has_gpu() -> bool:
    """Whether there is a GPU; without device nodes of one TensorFlow is not asked."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    if hidden or not any(Path("/dev").glob("nvidia[0-9]*")):
        return False
    return bool(_import_tensorflow().config.list_physical_devices("GPU"))


def _version(*distributions: str) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EngineError(f"{distributions[0]} is not installed; install it to run networks")


def _import_tensorflow() -> Any:
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
    tf = _import_tensorflow()
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
