"""Detect changes to the files of rasters since a run began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terraseam.pipeline.errors import RasterChangedError
from terraseam.pipeline.secrets import unsigned
from terraseam.pipeline.storage.fingerprint import FileStates, fingerprint, local_files, read_file_states

MOST_PER_SHEET = 100
"""Most files of a raster that are checked after each sheet; rasters of more are checked after all sheets."""

THEN_AGAIN = "run the same command again when it is no longer written to"


def describe_change(
    path: str, doing: str = "read", consequence: str = f"nothing of it is published: {THEN_AGAIN}"
) -> str:
    """Return a message that a raster changed during an operation, and the consequence."""
    return f"{unsigned(path)} or a file that is read with it was changed or replaced while it was {doing}; {consequence}"


@dataclass(frozen=True)
class RasterState:
    """Differences between the files of a raster now and when a run began.

    Attributes:
        changed: Whether a size or modification time differs.
        moved: Whether only inodes or status change times (ctime) differ, so that pixels may be unchanged.
    """

    changed: bool = False
    moved: bool = False


AS_IT_WAS = RasterState()


@dataclass(frozen=True)
class WatchedFiles:
    """The files of a raster, and their state when a run began.

    Attributes:
        path: Path that GDAL opens.
        files: All files that GDAL reads for it.
        fingerprint: See `terraseam.pipeline.storage.fingerprint.fingerprint`; None if unknown.
        file_states: State of the local files; None if none is local.
    """

    path: str
    files: tuple[str, ...]
    fingerprint: str | None
    file_states: FileStates | None

    @classmethod
    def now(cls, path: str, files: Iterable[str] | None) -> WatchedFiles:
        """Record the current state of a raster's files, or of `path` alone if the others are unknown."""
        paths = tuple(files or ())
        return cls(path, paths, fingerprint(path, paths), read_file_states(path, paths))

    def state(self) -> RasterState:
        """Compare all files with their current state."""
        local = self.local_state()
        return local if local.changed else RasterState(self.remote_state().changed, local.moved)

    def remote_state(self) -> RasterState:
        """Compare the files with their current state, as reported by servers, if any is remote."""
        all_here = len(local_files(self.path, self.files)) == len({*self.files, self.path})
        if self.fingerprint is None or all_here:
            return AS_IT_WAS
        now = fingerprint(self.path, self.files)
        return RasterState(changed=now is not None and now != self.fingerprint)

    def local_state(self) -> RasterState:
        """Compare the local files with their current state."""
        if self.file_states is None:
            return AS_IT_WAS
        now = read_file_states(self.path, self.files)
        if now is None or now.contents != self.file_states.contents:
            return RasterState(changed=True)
        return RasterState(moved=now.entries != self.file_states.entries)


def check_unchanged(files: Iterable[WatchedFiles], doing: str, consequence: str) -> None:
    """Raise an error if a raster changed during an operation; see `describe_change`.

    Raises:
        RasterChangedError: If one did; it names the first.
    """
    for raster in files:
        if raster.state().changed:
            raise RasterChangedError(describe_change(raster.path, doing, consequence))


def moved_notes(files: Iterable[WatchedFiles], doing: str, advice: str) -> list[str]:
    """Return a sentence for each raster that may have been replaced by one of the same size and time."""
    return [
        f"{unsigned(raster.path)} or a file that is read with it was replaced by one of the same size and time while it was "
        f"{doing}, or only its permissions or links changed; if its pixels differ, {advice}"
        for raster in files
        if raster.state().moved
    ]


def state_after_sheet(files: WatchedFiles) -> RasterState:
    """Compare the files of a raster with their state in the plan after reading a sheet, unless there are too many."""
    return AS_IT_WAS if len(files.files) > MOST_PER_SHEET else files.local_state()
