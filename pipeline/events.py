"""Events: what a command reports to the program that runs it, beside the texts that people read.

A program that runs a command in a process of its own gets each event as a line of JSON, such as
``{"event": "note", "text": "..."}``. Where nobody asked for events, sending one does nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Mapping
from typing import Any, Literal

from terraseam.pipeline.secrets import without_secrets
from terraseam.pipeline.texts import printable

Kind = Literal["output", "note", "progress", "error", "result"]
"""Kinds of events: what was asked for, what to know beside it, how far it is, why it failed, and what programs read."""


class Events:
    """Writes events to a pipe once one is set; threads may share it."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def wanted(self) -> bool:
        """Return whether anybody receives events."""
        return self._pipe is not None

    def write_to(self, pipe: int) -> None:
        """Send events to a file descriptor from now on."""
        self._pipe = pipe

    def send_text(self, kind: Kind, text: str) -> None:
        """Send a text as people may see it: without credentials, and without what steers terminals."""
        self._send({"event": kind, "text": printable(without_secrets(text))})

    def send_result(self, value: Mapping[str, Any]) -> None:
        """Send what a command has found, as values that JSON knows."""
        self._send({"event": "result", "value": value})

    def _send(self, event: Mapping[str, Any]) -> None:
        if self._pipe is None:
            return
        # A line that an interruption cut short ends where the next event begins.
        rest = memoryview(f"\n{json.dumps(event)}\n".encode())
        with self._one_at_a_time, contextlib.suppress(OSError):  # The program may have exited.
            while rest:
                rest = rest[os.write(self._pipe, rest) :]


EVENTS = Events()
"""Those of this process."""
