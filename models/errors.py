"""Errors of networks, bundles and imports."""

from __future__ import annotations


class CardError(ValueError):
    """A bundle or card is missing or wrong; one sentence that names it, the field and what to do."""


class RefusedError(ValueError):
    """A network that cannot become a bundle; one sentence that says why and what to do."""


class NotUnderstoodError(ValueError):
    """A graph of which it is not known how far it looks; the message names the node."""


def short(error: BaseException | str, most: int = 200) -> str:
    """The first line of what another library says, cut to a length that fits a sentence."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    return text if len(text) <= most else text[: most - 3] + "..."
