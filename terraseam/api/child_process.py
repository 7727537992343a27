"""Run a command in a process of its own, so that nothing of the caller's changes and nothing that dies takes it along."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import terraseam
from terraseam.api.errors import error_of

Progress = Callable[[str], object]
"""Receives what a command reports while it runs, a line each."""

CHILD = "terraseam.pipeline.child"
"""The program."""

DONE, INCOMPLETE = 0, 3
"""Exit statuses of commands that have a result: a whole one, or one in which something is missing."""

GRACE_S = 60.0
"""Seconds that an interrupted command has to end by itself."""

TAIL = 5
"""Lines of standard error that are quoted of a process that died without a word."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command has left.

    Attributes:
        status: Its exit status.
        value: Its result as JSON holds it; None where it has none, such as a job that was handed to another machine.
        text: What the command line prints as the result.
        notes: What it reports beside the result, a sentence each.
    """

    status: int
    value: Mapping[str, Any] | None
    text: str
    notes: tuple[str, ...]


def run_command(command: str, options: Mapping[str, Any], progress: Progress | None = None) -> Ended:
    """Run a command to its end.

    Args:
        command: Its name, such as ``segment``.
        options: Its options by their long names with underscores.
        progress: Receives notes, progress and output while it runs.

    Raises:
        TerraseamError: If the command fails or its process dies, with the sentence of the command line.
        TypeError: If the value of an option is of a kind that none takes.
        KeyboardInterrupt: If the caller is interrupted; the command has ended then.
    """
    request = json.dumps({"command": command, "options": options}, default=_jsonable)
    texts: dict[str, list[str]] = {kind: [] for kind in ("output", "note", "progress", "error")}
    value = None
    with tempfile.TemporaryFile() as log:
        with _started(request, log) as process:
            assert process.stdout is not None
            for event in _events(process.stdout):
                if event["event"] == "result":
                    value = event["value"]
                    continue
                texts[event["event"]].append(event["text"])
                if progress is not None and event["event"] != "error":
                    progress(event["text"])
            status = process.wait()
        if status not in (DONE, INCOMPLETE):
            raise error_of("\n".join(texts["error"]) or _exit_message(command, status, log), status)
    return Ended(status, value, "\n".join(texts["output"]), tuple(texts["note"]))


@contextlib.contextmanager
def _started(request: str, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start the program with a request; it has ended when the block is left, whatever happens in there."""
    process = subprocess.Popen(
        [sys.executable, "-m", CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # It died at once; its exit status says so.
            process.stdin.write(f"{request}\n".encode())
            process.stdin.flush()
        yield process
    except BaseException:
        process.stdout.close()
        _end(process)
        raise
    finally:
        process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command as Ctrl-C does; with force if it takes too long, or if the caller is interrupted again."""
    if process.poll() is not None:
        return
    try:
        _signal_group(process, signal.SIGINT)
        process.wait(GRACE_S)
    except (KeyboardInterrupt, subprocess.TimeoutExpired):
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process that leads a session, and its workers."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _environment() -> dict[str, str]:
    """Return environment variables with which a new process imports from where this one does.

    Keras may have another backend here than the one that runs networks there.
    """
    home = str(Path(terraseam.__file__).parents[1])
    places = [str(Path(place).absolute()) for place in sys.path if place]
    places = places if home in places else [home, *places]
    settings = {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": os.pathsep.join(places), "PYTHONSAFEPATH": "1"}
    return {**os.environ, **settings}


def _events(lines: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield the events of a process, without lines that it could not finish."""
    for line in lines:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def _exit_message(command: str, status: int, log: IO[bytes]) -> str:
    """Return a sentence for a process that ended without one, and the last lines of its standard error."""
    if status < 0:
        how = f"was killed by {signal.Signals(-status).name}"
        why = ": the system may have run out of memory" if -status == signal.SIGKILL else ""
    else:
        how, why = f"ended with status {status}", ""
    log.seek(0)
    lines = log.read().decode(errors="replace").splitlines()[-TAIL:]
    sentence = f"the process of terraseam {command} {how}{why}; run the same command again to continue"
    return "\n".join([sentence, *lines])


def _jsonable(value: Any) -> Any:
    """Return what JSON has for a path, a scalar or an array of NumPy, or what can be iterated over.

    Raises:
        TypeError: If there is nothing for it.
    """
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return list(value)
    raise TypeError(
        f"{value!r} is not a valid option value: options take strings, numbers, booleans, paths and lists"
    )
