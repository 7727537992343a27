"""Suggestions for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.75
"""Similarity (`difflib` ratio) above which a known name is suggested for a mistyped one."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most similar to a mistyped one, or one with more or fewer words; None if none is close.

    Case and the choice of dashes or underscores are ignored.
    """
    plain_name = _plain(name)
    nearest: tuple[float, str] | None = None
    for candidate in known:
        plain = _plain(candidate)
        alike = difflib.SequenceMatcher(None, plain_name, plain).ratio()
        near = (_is_subset(plain_name, plain) or alike > ALIKE) and _denies(plain_name) == _denies(plain)
        if near and (nearest is None or alike > nearest[0]):
            nearest = alike, candidate
    return nearest[1] if nearest else None


def _is_subset(first: str, second: str) -> bool:
    """Return whether all words of one name occur in the other."""
    first_parts, second_parts = set(first.split("-")), set(second.split("-"))
    return first_parts <= second_parts or second_parts <= first_parts


def _denies(name: str) -> bool:
    """Return whether a name contains the word "no"."""
    return "no" in name.split("-")


def _plain(name: str) -> str:
    return name.strip("-").replace("_", "-").casefold()
