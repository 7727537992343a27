"""The local runner, the same on every machine, and an end for runs whose worker process dies."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, SetupOptions, StandardOptions
from apache_beam.portability.api import beam_provision_api_pb2
from apache_beam.runners.portability.fn_api_runner import fn_runner
from apache_beam.runners.portability.portable_runner import JobServiceHandle

LOCAL_RUNNERS = (None, "DirectRunner")


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
def worker_watchdog(say: Callable[[str], None]) -> Iterator[None]:
    """End this process when a worker process dies; the runner would wait for its answer for ever.

    No exception can do it: the runner's own clean-up waits for the dead worker, too.

    Args:
        say: Tells the user; it gets what is known of the cause.
    """

    def on_thread_error(args: Any) -> None:
        if args.thread is None or args.thread.name != "run_worker":
            threading.__excepthook__(args)
            return
        say(str(args.exc_value))
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                child.kill()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)

    hook, threading.excepthook = threading.excepthook, on_thread_error
    try:
        yield
    finally:
        threading.excepthook = hook
