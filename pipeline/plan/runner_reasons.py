"""Check whether a job can run on remote workers, without importing Beam; each reason is one sentence."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from terraseam.models.bundle.card import SHIPPED, find_bundle
from terraseam.models.errors import CardError
from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.errors import did_you_mean
from terraseam.pipeline.machines import ACCELERATORS, NO_ACCELERATOR
from terraseam.pipeline.options.beam import SETUP_FILE
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.storage.credentials import credentials_reason
from terraseam.tiles.raster.inspect import is_local


class RemoteJob(Protocol):
    """A job that may run on remote workers."""

    @property
    def rasters(self) -> tuple[str, ...]:
        """Paths, directories and globs, as given."""

    @property
    def output(self) -> str:
        """Output folder."""

    @property
    def work(self) -> str | None:
        """Folder of intermediate files, if one was given."""

    @property
    def beam(self) -> BeamArguments:
        """Arguments for Apache Beam."""


@dataclass(frozen=True, slots=True)
class NeededPlace:
    """A file or folder that workers need.

    Attributes:
        name: Its name in messages, such as ``--output out``.
        remedy: What to do if workers cannot access it.
    """

    name: str
    remedy: str


def segment_reasons(options: SegmentOptions) -> list[str]:
    """Return why a segmentation cannot run on its runner."""
    bundles = [] if options.beam.has_image else _local_bundles(options)
    return [*remote_reasons(options, bundles), *_accelerator_reasons(options), *_worker_reasons(options)]


def remote_reasons(job: RemoteJob, more: Iterable[NeededPlace] = ()) -> list[str]:
    """Return why a job cannot run on its runner.

    Args:
        job: The job.
        more: Local files that workers need besides rasters and folders.
    """
    if job.beam.is_dask:
        return ["Beam's DaskRunner silently loses parts of jobs like this; choose another --runner"]
    if not job.beam.is_dataflow:
        return []
    places = [] if job.beam.service_is_here else [*_local_places(job), *more]
    return [
        *_missing(job.beam),
        *(
            f"{place.name} is on this machine, which Dataflow workers cannot access; {place.remedy}"
            for place in places
        ),
        *_packaging_reasons(job.beam),
        *_clashes(job.beam),
        *_login_reasons(job.beam),
    ]


def remote_notes(options: SegmentOptions) -> list[str]:
    """Return notes on a segmentation that runs on remote workers."""
    if options.runs_here or options.beam.service_is_here or options.beam.loops_back:
        return []
    if not options.beam.is_dataflow:
        names = [place.name for place in (*_local_places(options), *_local_bundles(options))]
        requirement = f"; workers must find them under the same paths: {', '.join(names)}" if names else ""
        return [f"options are passed to {options.beam.runner} unchanged{requirement}"]
    if options.beam.has_image:
        return [
            f"{place.name} is expected in the image that workers run in" for place in _local_bundles(options)
        ]
    return [
        "workers install Terraseam and TensorFlow when they start, which takes minutes, and have no libraries for "
        "GPUs; a container image avoids both: see deploy/README.md, and pass --sdk_container_image"
    ]


def _local_places(job: RemoteJob) -> list[NeededPlace]:
    """Return the rasters and folders on this machine."""
    rasters = [
        NeededPlace(raster, "copy it to a bucket: gs://...") for raster in job.rasters if is_local(raster)
    ]
    named = {"--output": job.output, "--work": job.work}
    folders = [
        NeededPlace(f"{option} {folder}", "name a folder in a bucket: gs://...")
        for option, folder in named.items()
        if folder is not None and is_local(folder)
    ]
    return [*rasters, *folders]


def _local_bundles(options: SegmentOptions) -> list[NeededPlace]:
    """Return the bundles on this machine, except built-in ones, which are installed with Terraseam."""
    return [
        NeededPlace(
            f"--model {name}", "copy it to a bucket, or into an image that --sdk_container_image names"
        )
        for name in options.models
        if is_local(name) and not _ships(name)
    ]


def _ships(name: str) -> bool:
    try:
        return find_bundle(name).parent == SHIPPED
    except CardError:
        return False


def _missing(beam: BeamArguments) -> list[str]:
    """Return the required options of Dataflow that are missing or invalid."""
    # Either of the temporary and staging locations serves for both.
    needs = {
        "the project to bill: pass --project PROJECT": beam.project,
        "the region of its workers: pass --region REGION, such as europe-west1": beam.region
        or os.environ.get("CLOUDSDK_COMPUTE_REGION"),
        "a place for temporary files: pass --temp_location gs://BUCKET/temp": beam.temp_location
        or beam.staging_location,
    }
    places = {"--temp_location": beam.temp_location, "--staging_location": beam.staging_location}
    outside = [
        f"{option} {place} is not in a bucket; pass {option} gs://BUCKET/FOLDER"
        for option, place in places.items()
        if place and not place.startswith("gs://") and not beam.service_is_here
    ]
    return [*(f"Dataflow needs {need}" for need, value in needs.items() if not value), *outside]


def _packaging_reasons(beam: BeamArguments) -> list[str]:
    """Return which packages are missing here, or cannot be installed on workers."""
    reasons = []
    if not _has_client():
        reasons.append(
            "Dataflow needs packages that are not installed here; install them with pip install 'terraseam[gcp]'"
        )
    if not beam.has_image and not beam.has_setup_file and not SETUP_FILE.is_file():
        reasons.append(
            "workers have nothing to install Terraseam from, as it was installed here without its source; pass "
            "--sdk_container_image IMAGE, or --setup_file with the path of its setup.py"
        )
    return reasons


def _has_client() -> bool:
    """Return whether the Dataflow client is installed."""
    try:
        return importlib.util.find_spec("google.cloud.dataflow_v1beta3") is not None
    except ModuleNotFoundError:
        return False


def _clashes(beam: BeamArguments) -> list[str]:
    """Return the options that conflict with the resource hints of stages."""
    reasons = []
    if beam.is_flexible:
        reasons.append(
            "--flexrs_goal cannot be combined with the memory and accelerators that stages request; leave it out"
        )
    if any("worker_accelerator" in service for service in beam.service_options):
        reasons.append(
            "worker_accelerator gives every worker an accelerator, and only half of the job can use one; pass "
            "--accelerator NAME instead"
        )
    return reasons


def _login_reasons(beam: BeamArguments) -> list[str]:
    reason = credentials_reason() if beam.needs_login else None
    return [reason] if reason else []


def _accelerator_reasons(options: SegmentOptions) -> list[str]:
    """Return the reason if the accelerator is unknown or unavailable."""
    name = options.accelerator
    if name is None:
        return []
    known = (*ACCELERATORS, NO_ACCELERATOR)
    if name not in known:
        # Compare the last word, which identifies the accelerator: nvidia-t4 means nvidia-tesla-t4, not nvidia-l4.
        word = name.lower().rpartition("-")[2]
        meant = next((candidate for candidate in known if word in candidate.split("-")), name)
        hint = did_you_mean(meant, known, "{} ")
        return [f"--accelerator {name} is not known; {hint}choose one of {', '.join(known)}"]
    if not options.beam.is_dataflow:
        return [
            "--accelerator is for --runner DataflowRunner; other runners use the GPUs that their machines have"
        ]
    if name == NO_ACCELERATOR or options.beam.brings_packages:
        return []
    return [
        f"--accelerator {name} needs workers with libraries for GPUs; pass --sdk_container_image with the image that "
        "deploy/README.md builds, or --accelerator none"
    ]


def _worker_reasons(options: SegmentOptions) -> list[str]:
    """Return the reason if ``--workers`` or ``--memory`` conflicts with the runner or its options."""
    if options.memory is not None and not options.runs_here:
        return [
            "--memory is for runs on this machine; Dataflow takes --machine_type, and others have options of their own"
        ]
    if options.workers is None:
        return []
    if not options.runs_here:
        return ["--workers is for runs on this machine; Dataflow takes --num_workers and --max_num_workers"]
    if options.beam.names_processes:
        return ["--workers replaces --direct_num_workers and --direct_running_mode; leave those out"]
    return []
