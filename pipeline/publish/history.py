"""Keep the history of a results folder: the manifest of each run, and its changes from the previous one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from terraseam.pipeline.publish.changes import PolygonChanges, describe_changes
from terraseam.pipeline.storage import files
from terraseam.tiles.features.geojson import write_geojson

FOLDER = "history"


def last_manifest(output: str, before: str) -> dict[str, Any] | None:
    """Read the manifest of the last run that precedes the named one; None if there is none."""
    folder = files.join(output, FOLDER)
    names = (name.removesuffix(".json") for name in files.names(folder) if name.endswith(".json"))
    runs = sorted(f"{name}.json" for name in names if "." not in name and name < before)
    return dict(orjson.loads(files.read_bytes(files.join(folder, runs[-1])))) if runs else None


def keep_run(
    output: str,
    manifest: Mapping[str, Any],
    polygons: Mapping[str, PolygonChanges | None],
    texts: Iterable[str],
) -> None:
    """Add a run's manifest and its changes to the history.

    Args:
        output: Results folder.
        manifest: The manifest of the run.
        polygons: Changes of the polygons of rasters that were published again, by raster id.
        texts: Files of the features that differ, one feature per line.
    """
    before = last_manifest(output, run_name(manifest))
    name = files.join(output, FOLDER, run_name(manifest))
    changes = describe_changes(before, manifest, polygons)
    with files.writing(f"{name}.changes.geojson") as file:
        write_geojson(file, _features(texts))
    files.write_json(f"{name}.changes.json", changes)
    files.write_json(f"{name}.json", manifest)


def _features(texts: Iterable[str]) -> Iterator[bytes]:
    for path in texts:
        with files.open_bytes(path) as file:
            yield from (line.rstrip(b"\n") for line in file)


def run_name(manifest: Mapping[str, Any]) -> str:
    """Return the name of a run: its start time, so that names sort in the order of runs."""
    digits = str(manifest["started"]).replace(":", "").replace("-", "").replace(".", "")
    return digits.replace("+0000", "Z")
