"""Run the command line.

Planning, ``--help`` and errors in arguments import neither TensorFlow nor Beam.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import TextIO

from terraseam.pipeline.errors import ArgumentError, PlanError
from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.exit_status import AGAIN, DONE, FAILED, IMPOSSIBLE, INTERRUPTED, fail, show
from terraseam.pipeline.interrupts import listening
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.options.segment_arguments import parse
from terraseam.pipeline.storage.disk_errors import DiskError
from terraseam.pipeline.storage.errors import RemoteFileError
from terraseam.pipeline.version import version


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in COMMANDS:
        command, interrupted = COMMANDS[arguments[0]]
        return _ended(lambda: command(arguments[1:]), interrupted)
    try:
        name, options, as_json = parse(arguments, version())
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    run = (lambda: _plan(options, as_json)) if name == "plan" else (lambda: _segment(options))
    return _ended(run, f"interrupted; {AGAIN}")


def _ended(run: Callable[[], int], interrupted: str) -> int:
    """Run a command; return the exit status even if the user, the system or the reader of its output ends it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    try:
        with listening() if in_main_thread else nullcontext():
            return run()
    except KeyboardInterrupt:
        return _report_interruption(interrupted)
    except (RemoteFileError, DiskError) as error:
        return fail(str(error), FAILED)
    except BrokenPipeError:
        _silence(sys.stdout)
        return DONE


def _report_interruption(message: str) -> int:
    """Report an interruption, even if the terminal is closed, and return the exit status."""
    # Under -m, Python ends by SIGINT, whatever the exit status, if the interruption has passed through code compiled
    # from text, as the methods of dataclasses are; making a named tuple compiles again, and resets that.
    namedtuple("Reset", ())
    try:
        return fail(message, INTERRUPTED)
    except OSError:
        _silence(sys.stdout, sys.stderr)
        return INTERRUPTED


def _silence(*streams: TextIO) -> None:
    """Redirect streams that nobody reads to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in streams:
        os.dup2(nowhere, stream.fileno())


def _models(arguments: Sequence[str]) -> int:
    from terraseam.pipeline.commands.models import run_models

    return run_models(arguments)


def _store(arguments: Sequence[str]) -> int:
    from terraseam.pipeline.commands.store import run_store

    return run_store(arguments)


def _train(arguments: Sequence[str]) -> int:
    from terraseam.pipeline.commands.train import run_train

    return run_train(arguments)


def _evaluate(arguments: Sequence[str]) -> int:
    from terraseam.pipeline.commands.evaluate import run_evaluate

    return run_evaluate(arguments)


def _vectorize(arguments: Sequence[str]) -> int:
    from terraseam.pipeline.commands.vectorize import vectorize

    return vectorize(arguments)


COMMANDS: Mapping[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "models": (_models, "interrupted"),
    "train": (_train, f"interrupted; {AGAIN}"),
    "vectorize": (_vectorize, "interrupted; run the same command again"),
    "evaluate": (_evaluate, "interrupted"),
    "store": (_store, "interrupted"),
}
"""Commands that parse their own arguments, each with its message when interrupted."""


def _plan(options: SegmentOptions, as_json: bool) -> int:
    from terraseam.pipeline.plan.describe import describe_plan, plan_json
    from terraseam.pipeline.plan.make import make_plan
    from terraseam.pipeline.publish.unchanged import fingerprints_now, foresee, obstacles_left

    try:
        plan = make_plan(options, writes=False)
    except PlanError as error:
        return _impossible(error, as_json)
    reasons = obstacles_left(fingerprints_now(plan, ask=False)) if plan.obstacles else []
    if reasons:
        return _impossible(PlanError(reasons), as_json)
    forecast = foresee(plan)
    figures = plan_json(plan, forecast)
    EVENTS.send_result(figures)
    show(json.dumps(figures, indent=2) if as_json else describe_plan(plan, forecast))
    return DONE


def _impossible(error: PlanError, as_json: bool) -> int:
    if as_json:
        show(json.dumps({"reasons": error.reasons}, indent=2))
    return fail(str(error), IMPOSSIBLE)


def _segment(options: SegmentOptions) -> int:
    from terraseam.pipeline.commands.segment import segment

    return segment(options)
