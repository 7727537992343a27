"""Machines and accelerators that the workers of a job need."""

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
"""Memory that TensorFlow with CUDA, Beam and GDAL take beside the pixels of sheets, in bytes."""


IMAGE_DISK_GB = 50
"""Disk for a worker's system and image, in 10**9 bytes."""


DRAFTS = 2
"""How often the pixels of a raster lie on a worker's disk while it is published: as a draft, and as the result."""


def accelerator(plan: Plan) -> str | None:
    """Name of the accelerator of the infer half; None for none."""
    options = plan.options
    if plan.engine != "tensorflow" or not options.beam.is_dataflow:
        return None
    wanted = options.accelerator or (DEFAULT_ACCELERATOR if options.beam.has_image else NO_ACCELERATOR)
    return wanted if wanted in ACCELERATORS else None


def infer_machine(plan: Plan) -> Machine:
    """What the infer half runs on."""
    chosen = accelerator(plan)
    return smallest(ACCELERATORS[chosen] if chosen else PLAIN, lambda machine: infer_memory(plan, machine))


def infer_memory(plan: Plan, machine: Machine) -> float:
    """Memory that a worker of the infer half needs on a machine, in bytes: every core works on a sheet of its own."""
    if accelerator(plan):
        return GPU_MEMORY + machine.cores * plan.sheet_memory()
    return plan.memory(machine.cores) + (machine.cores - 1) * plan.sheet_memory()


def infer_hints(plan: Plan) -> dict[str, str]:
    """What the infer half asks of any runner that knows hints."""
    machine = infer_machine(plan)
    hints = {"min_ram": f"{math.ceil(infer_memory(plan, machine) / 10**6)} MB"}
    chosen = accelerator(plan)
    if chosen:
        kind = _own_kind(plan) or machine.name
        hints["accelerator"] = f"type:{chosen};count:1;machine_type:{kind};install-nvidia-driver"
    return hints


def _own_kind(plan: Plan) -> str | None:
    """The kind of machine that the user wants for the infer half; None for what suits."""
    asked = plan.options.beam.machine_type
    fitting = asked is not None and asked.startswith(f"{infer_machine(plan).family}-")
    return asked if fitting or not accelerator(plan) else None


def infer_kind(plan: Plan) -> str:
    """What the infer half runs on, in words."""
    chosen = accelerator(plan)
    kind = _own_kind(plan) or infer_machine(plan).name
    return f"{kind} with an {chosen}" if chosen else kind


def machine_reasons(plan: Plan) -> list[str]:
    """That no machine has memory enough for the infer half."""
    machine = infer_machine(plan)
    need = infer_memory(plan, machine)
    if not plan.options.beam.is_dataflow or fits(machine, lambda _: need):
        return []
    return [
        f"workers need about {format_bytes(need)} of memory, and the largest machine that suits, {machine.name}, has "
        f"{format_bytes(machine.memory)}; pass a smaller --tile, --halo or --sheet"
    ]


def disk_gb(plan: Plan, at_once: int) -> int:
    """Disk of a worker that may publish so many rasters at the same time, in 10**9 bytes."""
    pixels = sorted(raster.georef.height * raster.georef.width for raster in plan.rasters)
    share = sum(pixels[-at_once:]) / plan.pixels()
    return IMAGE_DISK_GB + math.ceil(DRAFTS * share * plan.disk() / GB)
