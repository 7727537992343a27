"""What the files of rasters are like against what they were when a run began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terraseam.pipeline.errors import RasterChangedError
from terraseam.pipeline.secrets import unsigned
from terraseam.pipeline.storage.fingerprint import FileStates, fingerprint, local_files, look_at

MOST_PER_SHEET = 100
"""Files of a raster that are looked at after each sheet; of more, once all sheets have been read."""

THEN_AGAIN = "run the same command again when it is no longer written to"


def describe_change(
    path: str, doing: str = "read", consequence: str = f"nothing of it is published: {THEN_AGAIN}"
) -> str:
    """Say that a raster was changed while something was done with it, and what comes of that."""
    return f"{unsigned(path)} or a file that is read with it was changed or replaced while it was {doing}; {consequence}"


@dataclass(frozen=True)
class RasterState:
    """What the files of a raster are against what they were.

    Attributes:
        changed: Whether a size or a time of change is another one.
        moved: Whether inodes or times of status alone are others, so that pixels may be as they were.
    """

    changed: bool = False
    moved: bool = False


AS_IT_WAS = RasterState()


@dataclass(frozen=True)
class WatchedFiles:
    """The files of a raster, and what they were like when a run began.

    Attributes:
        path: What GDAL opens.
        files: All files that GDAL reads for it.
        fingerprint: See `terraseam.pipeline.storage.fingerprint.fingerprint`; None where it is not known.
        seen: What the local ones were like; None where none is local.
    """

    path: str
    files: tuple[str, ...]
    fingerprint: str | None
    seen: FileStates | None

    @classmethod
    def now(cls, path: str, files: Iterable[str] | None) -> WatchedFiles:
        """Look at the files of a raster, or at the one of its name where others are not known."""
        found = tuple(files or ())
        return cls(path, found, fingerprint(path, found), look_at(path, found))

    def state(self) -> RasterState:
        """Compare all of them with what they are now."""
        local = self.local_state()
        return local if local.changed else RasterState(self.remote_state().changed, local.moved)

    def remote_state(self) -> RasterState:
        """Compare them with what they are now where some are on servers, by what servers say of them."""
        all_here = len(local_files(self.path, self.files)) == len({*self.files, self.path})
        if self.fingerprint is None or all_here:
            return AS_IT_WAS
        now = fingerprint(self.path, self.files)
        return RasterState(changed=now is not None and now != self.fingerprint)

    def local_state(self) -> RasterState:
        """Compare those on this machine with what they are now."""
        if self.seen is None:
            return AS_IT_WAS
        now = look_at(self.path, self.files)
        if now is None or now.contents != self.seen.contents:
            return RasterState(changed=True)
        return RasterState(moved=now.entries != self.seen.entries)


def check_unchanged(files: Iterable[WatchedFiles], doing: str, consequence: str) -> None:
    """Raise an error if a raster was changed while something was done with it; see `describe_change`.

    Raises:
        RasterChangedError: If so; it names the first.
    """
    for one in files:
        if one.state().changed:
            raise RasterChangedError(describe_change(one.path, doing, consequence))


def moved_notes(files: Iterable[WatchedFiles], doing: str, advice: str) -> list[str]:
    """Say which rasters may have been replaced by others of the same size and time, a sentence each."""
    return [
        f"{unsigned(one.path)} or a file that is read with it was replaced by one of the same size and time while it was "
        f"{doing}, or its permissions or links alone changed; if its pixels are others, {advice}"
        for one in files
        if one.state().moved
    ]


def state_after_sheet(files: WatchedFiles) -> RasterState:
    """Compare the files of a raster with those of the plan after a sheet was read, unless they are too many."""
    return AS_IT_WAS if len(files.files) > MOST_PER_SHEET else files.local_state()
