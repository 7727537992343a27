"""Compare a run with the previous one: polygons added, removed and changed, by id, and areas by class."""

from __future__ import annotations

import contextlib
import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import POLYGONS

_ID = re.compile(rb'"id":"([^"\\]*)"')
_PROPERTIES = b'"properties":{'

TEXT_FILES = tuple(POLYGONS[name] for name, row in FORMATS.items() if row.is_text)


@dataclass(frozen=True, slots=True)
class PolygonChanges:
    """The number of polygons of a raster that a run added, removed and changed.

    Attributes:
        added: Polygons whose id is new.
        removed: Polygons whose id no longer exists.
        changed: Polygons whose geometry or properties differ.
    """

    added: int
    removed: int
    changed: int


def compare_polygons(before: str, after: Path, target: str, scratch: Path) -> PolygonChanges | None:
    """Compare the polygons of a raster with those of the previous run; memory does not grow with them.

    Args:
        before: Folder of the previous results.
        after: Folder of the new results.
        target: File to write the features that differ to, each with a property ``change``; empty if none differ.
        scratch: Folder for a temporary file.

    Returns:
        The number of polygons that differ; None if one of the runs wrote no GeoJSON.
    """
    old = next((path for name in TEXT_FILES if files.exists(path := files.join(before, name))), None)
    new = next((str(after / name) for name in TEXT_FILES if (after / name).exists()), None)
    if old is None or new is None:
        return None
    database_path = scratch / "seen.sqlite"
    counts = dict.fromkeys(("added", "removed", "changed"), 0)
    try:
        with contextlib.closing(sqlite3.connect(database_path)) as database, files.writing(target) as file:
            for change, text in _differences(database, old, new):
                counts[change] += 1
                prefix = b'"properties":{"change":"' + change.encode() + b'",'
                file.write(text.replace(_PROPERTIES, prefix, 1) + b"\n")
    finally:
        database_path.unlink(missing_ok=True)
    return PolygonChanges(**counts)


def _differences(database: sqlite3.Connection, old: str, new: str) -> Iterator[tuple[str, bytes]]:
    """Yield the change of each feature that differs, and its text."""
    database.execute("CREATE TABLE old (id BLOB PRIMARY KEY, digest BLOB) WITHOUT ROWID")
    rows = ((_identity(text), _digest(text)) for text in read_features(old))
    database.executemany("INSERT OR REPLACE INTO old VALUES (?, ?)", rows)
    for text in read_features(new):
        matches = database.execute(
            "DELETE FROM old WHERE id = ? RETURNING digest", (_identity(text),)
        ).fetchall()
        if not matches:
            yield "added", text
        elif matches[0][0] != _digest(text):
            yield "changed", text
    for text in read_features(old):
        if database.execute("SELECT 1 FROM old WHERE id = ?", (_identity(text),)).fetchone():
            yield "removed", text


def read_features(path: str) -> Iterator[bytes]:
    """Yield the features of a file that Terraseam wrote, GeoJSON or one feature per line, as text."""
    with files.open_bytes(path) as file:
        for line in file:
            if line.startswith(b'{"type":"Feature",'):
                yield line.rstrip(b"\r\n,")


def _identity(text: bytes) -> bytes:
    match = _ID.search(text)
    return match.group(1) if match else b""


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def describe_changes(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], polygons: Mapping[str, PolygonChanges | None]
) -> dict[str, Any]:
    """Describe what a run changed compared with the previous one.

    Args:
        before: The manifest of the previous run; None if there was none.
        now: The manifest of the run.
        polygons: Changes of the polygons of rasters that were published again, by raster id.
    """
    earlier = {raster["id"]: raster for raster in before["rasters"]} if before else {}
    present = {raster["id"] for raster in now["rasters"]}
    return {
        "format": 1,
        "started": now["started"],
        "since": before["started"] if before else None,
        "new_rasters": [raster["id"] for raster in now["rasters"] if raster["id"] not in earlier],
        "gone_rasters": [name for name in earlier if name not in present],
        "rasters": [
            {
                "id": raster["id"],
                "sheets": _fates(raster["sheets"]),
                "classes": _areas(earlier[raster["id"]]["classes"], raster["classes"]),
                "polygons": _polygons(raster, polygons),
            }
            for raster in now["rasters"]
            if raster["id"] in earlier
        ],
    }


def _polygons(
    raster: Mapping[str, Any], polygon_changes: Mapping[str, PolygonChanges | None]
) -> dict[str, int] | None:
    """Return the changes of the polygons of a raster; None if unknown."""
    if raster["kept"] or not raster["published"]:
        return asdict(PolygonChanges(0, 0, 0))
    changes = polygon_changes.get(raster["id"])
    return asdict(changes) if changes else None


def _fates(sheets: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    counted: dict[str, int] = {}
    for sheet in sheets:
        counted[sheet["fate"]] = counted.get(sheet["fate"], 0) + 1
    return counted


def _areas(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Return the pixels, polygons and polygon area of each class, before and now."""
    return {
        name: {
            key: [before.get(name, {}).get(key), now.get(name, {}).get(key)]
            for key in ("pixels", "polygons", "polygon_area_m2")
        }
        for name in [*now, *(name for name in before if name not in now)]
    }
