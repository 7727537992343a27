"""Choose the machines and accelerators of Dataflow workers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from terraseam.pipeline.machines import (
    ACCELERATORS,
    DEFAULT_ACCELERATOR,
    GB,
    NO_ACCELERATOR,
    PLAIN,
    Machine,
    fits,
    smallest,
)
from terraseam.pipeline.units import format_bytes

if TYPE_CHECKING:
    from terraseam.pipeline.plan.plan import Plan


GPU_MEMORY = 4 * GB
"""Memory of TensorFlow with CUDA, Beam and GDAL besides the pixels of sheets, in bytes."""


IMAGE_DISK_GB = 50
"""Disk for a worker's system and container image, in 10**9 bytes."""


DRAFTS = 2
"""Copies of a raster's pixels on a worker's disk while it is published: the draft and the result."""


def accelerator(plan: Plan) -> str | None:
    """Return the accelerator of the inference stages; None for none."""
    options = plan.options
    if plan.engine != "tensorflow" or not options.beam.is_dataflow:
        return None
    name = options.accelerator or (DEFAULT_ACCELERATOR if options.beam.has_image else NO_ACCELERATOR)
    return name if name in ACCELERATORS else None


def infer_machine(plan: Plan) -> Machine:
    """Return the machine type of the inference stages."""
    chosen = accelerator(plan)
    return smallest(ACCELERATORS[chosen] if chosen else PLAIN, lambda machine: infer_memory(plan, machine))


def infer_memory(plan: Plan, machine: Machine) -> float:
    """Return the memory that an inference worker needs on a machine, in bytes; each core processes its own sheet."""
    if accelerator(plan):
        return GPU_MEMORY + machine.cores * plan.sheet_memory()
    return plan.memory(machine.cores) + (machine.cores - 1) * plan.sheet_memory()


def suits_large_tiles_remotely(plan: Plan, large: Plan) -> bool:
    """Return whether Dataflow workers without accelerators have the memory for large tiles.

    Other runners do not tell what their workers have, and neither do accelerators.

    Args:
        plan: The run.
        large: The same run with large tiles.
    """
    if not plan.options.beam.is_dataflow or accelerator(plan):
        return False
    machine = infer_machine(plan)
    return fits(machine, lambda machine: infer_memory(large, machine))


def infer_hints(plan: Plan) -> dict[str, str]:
    """Return the resource hints of the inference stages, for runners that support them."""
    machine = infer_machine(plan)
    hints = {"min_ram": f"{math.ceil(infer_memory(plan, machine) / 10**6)} MB"}
    chosen = accelerator(plan)
    if chosen:
        kind = _own_kind(plan) or machine.name
        hints["accelerator"] = f"type:{chosen};count:1;machine_type:{kind};install-nvidia-driver"
    return hints


def _own_kind(plan: Plan) -> str | None:
    """Return the machine type that the user chose for the inference stages; None to choose automatically."""
    machine_type = plan.options.beam.machine_type
    fitting = machine_type is not None and machine_type.startswith(f"{infer_machine(plan).family}-")
    return machine_type if fitting or not accelerator(plan) else None


def infer_kind(plan: Plan) -> str:
    """Return the machine type and accelerator of the inference stages as text."""
    chosen = accelerator(plan)
    kind = _own_kind(plan) or infer_machine(plan).name
    return f"{kind} with an {chosen}" if chosen else kind


def machine_reasons(plan: Plan) -> list[str]:
    """Return the reason if no machine type has enough memory for inference."""
    machine = infer_machine(plan)
    need = infer_memory(plan, machine)
    if not plan.options.beam.is_dataflow or fits(machine, lambda _: need):
        return []
    return [
        f"workers need about {format_bytes(need)} of memory, and the largest machine that suits, {machine.name}, has "
        f"{format_bytes(machine.memory)}; pass a smaller --tile, --halo or --sheet"
    ]


def disk_gb(plan: Plan, at_once: int) -> int:
    """Return the disk of a worker that publishes up to `at_once` rasters concurrently, in 10**9 bytes."""
    pixels = sorted(raster.georef.height * raster.georef.width for raster in plan.rasters)
    share = sum(pixels[-at_once:]) / plan.pixels()
    return IMAGE_DISK_GB + math.ceil(DRAFTS * share * plan.disk() / GB)
