"""Name the intermediate files and the results of a run, and remove what killed runs left behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.owner import Owner
from terraseam.tiles.raster.inspect import is_local

STORE = "store"
"""Folder of the prediction store, in the work folder."""

MADE = "made"
"""Folder of the trace cache, in the work folder."""

PUBLISHED = ".done"
"""Folder of the records of published rasters, in the results folder."""

LABELS = "labels.tif"
"""File name of the label map of a raster."""

POLYGONS = {ending: f"polygons.{ending}" for ending in FORMATS}
"""File name of the polygons of a raster, by format."""

STAGING_PREFIX = ".staging-"

ELSEWHERE = "remote-"
"""Prefix of the folders of runs that may outlive the process that started them."""

BEAT_S = 60.0
"""Seconds between two heartbeats of a run folder."""

LEFT_S = 86_400.0
"""Seconds without a heartbeat after which a folder is abandoned if its process cannot be seen from here."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of the intermediate files of one run, which are removed when it ends.

    The folder is named after the process that started the run and its machine or container, so that runs do not
    collide and the folder of a killed run is recognized as abandoned.

    Attributes:
        path: The folder.
        staging: Folder of results before they are published, on the same filesystem as the output.
        trace_cache: Folder of the trace cache, which outlives the run.
    """

    path: str
    staging: str
    trace_cache: str

    @classmethod
    def of(cls, output: str, work: str, *, here: bool = True) -> RunFolder:
        """Return the folders of a run that this process starts.

        Args:
            output: Results folder.
            work: Work folder, for intermediate files.
            here: Whether the run ends with this process; others may continue elsewhere, and clean up there.
        """
        owner = f"{'' if here else ELSEWHERE}{Owner.here().name}"
        staging = files.join(output, f"{STAGING_PREFIX}{owner}")
        return cls(files.join(work, "runs", owner), staging, files.join(work, MADE))

    def beat(self) -> None:
        """Send a heartbeat, for runs that cannot see this run's process."""
        for folder in (self.path, self.staging):
            files.touch(folder)

    def remove(self) -> None:
        """Remove the folders of this run, if they exist."""
        files.remove_tree(self.staging)
        files.remove_tree(self.path)

    def failure(self, raster: int) -> str:
        """Return the file that holds why a raster could not be read; it exists only if so."""
        return files.join(self.path, "failures", f"{raster}.txt")

    def sheet_record(self, raster: int, row: int, col: int) -> str:
        """Return the record of a sheet that has been segmented."""
        return files.join(self.path, "sheets", f"{raster}_{row}_{col}.json")

    def closed_features(self, raster: int, row: int, col: int) -> str:
        """Return the file of the features of a sheet that touch no seam."""
        return files.join(self.path, "closed", f"{raster}_{row}_{col}.features")

    def fragments(self, raster: int, row: int, col: int) -> str:
        """Return the file of the fragments of a sheet that touch a seam."""
        return files.join(self.path, "open", f"{raster}_{row}_{col}.fragments")

    def sent_fragments(self, raster: int, sheet: tuple[int, int], home: tuple[int, int]) -> str:
        """Return the file of the fragments of a sheet whose regions begin in sheet `home`, possibly the same."""
        return files.join(
            self.path, "sent", f"{raster}_{sheet[0]}_{sheet[1]}_to_{home[0]}_{home[1]}.fragments"
        )

    def sieving(self, raster: int, row: int, col: int) -> str:
        """Return the file of the small regions of a sheet, as far as they are sieved before its seams are known."""
        return files.join(self.path, "sieving", f"{raster}_{row}_{col}.sieve")

    def sieved(self, raster: int, row: int, col: int) -> str:
        """Return the file of the label map of a sheet without small regions."""
        return files.join(self.path, "sieved", f"{raster}_{row}_{col}.labels")

    def links(self, raster: int, row: int, col: int) -> str:
        """Return the file of links between the instances of a sheet and those of later tiles."""
        return files.join(self.path, "links", f"{raster}_{row}_{col}.links")

    def instance_features(self, raster: int, row: int, col: int, first_row: int) -> str:
        """Return the file of features of instances that a sheet resolves and that begin in a row of sheets."""
        return files.join(self.path, "things", f"{raster}_{row}_{col}_{first_row}.features")

    def patches(self, raster: int, row: int, col: int, sheet: tuple[int, int]) -> str:
        """Return the file of what `sheet` contains of the instances that sheet (`row`, `col`) resolves."""
        return files.join(self.path, "patches", f"{raster}_{row}_{col}_on_{sheet[0]}_{sheet[1]}.patches")

    def overlaps(self, raster: int, row: int, col: int) -> str:
        """Return the file of the pixels of a sheet that belong to two instances."""
        return files.join(self.path, "overlaps", f"{raster}_{row}_{col}.overlaps")

    def painted(self, raster: int, row: int, col: int) -> str:
        """Return the file of the label map of a sheet, painted from instances."""
        return files.join(self.path, "painted", f"{raster}_{row}_{col}.sheet")

    def changes(self, raster: int) -> str:
        """Return the file of the polygons of a raster that differ from those of the previous run."""
        return files.join(self.path, "changes", f"{raster}.geojsonl")

    def joined_features(self, raster: int, row: int, col: int) -> str:
        """Return the file of features across seams whose first pixel lies in a sheet."""
        return files.join(self.path, "joined", f"{raster}_{row}_{col}.features")


def remove_left_behind(output: str, work: str) -> None:
    """Remove the folders of runs that have exited, including earlier runs of this process."""
    for left in (*files.folders(output, STAGING_PREFIX), *files.folders(files.join(work, "runs"))):
        if _is_left_behind(left, left.rpartition("/")[2].removeprefix(STAGING_PREFIX)):
            files.remove_tree(left)


def _is_left_behind(folder: str, name: str) -> bool:
    """Return whether a run folder is abandoned; for processes elsewhere, such as in other containers, by its age."""
    owner = Owner.named(name)
    if owner is not None:
        return owner == Owner.here() or owner.has_exited()
    if name.startswith(ELSEWHERE) or not is_local(folder):
        return False
    with contextlib.suppress(OSError):
        return time.time() - Path(folder).stat().st_mtime > LEFT_S
    return False


@contextlib.contextmanager
def beating(folder: RunFolder) -> Iterator[None]:
    """Send heartbeats for a run folder during the block."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(BEAT_S):
            folder.beat()

    heart = threading.Thread(target=beat, name="run folder", daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()


def result_folder(output: str, raster_id: str) -> str:
    """Return the folder of the results of a raster."""
    return files.join(output, raster_id)


def quarantine_path(output: str) -> str:
    """Return the file of the sheets that could not be segmented."""
    return files.join(output, "quarantine.geojson")


def manifest_path(output: str) -> str:
    """Return the file of the run's manifest."""
    return files.join(output, "manifest.json")
