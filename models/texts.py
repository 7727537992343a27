"""Texts that come from files: what no name of a class, a band or a bundle may have in it."""

from __future__ import annotations

import re

STEERING = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, marks that turn the direction of a text, ends of lines and paragraphs, and halves of characters."""
_STEERS = re.compile(f"[{STEERING}]")


def steering_characters(text: str) -> list[str]:
    """Return the characters of a text that no name may have, each once, as ``U+001B``."""
    return [f"U+{ord(one):04X}" for one in dict.fromkeys(_STEERS.findall(text))]
