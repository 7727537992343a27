"""Run a command for the program that started this process, with ``python -m terraseam.pipeline.child``.

The first line of standard input is the request, ``{"command": "segment", "options": {"rasters": "scene.tif", ...}}``:
long options of the command line with underscores for dashes. The command runs as long as the pipe stays open.
Standard output carries events, one line of JSON each; everything else is printed to standard error. The exit status
is that of the command line.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping

from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.exit_status import IMPOSSIBLE, fail
from terraseam.pipeline.interrupts import SIGNALS, interrupt_main_thread
from terraseam.pipeline.options.evaluate_arguments import evaluate_parser
from terraseam.pipeline.options.keywords import command_arguments
from terraseam.pipeline.options.parser import Parser
from terraseam.pipeline.options.segment_arguments import parsers
from terraseam.pipeline.options.train_arguments import train_parser
from terraseam.pipeline.options.vectorize_arguments import vectorize_parser
from terraseam.pipeline.process.kept_memory import keep_memory
from terraseam.pipeline.process.optional_imports import leave_out_unused
from terraseam.pipeline.version import version

POLL_S = 1.0
"""Seconds between checks that the program that started this one still exists."""

GRACE_S = 60.0
"""Seconds that a command has to end once its caller has exited."""

PARSERS: Mapping[str, Callable[[], Parser]] = {
    "segment": lambda: parsers(version())[1]["segment"],
    "plan": lambda: parsers(version())[1]["plan"],
    "vectorize": vectorize_parser,
    "train": train_parser,
    "evaluate": evaluate_parser,
}
"""The function that creates the parser of each command."""


def main() -> int:
    """Run the command requested on standard input; return its exit status."""
    leave_out_unused()
    keep_memory()
    _reset_signals()
    EVENTS.write_to(os.dup(1))
    os.dup2(2, 1)
    caller = os.getppid()
    request = json.loads(_read_line(0))
    threading.Thread(target=_end_with, args=(0, caller), name="caller", daemon=True).start()
    try:
        arguments = command_arguments(PARSERS[request["command"]](), request["options"])
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    return _run([request["command"], *arguments])


def _run(arguments: list[str]) -> int:
    from terraseam.pipeline.cli import main as run_command_line

    return run_command_line(arguments)


def _reset_signals() -> None:
    """Restore the default handling of the signals that end a command, even if the parent process ignores them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _read_line(pipe: int) -> bytes:
    """Read the first line of a pipe to which nothing else is written.

    Raises:
        EOFError: If the pipe closes before the end of the line.
    """
    read = b""
    while not read.endswith(b"\n"):
        chunk = os.read(pipe, 1 << 16)
        if not chunk:
            raise EOFError("the request is incomplete; was the calling program killed?")
        read += chunk
    return read


def _end_with(pipe: int, caller: int) -> None:
    """End this process once its caller has exited: by interrupting it, then by killing its process group.

    Args:
        pipe: A pipe that the caller holds open, though processes that it forked may, too.
        caller: Process id of the caller.
    """
    while os.getppid() == caller and not select.select([pipe], [], [], POLL_S)[0]:
        pass
    interrupt_main_thread()
    time.sleep(GRACE_S)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
