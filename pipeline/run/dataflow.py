"""Complete the arguments of Dataflow jobs; command-line options override these defaults."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.machines import PLAIN, Machine
from terraseam.pipeline.options.beam import SETUP_FILE
from terraseam.pipeline.plan.workers import IMAGE_DISK_GB, accelerator, disk_gb, infer_machine
from terraseam.pipeline.version import version

if TYPE_CHECKING:
    from terraseam.pipeline.plan.plan import Plan


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of a Dataflow job.

    Attributes:
        machine: Machine type of workers without an accelerator.
        threads: Threads of a worker, which is a single process: all share one network.
        disk_gb: Disk of a worker, in 10**9 bytes.
    """

    machine: Machine
    threads: int
    disk_gb: int


def segment_arguments(plan: Plan) -> BeamArguments:
    """Return the Beam arguments of a segmentation on Dataflow."""
    chosen = accelerator(plan)
    # With an accelerator, the inference stages run on their own machines, named in their resource hints.
    machine = PLAIN[0] if chosen else infer_machine(plan)
    workers = Workers(machine, infer_machine(plan).cores, disk_gb(plan, machine.cores))
    labels = {"terraseam_model": f"{plan.card.name}-{plan.card.version}"}
    return dataflow_arguments(plan.options.beam, plan.options.output, workers, labels)


def vectorize_arguments(beam: BeamArguments, output: str) -> BeamArguments:
    """Return the Beam arguments of a job without a network: the user's, completed by defaults on Dataflow."""
    if not beam.is_dataflow:
        return beam
    return dataflow_arguments(beam, output, Workers(PLAIN[0], PLAIN[0].cores, IMAGE_DISK_GB), {})


def dataflow_arguments(
    beam: BeamArguments, output: str, workers: Workers, labels: Mapping[str, str]
) -> BeamArguments:
    """Return the Beam arguments of a Dataflow job: defaults, then the user's, which override them.

    Args:
        beam: The user's arguments.
        output: Output folder.
        workers: The workers of the job.
        labels: Labels of the job, in addition to Terraseam's own.
    """

    def default_argument(name: str, value: object) -> list[str]:
        return [] if beam.has(name) else [f"{name}={value}"]

    all_labels = {"app": "terraseam", "terraseam_version": version(), **labels}
    says_processes = any("use_multiple_sdk_containers" in experiment for experiment in beam.experiments)
    added = [
        *default_argument("--job_name", job_name(output)),
        # The last of two labels with the same name counts, which is the user's.
        *(f"--labels={name}={_label(value)}" for name, value in all_labels.items()),
        *([] if beam.machine_type is not None else [f"--machine_type={workers.machine.name}"]),
        *default_argument("--disk_size_gb", workers.disk_gb),
        *default_argument("--number_of_worker_harness_threads", workers.threads),
        *([] if says_processes else ["--experiments=no_use_multiple_sdk_containers"]),
        # Workers get Terraseam from a container image, or install it.
        *(
            default_argument("--sdk_location", "container")
            if beam.has_image
            else default_argument("--setup_file", SETUP_FILE)
        ),
    ]
    return beam.after(added)


def job_name(output: str) -> str:
    """Return a job name derived from the output folder: Dataflow rejects a second running job of that name."""
    folder = re.sub("[^a-z0-9]+", "-", output.rstrip("/").rpartition("/")[2].lower()).strip("-")
    return f"terraseam-{folder[:40]}-{hashlib.sha256(output.rstrip('/').encode()).hexdigest()[:8]}".replace(
        "--", "-"
    )


def _label(value: str) -> str:
    """Return a label value with only the characters that Google allows."""
    return re.sub("[^a-z0-9_-]", "-", value.lower())[:63]
