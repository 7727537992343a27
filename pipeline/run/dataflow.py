"""What a job asks of Dataflow that its user would forget; whatever the user says stands."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terraseam.pipeline.machines import (
    PLAIN,
    Machine,
)
from terraseam.pipeline.options.beam import SETUP_FILE, given, has_image, is_dataflow
from terraseam.pipeline.plan.workers import IMAGE_DISK_GB, accelerator, disk_gb, infer_machine, machine_types
from terraseam.pipeline.version import version

if TYPE_CHECKING:
    from terraseam.pipeline.plan.plan import Plan


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
    if not machine_types(beam):
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


def job_name(output: str) -> str:
    """The name of the job of a folder of results: Dataflow takes no second one of that name while it runs."""
    folder = re.sub("[^a-z0-9]+", "-", output.rstrip("/").rpartition("/")[2].lower()).strip("-")
    return f"terraseam-{folder[:40]}-{hashlib.sha256(output.rstrip('/').encode()).hexdigest()[:8]}".replace(
        "--", "-"
    )


def _label(value: str) -> str:
    """A value of a label, of the characters that Google takes."""
    return re.sub("[^a-z0-9_-]", "-", value.lower())[:63]
