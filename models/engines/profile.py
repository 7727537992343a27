"""The execution profile: what decides the last bits of logits, next to network and pixels.

Floats differ in their last bits between engines, devices, thread counts and samples a call. A `Profile` pins them,
so that the same pixels give the same bits wherever the profile is the same.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    from models.engines.tensorflow import import_tensorflow

    return bool(import_tensorflow().config.list_physical_devices("GPU"))


def _version(*distributions: str) -> str:
    for name in distributions:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EngineError(f"{distributions[0]} is not installed; install it to run networks")
