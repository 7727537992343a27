"""Execution profile: everything that determines the last bits of logits, apart from network and pixels.

Floats differ in their last bits between engines, devices, thread counts and batch sizes. A `Profile` pins these,
so that the same pixels give the same bits wherever the profile is the same.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from terraseam.models.bundle.values import ConvertedNetwork
from terraseam.models.engines.choice import PRECISIONS

CPU_SAMPLES = 1
GPU_SAMPLES = 4
VECTOR_INSTRUCTIONS = ("avx512f", "avx2", "avx", "sve", "asimd")
THREADS = 1
DEVICES = ("cpu", "gpu")

TENSORFLOW = ("tensorflow", "tensorflow-cpu")
RUNTIMES = {"tensorflow": TENSORFLOW, "openvino": ("openvino",), "onnx": ("onnxruntime",)}
"""Distributions of each engine, any one of which provides it."""

CONVERTERS = {"tensorflow": (), "openvino": (TENSORFLOW,), "onnx": (TENSORFLOW, ("tf2onnx",))}
"""Distributions that convert TensorFlow networks for an engine, besides the engine itself."""


class EngineError(RuntimeError):
    """An engine that cannot run with its profile."""


@dataclass(frozen=True)
class Profile:
    """Everything that determines the last bits of logits, apart from network and pixels.

    Attributes:
        engine: Name of the engine: ``tensorflow``, ``openvino`` or ``onnx``.
        engine_version: Its version.
        converter: Packages that convert networks for it, with versions, such as ``tensorflow 2.21.0``; empty if
            nothing is converted.
        keras_version: Version of Keras.
        precision: Compute type: ``float32``, or on TensorFlow ``bfloat16`` or ``float16``.
        device: ``cpu`` or ``gpu``.
        instructions: CPU architecture and its widest vector instructions, which determine the kernels.
        threads: Threads that one operation may use on the CPU.
        samples: Chips per call; smaller batches are padded.
    """

    engine: str
    engine_version: str
    converter: str
    keras_version: str
    precision: str
    device: str
    instructions: str
    threads: int
    samples: int

    def __post_init__(self) -> None:
        choices = (DEVICES, PRECISIONS) if self.engine == "tensorflow" else (DEVICES[:1], PRECISIONS[:1])
        known = self.engine in RUNTIMES and self.device in choices[0] and self.precision in choices[1]
        if not known:
            raise ValueError(f"no engine runs {self.engine} in {self.precision} on a {self.device}")
        if self.threads < 1 or self.samples < 1:
            raise ValueError(f"threads and samples must be 1 or more, got {self.threads} and {self.samples}")

    def to_json(self) -> dict[str, Any]:
        """Return the profile as a plain dictionary, for content keys and manifests."""
        return asdict(self)


def execution_profile(
    batch_size: int | None = None,
    engine: str = "tensorflow",
    precision: str = "float32",
    *,
    converted: Sequence[ConvertedNetwork | None] = (None,),
    ask: bool = True,
) -> Profile:
    """Return the profile of this machine; TensorFlow is imported only to query a GPU that may be present.

    Args:
        batch_size: Chips per call; by default 1 on a CPU, where batches do not pay, and 4 on a GPU.
        engine: Name of the engine; all but TensorFlow run on the CPU.
        precision: Compute type of the network.
        converted: For OpenVINO, each network as its bundle holds it converted; None if it is converted here.
        ask: Whether to query TensorFlow if there may be a GPU; otherwise one is assumed.

    Raises:
        EngineError: If the engine is not installed.
    """
    has_gpu = _has_gpu if ask else may_have_gpu
    device = "gpu" if engine == "tensorflow" and has_gpu() else "cpu"
    default = GPU_SAMPLES if device == "gpu" else CPU_SAMPLES
    engine_version = _required_version(*RUNTIMES[engine])
    origins = [
        _origin(each, engine_version) if each and engine == "openvino" else _origin_here(engine)
        for each in converted
    ]
    return Profile(
        engine=engine,
        engine_version=engine_version,
        converter=_in_order(converter for converter, _ in origins),
        keras_version=_in_order(keras_version for _, keras_version in origins),
        precision=precision,
        device=device,
        instructions=_instructions(),
        threads=THREADS,
        samples=default if batch_size is None else batch_size,
    )


def _origin(converted: ConvertedNetwork, engine_version: str) -> tuple[str, str]:
    """Return the packages that converted a network in its bundle, and the version of Keras that built it."""
    by_another = converted.version != engine_version
    return f"{converted.converter}{f', openvino {converted.version}' * by_another}", converted.keras_version


def _origin_here(engine: str) -> tuple[str, str]:
    """Return the packages that convert networks here, and the version of Keras that builds them."""
    converters = [(names[0], _version(*names)) for names in CONVERTERS[engine]]
    listed = ", ".join(f"{name} {version}" for name, version in converters if version)
    return listed, _required_version("keras")


def _in_order(texts: Iterable[str]) -> str:
    """Join texts in order, without duplicates."""
    return "; ".join(dict.fromkeys(texts))


def may_have_gpu() -> bool:
    """Return whether this machine has GPU device nodes that are not hidden."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    return not hidden and any(Path("/dev").glob("nvidia[0-9]*"))


def _has_gpu() -> bool:
    """Return whether there is a GPU; without GPU device nodes TensorFlow is not queried."""
    if not may_have_gpu():
        return False
    from terraseam.models.engines.quiet import import_tensorflow

    return bool(import_tensorflow().config.list_physical_devices("GPU"))


def _instructions() -> str:
    """Return CPU architecture and vector instructions, such as ``x86_64 avx512f``."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    widest = next((name for name in VECTOR_INSTRUCTIONS if name in flags), "")
    return f"{platform.machine()} {widest}".strip()


def _required_version(*distributions: str) -> str:
    version = _version(*distributions)
    if version is None:
        raise EngineError(f"{distributions[0]} is not installed here; install it to run networks with it")
    return version


def _version(*distributions: str) -> str | None:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
