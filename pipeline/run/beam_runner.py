"""Create Beam pipelines and the local runner, the same one on every machine."""

from __future__ import annotations

import multiprocessing
import shlex
import sys
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, SetupOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.transforms import environments

from terraseam.pipeline.beam_arguments import is_direct
from terraseam.pipeline.run.watchdog import PACE


def beam_pipeline(
    options: PipelineOptions, worker_log: Path, heartbeats: Path | None = None
) -> beam.Pipeline:
    """Return an empty pipeline for Beam's options.

    ``DirectRunner``, also the default, is Beam's FnApiRunner built here: Beam's own choice would
    download another runner on machines with internet access.

    Args:
        options: Beam's options.
        worker_log: Log file of the local runner's worker processes; its folder must exist when the pipeline runs.
        heartbeats: Folder of their heartbeats; None for no heartbeats.
    """
    options.view_as(SetupOptions).save_main_session = False
    if not is_local_run(options):
        return beam.Pipeline(options=options)
    return beam.Pipeline(runner=local_runner(options, worker_log, heartbeats), options=options)


def is_local_run(options: PipelineOptions) -> bool:
    """Return whether the pipeline runs in this process and its children."""
    return is_direct(options.view_as(StandardOptions).runner)


def worker_processes(options: PipelineOptions) -> int:
    """Return the number of worker processes of the local runner; 0 if all work is done in this process.

    More than one worker means processes unless threads are requested, which share one network and its
    calls.

    Raises:
        ValueError: If ``--direct_num_workers`` is negative.
    """
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers < 0:
        raise ValueError(f"--direct_num_workers must be 0 or more, got {direct.direct_num_workers}")
    workers = direct.direct_num_workers or multiprocessing.cpu_count()
    if direct.direct_running_mode == "multi_threading":
        return 0
    return workers if workers > 1 or direct.direct_running_mode == "multi_processing" else 0


def local_runner(
    options: PipelineOptions, worker_log: Path, heartbeats: Path | None
) -> fn_runner.FnApiRunner:
    """Create Beam's FnApiRunner; worker processes get the pipeline's options through the provision info."""
    environment = None
    if worker_processes(options):
        # The runner's own multi-processing mode cannot redirect the output of workers, and lets Ctrl-C or a hangup of
        # the terminal kill them before the driver can report it; otherwise this environment is the same.
        options.view_as(DirectOptions).direct_running_mode = "in_memory"
        environment = environments.SubprocessSDKEnvironment.from_command_string(
            worker_command(worker_log, heartbeats)
        )
    packed = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=packed)
    return fn_runner.FnApiRunner(
        default_environment=environment, provision_info=fn_runner.ExtendedProvisionInfo(info)
    )


def worker_command(log: Path, heartbeats: Path | None) -> str:
    """Return the shell command that starts a worker process.

    Its heartbeat file is created first, so that a worker that stops at once is noticed, too.
    """
    program = f"exec {shlex.quote(sys.executable)} -m terraseam.pipeline.run.sdk_worker_main"
    errors = f"2>>{shlex.quote(str(log))}"
    if heartbeats is None:
        return f"trap '' INT HUP; {program} {errors}"
    folder = shlex.quote(str(heartbeats))
    return f"trap '' INT HUP; true 2>/dev/null >{folder}/$$; {program} {folder} {PACE.beat} {errors}"
