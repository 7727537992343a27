"""Listing, verifying and pruning a prediction store."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.exit_status import DONE, FAILED, IMPOSSIBLE, fail, show
from terraseam.pipeline.options.store_arguments import parse_store
from terraseam.pipeline.segment.prediction_store import SUFFIX, StoreError, key_of, unsealed
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import RemoteFileError
from terraseam.pipeline.storage.listed import Listed
from terraseam.pipeline.storage.run_paths import MADE, STORE, manifest_path
from terraseam.pipeline.storage.servers import prepare
from terraseam.pipeline.units import count, format_bytes, format_span
from terraseam.pipeline.vectorize.trace_cache import SUFFIX as MADE_SUFFIX

DRAFT_S = 86_400.0
"""Drafts of killed runs go at this age; younger ones may be of a run that goes on."""


def run_store(argv: Sequence[str]) -> int:
    """Run ``terraseam store``; returns the exit status."""
    try:
        options = parse_store(argv)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    prepare([options.folder])
    folder = _work_of(options.folder)
    if folder is None:
        return fail(_describe_nothing(options.folder), IMPOSSIBLE)
    entries = [entry for name in (STORE, MADE) for entry in files.listing(files.join(folder, name))]
    if options.verb == "prune":
        return _prune(entries, options)
    if options.verb == "verify":
        return _verify(entries, options)
    return _show_record(_summary(entries), _describe_summary(entries, folder), options)


def _work_of(folder: str) -> str | None:
    """Return the folder of intermediate files: a folder itself, or that of a results folder; None if there is none."""
    for work in (folder, files.join(folder, ".work"), *_named_work_folders(folder)):
        if files.listing(files.join(work, STORE)):
            return work
    return None


def _describe_nothing(folder: str) -> str:
    """Return the message that a folder has no store, and where it may be."""
    folders = _named_work_folders(folder)
    if folders:
        return (
            f"there is no prediction store in {folder}, nor in {folders[0]}, the --work folder named in its "
            "manifest, as seen from this machine; name that folder"
        )
    return f"there is no prediction store in {folder}; name the --output or --work folder of a run"


def _named_work_folders(folder: str) -> list[str]:
    """Return the work folder that the manifest of a results folder names; none if it cannot be read."""
    try:
        options = json.loads(files.read_bytes(manifest_path(folder)))["options"]
        work = options["work"]
    except (OSError, RemoteFileError, ValueError, KeyError, TypeError):
        return []
    return [work] if isinstance(work, str) else []


def _show_record(record: Mapping[str, Any], text: str, options: Any, status: int = DONE) -> int:
    show(json.dumps(record, indent=2) if options.json else text)
    return status


def _whole(entries: Sequence[Listed]) -> list[Listed]:
    """Return entries, oldest first, without drafts."""
    return sorted(
        (entry for entry in entries if not entry.draft and entry.path.endswith((SUFFIX, MADE_SUFFIX))),
        key=lambda e: e.changed,
    )


def _summary(entries: Sequence[Listed]) -> dict[str, Any]:
    whole = _whole(entries)
    return {
        "sheets": sum(entry.path.endswith(SUFFIX) for entry in whole),
        "made": sum(entry.path.endswith(MADE_SUFFIX) for entry in whole),
        "bytes": sum(entry.size for entry in whole),
        "oldest": whole[0].changed if whole else None,
        "newest": whole[-1].changed if whole else None,
        "drafts": sum(entry.draft for entry in entries),
    }


def _describe_summary(entries: Sequence[Listed], folder: str) -> str:
    totals = _summary(entries)
    ages = ""
    if totals["newest"] is not None:
        now = time.time()
        ages = f", {format_span(now - totals['newest'])} to {format_span(now - totals['oldest'])} old"
    drafts = (
        f"; {count(totals['drafts'], 'draft')} of runs that are in progress or were killed"
        if totals["drafts"]
        else ""
    )
    contents = f"{count(totals['sheets'], 'sheet')}, polygons of {count(totals['made'], 'sheet')}"
    return f"{folder}: {contents}, {format_bytes(totals['bytes'])}{ages}{drafts}"


def _verify(entries: Sequence[Listed], options: Any) -> int:
    """Check all entries; damaged ones are told, and removed on request."""
    damaged, whole = [], _whole(entries)
    for entry in whole:
        try:
            unsealed(files.read_bytes(entry.path), key_of(entry.path))
        except (StoreError, OSError):
            damaged.append(entry.path)
            if options.remove:
                files.remove(entry.path)
    consequence = "removed" if options.remove else "the next run computes them again"
    text = "\n".join(
        [
            f"{count(len(whole), 'file')}, {len(damaged)} damaged{f' ({consequence})' if damaged else ''}",
            *damaged,
        ]
    )
    record = {"entries": len(whole), "damaged": damaged, "removed": bool(options.remove)}
    return _show_record(record, text, options, FAILED if damaged and not options.remove else DONE)


def _prune(entries: Sequence[Listed], options: Any) -> int:
    """Remove what is too old or too much, and drafts that nobody finishes."""
    if options.older_than is None and options.down_to is None:
        return fail("nothing to prune: pass --older-than AGE and/or --max-size SIZE", IMPOSSIBLE)
    now, whole = time.time(), _whole(entries)
    gone = [
        entry
        for entry in whole
        if options.older_than is not None and now - entry.changed > options.older_than
    ]
    rest = whole[len(gone) :]
    left = sum(entry.size for entry in rest)
    while rest and options.down_to is not None and left > options.down_to:
        oldest = rest.pop(0)
        left -= oldest.size
        gone.append(oldest)
    gone += [entry for entry in entries if entry.draft and now - entry.changed > DRAFT_S]
    for entry in gone:
        files.remove(entry.path)
    freed = sum(entry.size for entry in gone)
    record = {"removed": len(gone), "freed_bytes": freed, "entries": len(rest), "bytes": left}
    text = (
        f"{count(len(gone), 'file')} removed, {format_bytes(freed)} freed; "
        f"{count(len(rest), 'file')} left, {format_bytes(left)}"
    )
    return _show_record(record, text, options)
