"""List the Compute Engine machine types for workers, and their accelerators.

Sources: machine families, https://cloud.google.com/compute/docs/machine-resource and
https://cloud.google.com/compute/docs/gpus; GPUs on Dataflow,
https://cloud.google.com/dataflow/docs/gpu/gpu-support.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

GB = 10**9

USABLE = 0.8
"""Share of a machine's memory not used by its system and Dataflow's own processes."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine type.

    Attributes:
        name: Google's name of it.
        cores: Number of vCPUs.
        memory: Memory, in bytes.
    """

    name: str
    cores: int
    memory: int

    @property
    def family(self) -> str:
        """Machine family, such as ``n1``."""
        return self.name.partition("-")[0]


def _machines(*kinds: tuple[str, int, int]) -> tuple[Machine, ...]:
    return tuple(Machine(name, cores, memory * GB) for name, cores, memory in kinds)


PLAIN = _machines(
    ("n2-standard-4", 4, 16),
    ("n2-highmem-4", 4, 32),
    ("n2-highmem-8", 8, 64),
    ("n2-highmem-16", 16, 128),
    ("n2-highmem-32", 32, 256),
)
"""Machine types without accelerators, by memory, from one family whose CPUs all have AVX-512, so that the workers
of a job share one execution profile."""

_N1 = _machines(
    ("n1-standard-4", 4, 15), ("n1-highmem-4", 4, 26), ("n1-highmem-8", 8, 52), ("n1-highmem-16", 16, 104)
)
_G2 = _machines(("g2-standard-4", 4, 16), ("g2-standard-8", 8, 32), ("g2-standard-12", 12, 48),
                ("g2-standard-16", 16, 64), ("g2-standard-32", 32, 128))  # fmt: skip

ACCELERATORS: dict[str, tuple[Machine, ...]] = {
    "nvidia-tesla-t4": _N1,
    "nvidia-l4": _G2,
    "nvidia-tesla-p4": _N1,
    "nvidia-tesla-p100": _N1,
    "nvidia-tesla-v100": _N1[:-1],
    "nvidia-tesla-a100": _machines(("a2-highgpu-1g", 12, 85)),
    "nvidia-a100-80gb": _machines(("a2-ultragpu-1g", 12, 170)),
    "nvidia-h100-80gb": _machines(("a3-highgpu-1g", 26, 234)),
}
"""Accelerators by name, each with the machine types that take one of it, by memory."""

DEFAULT_ACCELERATOR = "nvidia-tesla-t4"
"""Accelerator of workers with a container image, for networks that TensorFlow runs."""

NO_ACCELERATOR = "none"


def smallest(machines: Sequence[Machine], need: Callable[[Machine], float]) -> Machine:
    """Return the smallest machine type with enough memory; the largest if none has enough.

    Args:
        machines: Machine types, by memory.
        need: Returns the memory that a worker on a machine type needs, in bytes.
    """
    return next((machine for machine in machines if fits(machine, need)), machines[-1])


def fits(machine: Machine, need: Callable[[Machine], float]) -> bool:
    """Return whether a machine type has enough memory."""
    return need(machine) <= USABLE * machine.memory
