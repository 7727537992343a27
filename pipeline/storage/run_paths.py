"""Where a run keeps what it needs between stages, and where results go."""

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
"""The folder of the prediction store, in that of intermediate files."""

MADE = "made"
"""The folder of what the second half has made before, in that of intermediate files."""

LABELS = "labels.tif"
"""The file of the label map of a raster."""

POLYGONS = {ending: f"polygons.{ending}" for ending in FORMATS}
"""The file of the polygons of a raster in each format."""

STAGING_PREFIX = ".staging-"

ELSEWHERE = "remote-"
"""How names begin of folders of runs that may go on when the process ends that started them."""

BEAT_S = 60.0
"""Seconds between two signs of life of a run folder."""

LEFT_S = 86_400.0
"""Seconds without one after which a folder is nobody's whose process cannot be seen from here."""


@dataclass(frozen=True)
class RunFolder:
    """Names of the intermediate files of one run; they are removed when it ends.

    A folder is named by the process that the run was started from, and by its machine or container, so that runs do
    not meet, and what a killed one left is known to be nobody's.

    Attributes:
        path: The folder.
        staging: Where results are on their way before they appear, on the same filesystem.
        made: Where it is kept what runs have made of label maps; it stays.
    """

    path: str
    staging: str
    made: str

    @classmethod
    def of(cls, output: str, work: str, *, here: bool = True) -> RunFolder:
        """The folders of a run that this process starts.

        Args:
            output: Folder of the results.
            work: Folder of intermediate files.
            here: Whether the run ends with this process; others may go on where they run, and clean up there.
        """
        owner = f"{'' if here else ELSEWHERE}{Owner.here().name}"
        staging = files.join(output, f"{STAGING_PREFIX}{owner}")
        return cls(files.join(work, "runs", owner), staging, files.join(work, MADE))

    def beat(self) -> None:
        """Note that the run goes on, for runs that cannot see its process."""
        for folder in (self.path, self.staging):
            files.touch(folder)

    def remove(self) -> None:
        """Remove the folders of this run alone, as far as they are there."""
        files.remove_tree(self.staging)
        files.remove_tree(self.path)

    def failure(self, raster: int) -> str:
        """Why a raster could not be read, where that is so."""
        return files.join(self.path, "failures", f"{raster}.txt")

    def sheet_done(self, raster: int, row: int, col: int) -> str:
        """The record of a sheet that the first half has finished."""
        return files.join(self.path, "sheets", f"{raster}_{row}_{col}.json")

    def closed_features(self, raster: int, row: int, col: int) -> str:
        """Features of a sheet that touch no seam."""
        return files.join(self.path, "closed", f"{raster}_{row}_{col}.features")

    def fragments(self, raster: int, row: int, col: int) -> str:
        """Fragments of a sheet that touch a seam."""
        return files.join(self.path, "open", f"{raster}_{row}_{col}.fragments")

    def sent_fragments(self, raster: int, sheet: tuple[int, int], home: tuple[int, int]) -> str:
        """Fragments of a sheet whose regions begin in another one, or in itself."""
        return files.join(
            self.path, "sent", f"{raster}_{sheet[0]}_{sheet[1]}_to_{home[0]}_{home[1]}.fragments"
        )

    def sieving(self, raster: int, row: int, col: int) -> str:
        """What is settled of the small regions of a sheet before its seams are known."""
        return files.join(self.path, "sieving", f"{raster}_{row}_{col}.sieve")

    def sieved(self, raster: int, row: int, col: int) -> str:
        """The label map of a sheet without small regions."""
        return files.join(self.path, "sieved", f"{raster}_{row}_{col}.labels")

    def links(self, raster: int, row: int, col: int) -> str:
        """Links of the instances of a sheet with those of tiles behind it."""
        return files.join(self.path, "links", f"{raster}_{row}_{col}.links")

    def instance_features(self, raster: int, row: int, col: int, first_row: int) -> str:
        """Features of the things that a sheet settles and that begin in a row of sheets."""
        return files.join(self.path, "things", f"{raster}_{row}_{col}_{first_row}.features")

    def patches(self, raster: int, row: int, col: int, sheet: tuple[int, int]) -> str:
        """What a sheet shows of the things that sheet (`row`, `col`) settles."""
        return files.join(self.path, "patches", f"{raster}_{row}_{col}_on_{sheet[0]}_{sheet[1]}.patches")

    def overlaps(self, raster: int, row: int, col: int) -> str:
        """The pixels of a sheet that two instances have."""
        return files.join(self.path, "overlaps", f"{raster}_{row}_{col}.overlaps")

    def painted(self, raster: int, row: int, col: int) -> str:
        """The label map of a sheet, painted from things."""
        return files.join(self.path, "painted", f"{raster}_{row}_{col}.sheet")

    def changes(self, raster: int) -> str:
        """The polygons of a raster that are not those of the run before."""
        return files.join(self.path, "changes", f"{raster}.geojsonl")

    def joined_features(self, raster: int, row: int, col: int) -> str:
        """Features across seams whose first pixel lies in a sheet."""
        return files.join(self.path, "joined", f"{raster}_{row}_{col}.features")


def remove_left_behind(output: str, work: str) -> None:
    """Remove what runs have left that are no more; earlier runs of this process are among them."""
    for left in (*files.folders(output, STAGING_PREFIX), *files.folders(files.join(work, "runs"))):
        if _is_left_behind(left, left.rpartition("/")[2].removeprefix(STAGING_PREFIX)):
            files.remove_tree(left)


def _is_left_behind(folder: str, name: str) -> bool:
    """Whether the folder of a run is nobody's: of processes elsewhere, such as in other containers, its age tells."""
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
    """A block in which it is seen from elsewhere that a run goes on."""
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
    """Where the results of a raster go."""
    return files.join(output, raster_id)


def quarantine_path(output: str) -> str:
    """Where the sheets lie that could not be segmented."""
    return files.join(output, "quarantine.geojson")


def manifest_path(output: str) -> str:
    """The record of the run."""
    return files.join(output, "manifest.json")
