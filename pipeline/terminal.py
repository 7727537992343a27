"""A line on a terminal that says how far things are, until the next takes its place."""

from __future__ import annotations

import sys

from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.texts import printable

PERIOD = 1.0
"""Seconds between two of them."""


def watched() -> bool:
    """Return whether there is a terminal to show lines on, or a program that receives them."""
    return EVENTS.wanted or sys.stderr.isatty()


def show(line: str = "") -> None:
    """Show a line in place of the one before; an empty one takes it away."""
    if EVENTS.wanted:
        if line:
            EVENTS.send_text("progress", line)
        return
    print(f"\r\x1b[K{printable(line)}", end="", file=sys.stderr, flush=True)
