"""Send events from a command to the program that runs it, in addition to the text for people.

A program that runs a command in a child process gets each event as a line of JSON, such as
``{"event": "note", "text": "..."}``. Without a receiver, sending an event does nothing.
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
"""Kinds of events: printed output, notes, progress, the error of a failed command, and its result as a value."""


class Events:
    """A thread-safe writer of events, which are dropped until a pipe is set."""

    def __init__(self) -> None:
        self._pipe: int | None = None
        self._one_at_a_time = threading.Lock()

    @property
    def has_receiver(self) -> bool:
        """Whether anyone receives events."""
        return self._pipe is not None

    def write_to(self, pipe: int) -> None:
        """Send events to a file descriptor from now on."""
        self._pipe = pipe

    def send_text(self, kind: Kind, text: str) -> None:
        """Send a text without credentials and terminal control characters."""
        self._send({"event": kind, "text": printable(without_secrets(text))})

    def send_result(self, value: Mapping[str, Any]) -> None:
        """Send the result of a command, as values for JSON."""
        self._send({"event": "result", "value": value})

    def _send(self, event: Mapping[str, Any]) -> None:
        if self._pipe is None:
            return
        # The leading line break ends a line that an interruption cut short.
        rest = memoryview(f"\n{json.dumps(event)}\n".encode())
        with self._one_at_a_time, contextlib.suppress(OSError):  # The program may have exited.
            while rest:
                rest = rest[os.write(self._pipe, rest) :]


EVENTS = Events()
"""The events of this process."""
