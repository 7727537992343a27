"""Report how a command ends: print its output or error, and return its exit status."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.inputs.left_out import describe_left_out
from terraseam.pipeline.secrets import without_secrets
from terraseam.pipeline.storage.disk_errors import DiskError, fullest, writes_to
from terraseam.pipeline.texts import printable
from terraseam.pipeline.units import count

DONE, FAILED, IMPOSSIBLE, QUARANTINED, INTERRUPTED = 0, 1, 2, 3, 130

AGAIN = "run the same command again to continue"


def fail(message: str, status: int) -> int:
    """Report an error, and return the exit status."""
    EVENTS.send_text("error", message)
    _print_sentence(message)
    return status


def report_error(message: str) -> None:
    """Print a note to standard error, apart from the results."""
    EVENTS.send_text("note", message)
    _print_sentence(message)


def _print_sentence(message: str) -> None:
    print(f"terraseam: {printable(without_secrets(message))}", file=sys.stderr)


def report_note(notes: Iterable[str]) -> None:
    """Print notes for the user before a command starts, one line each."""
    for note in notes:
        EVENTS.send_text("note", note)
        print(printable(without_secrets(note)), file=sys.stderr)


def show(text: str) -> None:
    """Print the requested output, for people or programs."""
    EVENTS.send_text("output", text)
    print(printable(without_secrets(text)), flush=True)


def report_run(
    run: Callable[[], Mapping[str, Any] | None], describe: Callable[[Mapping[str, Any]], str]
) -> int:
    """Run a job on Beam, report its result, and return the exit status.

    Args:
        run: Runs the job and returns its manifest, or None if it was only submitted to a remote runner.
        describe: Describes a manifest as text.
    """
    # Beam warns about optional packages, and repeats our errors with their tracebacks.
    logging.basicConfig(level=logging.CRITICAL)
    from terraseam.pipeline.errors import BeamOptionError, RunError

    try:
        manifest = run()
    except BeamOptionError as error:
        return fail(str(error), IMPOSSIBLE)
    except RunError as error:
        return fail(str(error), FAILED)
    if manifest is None:
        return DONE
    return end_run(manifest, describe)


def end_run(manifest: Mapping[str, Any], describe: Callable[[Mapping[str, Any]], str]) -> int:
    """Report the result of a run, and its quarantined sheets and left-out rasters; return the exit status."""
    EVENTS.send_result(manifest)
    show(describe(manifest))
    sheets, left_out = manifest["counts"].get("sheets_quarantined", 0), manifest.get("left_out", ())
    if sheets:
        report_error(describe_quarantine(sheets, manifest["quarantine"]))
    if left_out:
        report_error(describe_left_out(left_out))
    return QUARANTINED if sheets or left_out else DONE


def describe_quarantine(sheets: int, path: str) -> str:
    """Return a sentence on quarantined sheets and what to do about them."""
    which = f"{count(sheets, 'sheet')} {'is' if sheets == 1 else 'are'}"
    return f"{which} in quarantine: {path} says where and why; run the same command again to retry"


def run_exclusively(locks: Sequence[str], run: Callable[[], int]) -> int:
    """Run a job while holding locks that keep out other runs, and return the exit status.

    Args:
        locks: Paths of the locks.
        run: Runs the job; includes everything that other runs could affect.
    """
    from terraseam.pipeline.storage.lock import Lock, LockError

    try:
        with contextlib.ExitStack() as held:
            for path in locks:
                held.enter_context(Lock(path).held(report_error))
            return run()
    except LockError as error:
        return fail(str(error), FAILED)


def fail_on_write(error: OSError, folders: Sequence[str]) -> int:
    """Report which of some folders cannot be written, and return the exit status.

    Args:
        error: The error of the operating system.
        folders: Folders that the command writes to.
    """
    place = Path(error.filename).parent if isinstance(error.filename, str) else fullest(folders)
    try:
        with writes_to(place):
            raise error
    except OSError as told:
        return fail_on_file(told)


def fail_on_file(error: OSError) -> int:
    """Report which file cannot be read or written, and return the exit status."""
    if isinstance(error, DiskError):
        return fail(str(error), FAILED)
    return fail(f"{error.strerror or error}: {error.filename or 'a file'} cannot be read or written", FAILED)
