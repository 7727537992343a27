"""Find networks by architecture and encoder."""

from __future__ import annotations

from terraseam.models.zoo import ZOO, Row, find
from terraseam.pipeline.errors import ArgumentError, did_you_mean


def find_row(architecture: str, encoder: str | None) -> Row:
    """Find a network by name; the encoder is optional if the architecture has only one.

    Raises:
        ArgumentError: If the architecture is unknown, with the nearest name, or the encoder is ambiguous.
        ZooError: If the architecture is not built on that encoder.
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
