"""Escape control characters in texts for terminals and programs, which could steer or deceive them."""

from __future__ import annotations

import re

from terraseam.models.texts import STEERING

_IN_WORDS = re.compile(f"(?!\n)[{STEERING}]")


def printable(text: str) -> str:
    r"""Return a text for a terminal with control characters escaped as ``\u001b``, except line breaks.

    Strings inside JSON keep their value.
    """
    return _IN_WORDS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
