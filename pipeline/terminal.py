"""A line on a terminal that says how far things are, until the next takes its place."""

from __future__ import annotations

import sys

from terraseam.pipeline.texts import printable

PERIOD = 1.0
"""Seconds between two of them."""


def watched() -> bool:
    """Whether there is a terminal to show lines on."""
    return sys.stderr.isatty()


def show(line: str = "") -> None:
    """Show a line in place of the one before; an empty one takes it away."""
    print(f"\r\x1b[K{printable(line)}", end="", file=sys.stderr, flush=True)
