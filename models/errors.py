"""Exceptions raised by networks, bundles and imports."""

from __future__ import annotations


class CardError(ValueError):
    """A bundle or card that is missing or invalid; the message names it, the field and the remedy."""


class NetworkRefusedError(ValueError):
    """A network that cannot become a bundle; the message says why and what to do."""


class NotUnderstoodError(ValueError):
    """A graph whose receptive field cannot be determined; the message names the node."""


def short(error: BaseException | str, most: int = 200) -> str:
    """Return the first non-empty line of another library's error, truncated to `most` characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= most else text[: most - 3] + "..."
