"""What engines say of networks that they cannot build, as one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from terraseam.models.bundle.card import Card
from terraseam.models.engines.profile import EngineError
from terraseam.models.errors import CardError

MOST = 300
"""Characters of an engine's own words that are shown."""


@contextlib.contextmanager
def building(card: Card, engine: str) -> Iterator[None]:
    """Turn what an engine raises while it builds a network into an error that no chip can be blamed for.

    Args:
        card: Card of the network's bundle.
        engine: What builds it.

    Raises:
        EngineError: If it cannot be built.
    """
    try:
        yield
    except (CardError, EngineError, OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            raise
        # Keras tells a long story before the cause.
        words = (
            " ".join(str(error).split()).rpartition("Exception encountered: ")[2][:MOST]
            or type(error).__name__
        )
        raise EngineError(
            f"{engine} cannot build the network of {card.name} ({words}); make the bundle again, or pass another --engine"
        ) from error
