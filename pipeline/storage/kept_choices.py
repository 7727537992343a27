"""Read and write the record of the choices with which a work folder was begun, one for each set of networks.

Predictions are stored under keys that depend on engine and tiling. If a later run chose others, for instance because
another package is installed or the machine has more memory, it would infer everything again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.choices import Choices
from terraseam.pipeline.storage.run_paths import PUBLISHED, STORE, manifest_path

FOLDER = "choices"
"""Folder of the records, in the work folder."""

EARLIER = "earlier_version"
"""File among the records of a work folder that was begun by a version without records."""

EARLIER_CORE_PX, EARLIER_SHEET_CORES = 1024, 2
"""Tiling of the versions without records."""


def kept_choices(work: str, output: str, networks: Mapping[str, Any]) -> Choices | None:
    """Return the choices with which a work folder was begun; None if it is new for these networks.

    Args:
        work: The work folder.
        output: Output folder of the run, whose manifest names the engine of versions without records.
        networks: Everything in bundles and options that affects scores.
    """
    record = _record(work, networks)
    if files.exists(record):
        return Choices.from_json(_json(record))
    if not _is_of_earlier_version(work):
        return None
    return Choices(_earlier_engine(output) or "tensorflow", EARLIER_CORE_PX, EARLIER_SHEET_CORES, cuts=False)


def keep_choices(work: str, networks: Mapping[str, Any], choices: Choices) -> None:
    """Record the choices of a run, unless an earlier run with the same networks has recorded its own."""
    record = _record(work, networks)
    if files.exists(record):
        return
    if _is_of_earlier_version(work):
        files.write_json(files.join(work, FOLDER, EARLIER), {})
    files.write_json(record, choices.to_json())


def _record(work: str, networks: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(networks, sort_keys=True).encode()).hexdigest()
    return files.join(work, FOLDER, f"{digest[:32]}.json")


def _is_of_earlier_version(work: str) -> bool:
    """Return whether a work folder was begun by a version without records."""
    records = files.names(files.join(work, FOLDER))
    return EARLIER in records or (not records and bool(files.folders(files.join(work, STORE))))


def _earlier_engine(output: str) -> str | None:
    """Return the engine of the last run into an output folder, from its manifest or its records of published rasters."""
    manifest = _json(manifest_path(output))
    engine = _at(manifest, "inference", "engine") or _at(manifest, "profiles", 0, "engine")
    if engine is not None:
        return engine
    folder = files.join(output, PUBLISHED)
    for name in files.names(folder)[:1]:
        return _at(_json(files.join(folder, name)), "entry", "sheets", 0, "profile", "engine")
    return None


def _json(path: str) -> Any:
    """Return the contents of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(files.read_bytes(path)) if files.exists(path) else None
    except (OSError, ValueError, RecursionError):
        return None


def _at(values: Any, *path: str | int) -> str | None:
    """Return the text at a path of keys and positions; None if there is none."""
    try:
        for step in path:
            values = values[step]
    except (KeyError, IndexError, TypeError):
        return None
    return values if isinstance(values, str) else None
