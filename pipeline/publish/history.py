"""The runs of a folder of results: the manifest of each, and what it changed against the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from terraseam.pipeline.publish.changes import PolygonChanges, describe_changes
from terraseam.pipeline.storage import files
from terraseam.tiles.features.geojson import write_geojson

FOLDER = "history"


def last_manifest(output: str, before: str) -> dict[str, Any] | None:
    """The manifest of the last run that has ended before the one of a name began; None where there was none."""
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
    """Keep the manifest of a run, and what it changed.

    Args:
        output: Folder of the results.
        manifest: What is said of the run.
        polygons: What happened to the polygons of rasters that were published again, by their ids.
        texts: Files of features that differ, a feature a line.
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
    """The name of a run: when it started, so that names are in the order of runs."""
    digits = str(manifest["started"]).replace(":", "").replace("-", "").replace(".", "")
    return digits.replace("+0000", "Z")
