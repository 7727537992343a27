"""What a job asks of Dataflow that its user would forget; whatever the user says stands."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terraseam.pipeline.beam_options import given
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
from terraseam.pipeline.runner_reasons import SETUP_FILE, has_image, is_dataflow
from terraseam.pipeline.units import format_bytes
from terraseam.pipeline.version import version

if TYPE_CHECKING:
    from terraseam.pipeline.plan import Plan

GPU_MEMORY = 4 * GB
"""Memory that TensorFlow with CUDA, Beam and GDAL take beside the pixels of sheets, in bytes."""

IMAGE_DISK_GB = 50
"""Disk for a worker's system and image, in 10**9 bytes."""

DRAFTS = 2
"""How often the pixels of a raster lie on a worker's disk while it is published: as a draft, and as the result."""


@dataclass(frozen=True, slots=True)
class Workers:
    """What workers of a job are like.

    Attributes:
        machine: That of workers without accelerator.
        threads: Threads of a worker, which is one process: all share one network.
        disk_gb: Disk of a worker, in 10**9 bytes.
    """

    machine: Machine
    threads: int
    disk_gb: int


def accelerator(plan: Plan) -> str | None:
    """Name of the accelerator of the infer half; None for none."""
    options = plan.options
    if plan.engine != "tensorflow" or not is_dataflow(options.beam):
        return None
    wanted = options.accelerator or (DEFAULT_ACCELERATOR if has_image(options.beam) else NO_ACCELERATOR)
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
    asked = next(reversed(_machine_types(plan.options.beam)), None)
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
    if not is_dataflow(plan.options.beam) or fits(machine, lambda _: need):
        return []
    return [
        f"workers need about {format_bytes(need)} of memory, and the largest machine that suits, {machine.name}, has "
        f"{format_bytes(machine.memory)}; pass a smaller --tile, --halo or --sheet"
    ]


def segment_arguments(plan: Plan) -> tuple[str, ...]:
    """The arguments for Beam of a segmentation on Dataflow."""
    chosen = accelerator(plan)
    # With an accelerator the infer half has machines of its own, which its hints name.
    machine = PLAIN[0] if chosen else infer_machine(plan)
    workers = Workers(machine, infer_machine(plan).cores, disk_gb(plan, machine.cores))
    labels = {"terraseam_model": f"{plan.card.name}-{plan.card.version}"}
    return dataflow_arguments(plan.options.beam, plan.options.output, workers, labels)


def vectorize_arguments(beam: Sequence[str], output: str) -> tuple[str, ...]:
    """The arguments for Beam of a job without a network: what the user says, and on Dataflow what is missing."""
    if not is_dataflow(beam):
        return tuple(beam)
    return dataflow_arguments(beam, output, Workers(PLAIN[0], PLAIN[0].cores, IMAGE_DISK_GB), {})


def disk_gb(plan: Plan, at_once: int) -> int:
    """Disk of a worker that may publish so many rasters at the same time, in 10**9 bytes."""
    pixels = sorted(raster.georef.height * raster.georef.width for raster in plan.rasters)
    share = sum(pixels[-at_once:]) / plan.pixels()
    return IMAGE_DISK_GB + math.ceil(DRAFTS * share * plan.disk() / GB)


def dataflow_arguments(
    beam: Sequence[str], output: str, workers: Workers, labels: Mapping[str, str]
) -> tuple[str, ...]:
    """The arguments for Beam of a job on Dataflow: what is missing, and what the user says.

    Args:
        beam: What the user says.
        output: Folder of the results.
        workers: What workers are like.
        labels: What the job is found by, next to Terraseam's own labels.
    """
    added = [] if given(beam, "--job_name") else [f"--job_name={job_name(output)}"]
    all_labels = {"app": "terraseam", "terraseam_version": version(), **labels}
    # Of two labels with one name the last counts, which is the user's.
    added += [f"--labels={name}={_label(value)}" for name, value in all_labels.items()]
    if not _machine_types(beam):
        added.append(f"--machine_type={workers.machine.name}")
    if not given(beam, "--disk_size_gb"):
        added.append(f"--disk_size_gb={workers.disk_gb}")
    if not given(beam, "--number_of_worker_harness_threads"):
        added.append(f"--number_of_worker_harness_threads={workers.threads}")
    if not any(
        "use_multiple_sdk_containers" in said for said in given(beam, "--experiments", "--experiment")
    ):
        added.append("--experiments=no_use_multiple_sdk_containers")
    return (*added, *_packaging(beam), *beam)


def _packaging(beam: Sequence[str]) -> list[str]:
    """How workers come by Terraseam: by an image that has it, or by installing it."""
    if has_image(beam):
        return [] if given(beam, "--sdk_location") else ["--sdk_location=container"]
    return [] if given(beam, "--setup_file") else [f"--setup_file={SETUP_FILE}"]


def _machine_types(beam: Sequence[str]) -> list[str]:
    return given(beam, "--machine_type", "--worker_machine_type")


def job_name(output: str) -> str:
    """The name of the job of a folder of results: Dataflow takes no second one of that name while it runs."""
    folder = re.sub("[^a-z0-9]+", "-", output.rstrip("/").rpartition("/")[2].lower()).strip("-")
    return f"terraseam-{folder[:40]}-{hashlib.sha256(output.rstrip('/').encode()).hexdigest()[:8]}".replace(
        "--", "-"
    )


def _label(value: str) -> str:
    """A value of a label, of the characters that Google takes."""
    return re.sub("[^a-z0-9_-]", "-", value.lower())[:63]
