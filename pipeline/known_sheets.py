"""Which entries of the prediction store an unchanged raster has, so that it need not be read again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict

from pipeline import files
from pipeline.layout import known_folder
from pipeline.plan import Plan
from pipeline.remote import at_once

_KEY_LENGTH = 64


class KnownSheets:
    """The content keys of a raster's sheets as earlier runs found them, each in a small file.

    Args:
        plan: The run.
        raster: Number of the raster in the plan.
        recipe: Digest of all but pixels that labels depend on.
    """

    def __init__(self, plan: Plan, raster: int, recipe: str) -> None:
        planned = plan.rasters[raster]
        self._folder: str | None = None
        if planned.fingerprint is not None:
            seen = [
                recipe,
                planned.fingerprint,
                planned.bands,
                plan.card.fill,
                asdict(planned.georef),
                plan.sheet_cores,
            ]
            digest = hashlib.sha256(json.dumps(seen).encode()).hexdigest()
            self._folder = files.join(known_folder(plan), digest[:32])

    def get(self, row: int, col: int) -> str | None:
        """The content key of a sheet; None where it is not known."""
        if self._folder is None or not files.exists(self._path(row, col)):
            return None
        key = files.read_bytes(self._path(row, col)).decode("ascii", "replace")
        return key if len(key) == _KEY_LENGTH else None

    def put(self, row: int, col: int, key: str) -> None:
        """Remember the content key of a sheet."""
        if self._folder is not None:
            files.write_bytes(self._path(row, col), key.encode())

    def keys(self, places: Collection[tuple[int, int]]) -> list[str]:
        """The content keys of those of some sheets, by row and column, that are known."""
        names = [] if self._folder is None else files.names(self._folder)
        known = ((int(row), int(col)) for row, _, col in (name.partition("_") for name in names))
        wanted = [place for place in known if place in places]
        found = at_once(lambda place: self.get(*place), wanted, [self._folder or ""])
        return [key for key in found if key is not None]

    def _path(self, row: int, col: int) -> str:
        return files.join(self._folder or "", f"{row}_{col}")
