"""Record the content keys of the sheets of each raster, so that an unchanged one need not be read again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from dataclasses import asdict

from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.servers import at_once

FORMAT = 2
"""The format of new records; those of format 1 do not name their sheet, and remain valid."""


class KnownSheets:
    """The content keys of a raster's sheets from earlier runs, each in a small file.

    Args:
        plan: The run.
        raster: Number of the raster in the plan.
        recipe: Digest of everything except pixels that labels depend on.
    """

    def __init__(self, plan: Plan, raster: int, recipe: str) -> None:
        planned = plan.rasters[raster]
        self._folder: str | None = None
        if planned.fingerprint is not None:
            inputs = [
                recipe,
                planned.fingerprint,
                planned.bands,
                plan.card.fill,
                asdict(planned.georef),
                plan.sheet_cores,
                *([planned.file_states.marks] if planned.file_states is not None else []),
            ]
            digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()
            self._folder = files.join(known_folder(plan), digest[:32])

    def get(self, row: int, col: int) -> str | None:
        """Return the content key of a sheet; None if unknown."""
        if self._folder is None or not files.exists(self._path(row, col)):
            return None
        return _key_in(files.read_bytes(self._path(row, col)), self._name(row, col))

    def put(self, row: int, col: int, key: str) -> None:
        """Store the content key of a sheet."""
        if self._folder is not None:
            record = {"format": FORMAT, "of": self._name(row, col), "key": key}
            files.write_bytes(self._path(row, col), json.dumps(record).encode())

    def forget(self) -> None:
        """Delete the content keys of all sheets of the raster."""
        if self._folder is not None:
            files.remove_tree(self._folder)

    def keys(self, places: Collection[tuple[int, int]]) -> list[str]:
        """Return the known content keys of sheets, given by row and column."""
        names = [] if self._folder is None else files.names(self._folder)
        known = ((int(row), int(col)) for row, _, col in (name.partition("_") for name in names))
        known_places = [place for place in known if place in places]
        keys = at_once(lambda place: self.get(*place), known_places, [self._folder or ""])
        return [key for key in keys if key is not None]

    def _path(self, row: int, col: int) -> str:
        return files.join(self._folder or "", f"{row}_{col}")

    def _name(self, row: int, col: int) -> str:
        """Return the name of a sheet in its record."""
        return "/".join(self._path(row, col).rsplit("/", 2)[1:])


def _key_in(record: bytes, name: str) -> str | None:
    """Return the key in a record if it is of the named sheet; records of format 1 are a key without a name."""
    if re.fullmatch(rb"[0-9a-f]{64}", record):
        return record.decode()
    try:
        fields = json.loads(record)
        key = fields["key"] if (fields["format"], fields["of"]) == (FORMAT, name) else ""
    except (ValueError, KeyError, TypeError):
        return None
    return key if isinstance(key, str) and re.fullmatch(r"[0-9a-f]{64}", key) else None


def known_folder(plan: Plan) -> str:
    """Return the folder of the content keys of known sheets."""
    return files.join(plan.options.work_folder, "known")
