"""Texts that come from files and go to terminals and into results: without what would steer or deceive their readers."""

from __future__ import annotations

import re

_STEERING = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, marks that turn the direction of a text, ends of lines and paragraphs, and halves of characters."""
_IN_NAMES = re.compile(f"[{_STEERING}]")
_IN_WORDS = re.compile(f"(?!\n)[{_STEERING}]")


def steering_characters(name: str) -> list[str]:
    """Return the characters of a name that no text may have, each once, as ``U+001B``."""
    return [f"U+{ord(one):04X}" for one in dict.fromkeys(_IN_NAMES.findall(name))]


def printable(words: str) -> str:
    """Return words for a terminal, in which such characters are written out as in Python; ends of lines stay."""
    return _IN_WORDS.sub(lambda found: found[0].encode("unicode_escape").decode(), words)
