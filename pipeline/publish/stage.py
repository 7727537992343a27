"""Publish results: the files of each raster, and finally the manifest."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import apache_beam as beam
from apache_beam.metrics import Metrics

from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.publish.changes import PolygonChanges, compare_polygons
from terraseam.pipeline.publish.polygons import write_polygons
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.errors import RemoteFileError
from terraseam.pipeline.storage.run_paths import POLYGONS, RunFolder, manifest_path, result_folder
from terraseam.pipeline.vectorize.feature_files import FeatureRecord
from terraseam.pipeline.vectorize.stage import VectorRecord

MoreFiles = Callable[[Path, int, tuple[VectorRecord, ...]], None]
"""Writes further files of a raster: takes a folder, the number of the raster and the records of its sheets."""

Watch = Callable[[int, tuple[VectorRecord, ...]], str]
"""Returns why a raster's results may not be published, from the records of its sheets; empty if they may."""


@dataclass(frozen=True)
class Published:
    """The outcome of publishing one raster.

    Attributes:
        raster: Number of the raster in the plan.
        sheets: Records of its sheets, in order.
        features: Records of its features.
        files: SHA-256, size and further manifest fields of each file written, by name.
        seconds: Time that publishing took.
        changes: Changes of its polygons since the previous run; None if unknown.
        failure: Why it could not be read, in a sentence, so that nothing is published; empty if it could.
    """

    raster: int
    sheets: tuple[VectorRecord, ...]
    features: tuple[FeatureRecord, ...]
    files: dict[str, dict[str, Any]]
    seconds: float
    changes: PolygonChanges | None = None
    failure: str = ""


class Ledger(Protocol):
    """The records of published rasters, for later runs."""

    def stands(self, raster: int, described: Mapping[str, Any]) -> bool:
        """Return whether an earlier run published exactly these files of a raster, and they still exist."""

    def forget(self, raster: int) -> None:
        """Delete the record of a raster whose files are about to be replaced."""

    def write(self, published: Published) -> None:
        """Record that the files of a raster are published."""


class PublishRasters(beam.DoFn):
    """A DoFn that writes the results of a raster when all its sheets are done.

    Args:
        plan: The plan of the polygons.
        run_folder: Paths of the run's intermediate files.
        more: Writes further files besides polygons; None for none.
        ledger: Records of published rasters; None for none.
        watch: Checks that the raster has not changed since the run began; None for no check.
    """

    def __init__(
        self,
        plan: PolygonPlan,
        run_folder: RunFolder,
        more: MoreFiles | None = None,
        ledger: Ledger | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._plan = plan
        self._run_folder = run_folder
        self._more = more
        self._ledger = ledger
        self._watch = watch
        self._timer = Metrics.distribution("terraseam", "publish_ms")

    def process(self, element: tuple[int, Mapping[str, Iterable[Any]]]) -> Iterator[Published]:
        """Write the files of one raster."""
        start = time.perf_counter()
        raster, records = element
        sheets = tuple(sorted(records["sheets"], key=lambda record: record.place))
        features = [*records["joined"], *(record.written for record in sheets if record.written is not None)]
        if all(record.record is not None and record.record.failure for record in sheets):
            # It has no new results: those of an earlier run stay.
            yield Published(raster, sheets, (), {}, 0.0)
            return
        failure = self._run_folder.failure(raster)
        if files.exists(failure):
            yield Published(raster, sheets, (), {}, 0.0, failure=files.read_bytes(failure).decode())
            return
        changed = self._watch(raster, sheets) if self._watch is not None else ""
        if changed:
            yield Published(raster, _with_failure(sheets, changed), (), {}, 0.0, failure=changed)
            return
        folder = result_folder(self._plan.output, self._plan.rasters[raster].id)
        with files.staging(self._run_folder.staging) as staged:
            if self._more is not None:
                self._more(staged, raster, sheets)
            fields = write_polygons(staged, self._plan, raster, features)
            described = {
                path.name: describe_file(path) | fields.get(path.name, {})
                for path in sorted(staged.iterdir())
            }
            changes = None
            if self._ledger is not None:
                changes = compare_polygons(folder, staged, self._run_folder.changes(raster), staged)
            if self._ledger is None or not self._ledger.stands(raster, described):
                self._replace(raster, staged, tuple(described))
        seconds = time.perf_counter() - start
        self._timer.update(round(seconds * 1000))
        published = Published(raster, sheets, tuple(features), described, seconds, changes)
        if self._ledger is not None:
            self._ledger.write(published)
        yield published

    def _replace(self, raster: int, staged: Path, names: Sequence[str]) -> None:
        """Replace the files of a raster from an earlier run by new ones."""
        folder = result_folder(self._plan.output, self._plan.rasters[raster].id)
        drafts = files.ready([staged / name for name in names], self._run_folder.staging)
        # From here on, the manifest of an earlier run and its polygons in other formats are out of date.
        files.remove(manifest_path(self._plan.output))
        if self._ledger is not None:
            self._ledger.forget(raster)
        for name in set(POLYGONS.values()) - set(names):
            files.remove(files.join(folder, name))
        for name, draft in zip(names, drafts, strict=True):
            files.appear(draft, files.join(folder, name))


def _with_failure(sheets: Iterable[VectorRecord], cause: str) -> tuple[VectorRecord, ...]:
    """Return the records of segmented sheets with a failure added."""
    return tuple(
        sheet if sheet.record is None else replace(sheet, record=replace(sheet.record, failure=cause))
        for sheet in sheets
    )


def describe_file(path: Path) -> dict[str, Any]:
    """Return the SHA-256 and size in bytes of a file."""
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


class EndRun(beam.DoFn):
    """A DoFn that ends the run when all rasters are published.

    Args:
        end: Writes the manifest of the run; takes the outcome of each raster, in order.
    """

    def __init__(self, end: Callable[[list[Published]], Any]) -> None:
        self._end = end

    def process(self, element: tuple[int, Iterable[Published]]) -> Iterator[int]:
        """Write manifest.json and the files beside it, and yield the number of rasters processed."""
        published = sorted(element[1], key=lambda record: record.raster)
        self._end(published)
        yield len(published)


def publish(
    sheets: beam.PCollection, joined: beam.PCollection, rasters: PublishRasters, end: EndRun
) -> beam.PCollection:
    """Publish every raster, and then the manifest.

    Args:
        sheets: raster -> `VectorRecord`.
        joined: raster -> `FeatureRecord`.
        rasters: The DoFn that publishes a raster.
        end: The DoFn that ends the run.

    Returns:
        The number of rasters processed, once the manifest is written.
    """
    return (
        {"sheets": sheets, "joined": joined}
        | "ByRaster" >> beam.CoGroupByKey()
        | "Publish" >> beam.ParDo(rasters)
        | "OneKey" >> beam.WithKeys(0)
        | "AllRasters" >> beam.GroupByKey()
        | "EndRun" >> beam.ParDo(end)
    )


def clean_up(ended: beam.PCollection, folder: RunFolder) -> None:
    """Remove a run's intermediate files when it has ended, if the process that started it may have exited."""

    def remove(_: int) -> None:
        with contextlib.suppress(RemoteFileError):  # Files left behind do no harm.
            folder.remove()

    _ = ended | "NoWayBack" >> beam.Reshuffle() | "CleanUp" >> beam.Map(remove)
