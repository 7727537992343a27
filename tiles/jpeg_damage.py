"""Damage of JPEG blocks, of which GDAL only warns: it answers with what the decoder has made up."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

WARNED_BY = "rasterio._err"
"""The logger that gets GDAL's warnings, in the thread that reads."""
DAMAGE = "Corrupt JPEG data"
"""What libjpeg says of all such damage."""

_heard = threading.local()


class _Ear(logging.Filter):
    """Keeps warnings of damage for the thread that listens; all others go where they went before."""

    def filter(self, record: logging.LogRecord) -> bool:
        words = record.getMessage()
        damage: list[str] | None = getattr(_heard, "damage", None)
        if damage is not None and DAMAGE in words:
            damage.append(words[words.index(DAMAGE) :])
            return False
        above = logging.getLogger(WARNED_BY).parent
        return above is None or record.levelno >= above.getEffectiveLevel()


logging.getLogger(WARNED_BY).addFilter(_Ear())
logging.getLogger(WARNED_BY).setLevel(logging.WARNING)


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """What this thread hears of damaged JPEG blocks while it reads in the block."""
    _heard.damage = []
    try:
        yield _heard.damage
    finally:
        _heard.damage = None
