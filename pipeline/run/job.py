"""Run plans on Beam and report how they end."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import tempfile
import time
import uuid
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.errors import BeamOptionError, RunError
from terraseam.pipeline.exit_status import AGAIN, FAILED, INTERRUPTED, fail, report_error
from terraseam.pipeline.interrupts import was_interrupted
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.run.beam_runner import beam_pipeline, is_local_run, worker_processes
from terraseam.pipeline.run.dataflow import segment_arguments
from terraseam.pipeline.run.graph import build
from terraseam.pipeline.run.progress import progress
from terraseam.pipeline.run.watchdog import Watchdog, WorkerFiles
from terraseam.pipeline.secrets import without_secrets
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.disk_errors import size_of
from terraseam.pipeline.storage.errors import RemoteFileError
from terraseam.pipeline.storage.kept_choices import keep_choices
from terraseam.pipeline.storage.lock import release_all
from terraseam.pipeline.storage.run_paths import RunFolder, beating, manifest_path, remove_left_behind
from terraseam.pipeline.units import format_bytes
from terraseam.tiles.raster.inspect import is_local

CONTINUE = f"inferred sheets are kept: {AGAIN}"

GOES_ON = "the job continues where it runs; on Dataflow, cancel it with gcloud dataflow jobs cancel JOB_ID"
"""Message when the driver of a remote job is interrupted."""

HOPELESS = ("CardError", "EngineError", "OffEarthError")
"""Errors that running the same command again would repeat."""


class Job(Protocol):
    """A job to run on Beam."""

    @property
    def output(self) -> str:
        """Output folder."""

    @property
    def work_folder(self) -> str:
        """Folder of intermediate files."""

    @property
    def beam(self) -> BeamArguments:
        """Arguments for Apache Beam."""


class Build(Protocol):
    """A function that adds the stages of a job to an empty pipeline."""

    def __call__(self, pipeline: beam.Pipeline, folder: RunFolder, *, workers: int, started: float) -> None:
        """Add the stages.

        Args:
            pipeline: An empty pipeline.
            folder: Folder for files passed between stages.
            workers: Processes that share a machine.
            started: When the run started, in seconds since the epoch.
        """


def run_plan(plan: Plan) -> dict[str, Any] | None:
    """Run a segmentation plan to completion; see `run_job`."""
    keep_choices(plan.options.work_folder, plan.score_fields, plan.choices())
    job = replace(plan.options, beam=beam_arguments(plan))
    return run_job(job, partial(build, plan=plan), plan.sheet_count(), hope=CONTINUE)


def beam_arguments(plan: Plan) -> BeamArguments:
    """Return the user's Beam arguments, completed by what follows from the plan."""
    arguments, workers = plan.options.beam, plan.options.workers
    if arguments.is_dataflow:
        return segment_arguments(plan)
    return arguments.with_processes(workers) if workers else arguments


def run_job(job: Job, build: Build, sheets: int = 0, *, hope: str) -> dict[str, Any] | None:
    """Run a job to completion.

    Args:
        job: Its folders and runner.
        build: Adds its stages.
        sheets: Number of sheets for the progress line; 0 for none.
        hope: Advice on running the same command again, for messages about failures.

    Returns:
        The manifest; None if the job was only submitted to a remote runner.

    Raises:
        BeamOptionError: If Beam rejects its options; nothing has been done then.
        RunError: If the run failed, with the cause in a sentence.
    """
    # Beam logs the tracebacks of our own errors; they are raised as exceptions as well.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    folder = RunFolder.of(job.output, job.work_folder, here=job.beam.is_direct)
    log = worker_log(folder)
    worker_files = WorkerFiles(log, heartbeat_folder(log))
    options, pipeline, workers = make_pipeline(job, worker_files)
    local = is_local_run(options)
    build(pipeline, folder, workers=max(1, workers), started=time.time())
    remove_left_behind(job.output, job.work_folder)
    if local:
        log.parent.mkdir(parents=True, exist_ok=True)
    report = partial(report_end, hope=hope, log=log)
    watchdog = Watchdog(hope, report=report, files=worker_files if workers else None)
    try:
        with (
            watchdog.watching() if local else contextlib.nullcontext(),
            beating(folder),
            progress(folder, sheets, shown=local and sheets > 0),
        ):
            result = pipeline.run()
            if not local and is_handed_over(options):
                return None
            result.wait_until_finish()
    except KeyboardInterrupt:
        if not local:
            report_error(GOES_ON)
        raise
    except Exception as error:
        if was_interrupted() or "KeyboardInterrupt" in str(error):
            raise KeyboardInterrupt from error
        details = f" (details in {log})" if log.exists() and log.stat().st_size else ""
        name, cause = root_cause(error)
        if name == "DiskError" and is_local(job.work_folder):
            taken = format_bytes(size_of([job.work_folder, folder.staging, folder.path]))
            cause = f"{cause}; the job has written {taken} so far and needs more space"
        after = "" if name in HOPELESS else f"; {hope}"
        raise RunError(f"{cause}{after}{details}") from error
    finally:
        hide_secrets(log)
        with contextlib.suppress(RemoteFileError):  # Files left there are harmless.
            files.remove_tree(folder.staging)
    files.remove_tree(folder.path)
    return json.loads(files.read_bytes(manifest_path(job.output)))


def is_handed_over(options: PipelineOptions) -> bool:
    """Return whether a remote runner only gets a description of the job, so that there is nothing to wait for."""
    settings = options.get_all_options()
    return bool(settings.get("dry_run") or settings.get("template_location"))


def make_pipeline(job: Job, worker_files: WorkerFiles) -> tuple[PipelineOptions, beam.Pipeline, int]:
    """Return Beam's options, an empty pipeline for them, and its number of local worker processes.

    Raises:
        BeamOptionError: If Beam rejects the options.
    """
    messages = io.StringIO()
    try:
        with contextlib.redirect_stderr(messages):
            options = job.beam.pipeline_options()
            workers = worker_processes(options)
            pipeline = beam_pipeline(options, worker_files.log, worker_files.heartbeats)
    except SystemExit as error:
        cause = messages.getvalue().strip().rpartition("error: ")[2]
        raise BeamOptionError(f"Apache Beam rejects its options: {cause}") from error
    except (ValueError, ImportError) as error:
        cause = " ".join(str(error).split())
        raise BeamOptionError(f"Apache Beam rejects its options: {cause}") from error
    return options, pipeline, workers


def worker_log(folder: RunFolder) -> Path:
    """Return the log file of local worker processes; it is kept if a run fails."""
    if is_local(folder.path):
        return Path(folder.path) / "workers.log"
    return Path(tempfile.gettempdir()) / f"terraseam-{folder.path.rpartition('/')[2]}-workers.log"


def heartbeat_folder(log: Path) -> Path:
    """Return the folder of heartbeats, on a local disk, since network filesystems may hang."""
    try:
        parent = Path(tempfile.gettempdir())
    except FileNotFoundError:
        parent = log.parent
    return parent / f"terraseam-{uuid.uuid4().hex}"


def hide_secrets(log: Path) -> None:
    """Redact credentials from worker logs, as libraries write addresses in full."""
    with contextlib.suppress(OSError):
        text = log.read_text(errors="replace")
        hidden = without_secrets(text)
        if hidden != text:
            log.write_text(hidden)


def report_end(sentence: str, hope: str, log: Path) -> int:
    """Report that the run and this process end because a worker process was lost.

    Args:
        sentence: What happened to the worker.
        hope: Advice on running the same command again.
        log: Log file of the workers.

    Returns:
        The exit status, which is that of an interruption if one ended the worker.
    """
    release_all()
    hide_secrets(log)
    message, status = (
        (f"interrupted; {AGAIN}", INTERRUPTED) if was_interrupted() else (f"{sentence}; {hope}", FAILED)
    )
    with contextlib.suppress(OSError):  # The terminal may be closed.
        fail(message, status)
    return status


def root_cause(error: BaseException) -> tuple[str, str]:
    """Return the name of the error that one of our stages raised, and its message, without Beam's wrapping."""
    name, text = type(error).__name__, str(error).strip()
    if "Traceback" in text:
        # Worker processes send tracebacks as text: the last line with an exception is the cause.
        raised = re.findall(r"^(?:\w+\.)*(\w+(?:Error|Exception|Interrupt)): (.*)", text, flags=re.M)
        name, text = raised[-1] if raised else (name, text.splitlines()[-1])
    text = re.sub(r"\s*\[while running .*", "", text, flags=re.S)
    text = " ".join(text.split()).rstrip(".")
    return name, text if name in OWN_ERRORS and text else f"{name}: {text}"


OWN_ERRORS = (
    "DiskError",
    "OffEarthError",
    "RasterChangedError",
    "RasterReadError",
    "StoreError",
    "CardError",
    "EngineError",
    "RemoteFileError",
    "RuntimeError",
)
"""Errors whose message is a complete sentence."""
