"""Names that were mistyped."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

ALIKE = 0.75
"""Share of letters in order that a mistyped name has more of in common with what was meant."""


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that another was mistyped from, or that has words more or less; None for none.

    Case, and whether words are parted by dashes or underscores, make no difference.
    """
    wanted = _plain(name)
    found: tuple[float, str] | None = None
    for candidate in known:
        plain = _plain(candidate)
        alike = difflib.SequenceMatcher(None, wanted, plain).ratio()
        near = (_shares_words(wanted, plain) or alike > ALIKE) and _denies(wanted) == _denies(plain)
        if near and (found is None or alike > found[0]):
            found = alike, candidate
    return found[1] if found else None


def _shares_words(first: str, second: str) -> bool:
    """Whether all words of one name are in the other."""
    one, other = set(first.split("-")), set(second.split("-"))
    return one <= other or other <= one


def _denies(name: str) -> bool:
    """Whether a name says no to something."""
    return "no" in name.split("-")


def _plain(name: str) -> str:
    return name.strip("-").replace("_", "-").casefold()
