"""Show a progress line on a terminal, which the next one replaces."""

from __future__ import annotations

import sys

from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.texts import printable

PERIOD = 1.0
"""Seconds between two progress lines."""


def watched() -> bool:
    """Return whether a terminal shows progress lines or a program receives them."""
    return EVENTS.has_receiver or sys.stderr.isatty()


def show(line: str = "") -> None:
    """Show a line in place of the previous one; an empty one clears it."""
    if EVENTS.has_receiver:
        if line:
            EVENTS.send_text("progress", line)
        return
    print(f"\r\x1b[K{printable(line)}", end="", file=sys.stderr, flush=True)
