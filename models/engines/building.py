"""Report networks that an engine cannot build."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from terraseam.models.bundle.card import Card
from terraseam.models.engines.profile import EngineError
from terraseam.models.errors import CardError

MOST = 300
"""Characters of an engine's message that are shown."""


@contextlib.contextmanager
def building(card: Card, engine: str) -> Iterator[None]:
    """Convert an engine's exceptions while building a network into `EngineError`, so that no chip is blamed.

    Args:
        card: Card of the network's bundle.
        engine: Name of the engine.

    Raises:
        EngineError: If the network cannot be built.
    """
    try:
        yield
    except (CardError, EngineError, OSError, MemoryError, ImportError):
        raise
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            raise
        # Keras puts the cause after a long preamble.
        reason = (
            " ".join(str(error).split()).rpartition("Exception encountered: ")[2][:MOST]
            or type(error).__name__
        )
        raise EngineError(
            f"{engine} cannot build the network of {card.name} ({reason}); recreate the bundle, or pass another --engine"
        ) from error
