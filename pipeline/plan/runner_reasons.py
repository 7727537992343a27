"""Why a job cannot run on other machines, one sentence a reason, known without importing Beam."""

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
    """What may run on other machines."""

    @property
    def rasters(self) -> tuple[str, ...]:
        """Paths, directories and globs, as given."""

    @property
    def output(self) -> str:
        """Folder of the results."""

    @property
    def work(self) -> str | None:
        """Folder of intermediate files, where one was given."""

    @property
    def beam(self) -> BeamArguments:
        """Arguments for Apache Beam."""


@dataclass(frozen=True, slots=True)
class NeededPlace:
    """A file or folder that workers need.

    Attributes:
        name: What it is called in a sentence, such as ``--output out``.
        remedy: What to do where workers cannot get at it.
    """

    name: str
    remedy: str


def segment_reasons(options: SegmentOptions) -> list[str]:
    """Why a segmentation cannot run where it is asked to."""
    bundles = [] if options.beam.has_image else _local_bundles(options)
    return [*remote_reasons(options, bundles), *_accelerator_reasons(options), *_worker_reasons(options)]


def remote_reasons(job: RemoteJob, more: Iterable[NeededPlace] = ()) -> list[str]:
    """Why a job cannot run where it is asked to.

    Args:
        job: What is to run.
        more: What is on this machine, next to rasters and folders.
    """
    if job.beam.is_dask:
        return ["Beam's DaskRunner loses parts of a job like this without an error; choose another --runner"]
    if not job.beam.is_dataflow:
        return []
    places = [] if job.beam.service_is_here else [*_local_places(job), *more]
    return [
        *_missing(job.beam),
        *(
            f"{place.name} is on this machine, where workers of Dataflow cannot get at it; {place.remedy}"
            for place in places
        ),
        *_packaging_reasons(job.beam),
        *_clashes(job.beam),
        *_login_reasons(job.beam),
    ]


def remote_notes(options: SegmentOptions) -> list[str]:
    """What the user should know of a segmentation on other machines."""
    if options.runs_here or options.beam.service_is_here or options.beam.loops_back:
        return []
    if not options.beam.is_dataflow:
        names = [place.name for place in (*_local_places(options), *_local_bundles(options))]
        what = f"; workers must find them under the same paths: {', '.join(names)}" if names else ""
        return [f"{options.beam.runner} gets its options as they are given{what}"]
    if options.beam.has_image:
        return [
            f"{place.name} is looked for in the image that workers run in"
            for place in _local_bundles(options)
        ]
    return [
        "workers install Terraseam and TensorFlow when they start, which takes minutes each, and have no libraries for "
        "GPUs; an image has all that: see deploy/README.md, and pass --sdk_container_image"
    ]


def _local_places(job: RemoteJob) -> list[NeededPlace]:
    """Rasters and folders on this machine."""
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
    """Bundles on this machine; those that ship with Terraseam go where it goes."""
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
    """What Dataflow cannot do without."""
    # A place for temporary files serves for staging, too, and the other way round.
    needs = {
        "the project that pays: pass --project PROJECT": beam.project,
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
    return [*(f"Dataflow needs {what}" for what, given in needs.items() if not given), *outside]


def _packaging_reasons(beam: BeamArguments) -> list[str]:
    """Packages that are missing here, or cannot be sent to workers."""
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
    """Whether what talks to Dataflow is installed."""
    try:
        return importlib.util.find_spec("google.cloud.dataflow_v1beta3") is not None
    except ModuleNotFoundError:
        return False


def _clashes(beam: BeamArguments) -> list[str]:
    """Options that Dataflow does not take together with what stages ask for."""
    reasons = []
    if beam.is_flexible:
        reasons.append(
            "--flexrs_goal does not go together with the memory and accelerators that stages ask for; leave it out"
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
    """An accelerator that is not known, or that cannot be had."""
    name = options.accelerator
    if name is None:
        return []
    known = (*ACCELERATORS, NO_ACCELERATOR)
    if name not in known:
        # What tells accelerators apart is the last word: nvidia-t4 is meant to be nvidia-tesla-t4, not nvidia-l4.
        word = name.lower().rpartition("-")[2]
        meant = next((one for one in known if word in one.split("-")), name)
        hint = did_you_mean(meant, known, "{} ")
        return [f"--accelerator {name} is not known; {hint}there are {', '.join(known)}"]
    if not options.beam.is_dataflow:
        return [
            "--accelerator is for --runner DataflowRunner; elsewhere the GPUs are used that machines have"
        ]
    if name == NO_ACCELERATOR or options.beam.brings_packages:
        return []
    return [
        f"--accelerator {name} needs workers with libraries for GPUs; pass --sdk_container_image with the image that "
        "deploy/README.md builds, or --accelerator none"
    ]


def _worker_reasons(options: SegmentOptions) -> list[str]:
    """Processes that were asked for twice, or of a runner that has its own."""
    if options.workers is None:
        return []
    if not options.runs_here:
        return ["--workers is for runs on this machine; Dataflow takes --num_workers and --max_num_workers"]
    if options.beam.names_processes:
        return ["--workers says all that --direct_num_workers and --direct_running_mode do; leave those out"]
    return []
