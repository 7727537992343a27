"""Networks by the names that users give them."""

from __future__ import annotations

from terraseam.models.zoo import ZOO, Row, find
from terraseam.pipeline.errors import ArgumentError, did_you_mean


def find_row(architecture: str, encoder: str | None) -> Row:
    """Find a network, with a hint at the nearest name; an architecture of one encoder needs none named.

    Raises:
        ArgumentError: If no architecture is called so, or several encoders are meant.
        ZooError: If it is not built on that encoder.
    """
    rows = [row for row in ZOO if row.architecture == architecture]
    if not rows:
        names = list(dict.fromkeys(row.architecture for row in ZOO))
        raise ArgumentError(
            f"no architecture is called {architecture!r}; {did_you_mean(architecture, names, '{} ')}"
            f"choose one of {', '.join(names)}"
        )
    if encoder is None and len(rows) > 1:
        raise ArgumentError(
            f"give --encoder: {architecture} is built on {', '.join(row.encoder or 'none' for row in rows)}"
        )
    return rows[0] if encoder is None else find(architecture, encoder)
