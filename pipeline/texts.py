"""Texts that go to terminals and programs: without what would steer or deceive their readers."""

from __future__ import annotations

import re

from terraseam.models.texts import STEERING

_IN_WORDS = re.compile(f"(?!\n)[{STEERING}]")


def printable(words: str) -> str:
    r"""Return words for a terminal, in which such characters are written out as ``\u001b``; ends of lines stay.

    Texts within JSON stay the texts that they were.
    """
    return _IN_WORDS.sub(lambda found: f"\\u{ord(found[0]):04x}", words)
