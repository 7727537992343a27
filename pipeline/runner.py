"""The local runner, the same on every machine, and an end for runs whose worker process dies."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, SetupOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

LOCAL_RUNNERS = (None, "DirectRunner")


class WorkerDiedError(RuntimeError):
    """A worker process of the local runner ended without an answer."""


def beam_pipeline(arguments: Sequence[str]) -> beam.Pipeline:
    """A pipeline for Beam's arguments.

    ``DirectRunner``, also when no runner is named, is Beam's FnApiRunner built here: Beam's own
    choice would download another runner on machines that reach the internet.
    """
    options = PipelineOptions(list(arguments))
    options.view_as(SetupOptions).save_main_session = False
    if not is_local_run(options):
        return beam.Pipeline(options=options)
    direct = options.view_as(DirectOptions)
    if direct.direct_num_workers != 1 and direct.direct_running_mode == "in_memory":
        direct.direct_running_mode = "multi_processing"
    return beam.Pipeline(runner=local_runner(options), options=options)


def is_local_run(options: PipelineOptions) -> bool:
    """Whether the pipeline runs in this process and its children."""
    return options.view_as(StandardOptions).runner in LOCAL_RUNNERS


def local_runner(options: PipelineOptions) -> fn_runner.FnApiRunner:
    """Beam's FnApiRunner; worker processes get the pipeline's options through the provision info."""
    packed = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=packed)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(info))


@contextlib.contextmanager
def worker_watchdog() -> Iterator[None]:
    """Raise `WorkerDiedError` in the main thread when a worker process dies; the runner would wait for ever."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deaths: list[str] = []
    main = threading.main_thread().ident

    def on_thread_error(args: Any) -> None:
        if args.thread is not None and args.thread.name == "run_worker" and main is not None:
            deaths.append(str(args.exc_value))
            signal.pthread_kill(main, signal.SIGUSR1)
        elif not deaths:
            threading.__excepthook__(args)

    def on_signal(*_: Any) -> None:
        raise WorkerDiedError(deaths[0] if deaths else "a worker process ended")

    hook, threading.excepthook = threading.excepthook, on_thread_error
    handler = signal.signal(signal.SIGUSR1, on_signal)
    try:
        yield
    finally:
        threading.excepthook = hook
        signal.signal(signal.SIGUSR1, handler)


def leave_after_worker_death(status: int) -> None:
    """End this process and its workers at once: a normal exit would wait for the runner's threads."""
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
