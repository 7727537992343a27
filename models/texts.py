"""Characters that are forbidden in the names of classes, bands and bundles, which come from files."""

from __future__ import annotations

import re

STEERING = r"\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
"""Control characters, bidirectional marks, line and paragraph separators, and surrogates."""
_STEERS = re.compile(f"[{STEERING}]")


def steering_characters(text: str) -> list[str]:
    """Return the forbidden characters of a text, each once, as ``U+001B``."""
    return [f"U+{ord(character):04X}" for character in dict.fromkeys(_STEERS.findall(text))]
