"""Whether a raster is still the one that a run began with: what is read of two is a mixture of both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.fingerprint import FilesSeen, fingerprint, local_files, look_at
from pipeline.keys import recipe_digest, sheet_key
from pipeline.known_sheets import KnownSheets
from pipeline.plan import Plan, RasterPlan
from pipeline.sheets import SheetRecord
from pipeline.signatures import unsigned
from pipeline.troubles import RasterChangedError
from pipeline.vectorize import VectorRecord
from tiles.checksums.dataset import verify_blocks
from tiles.source import RasterReadError, RasterSource
from tiles.sources import allow_sources
from tiles.stitch import stitch_ring

MOST_PER_SHEET = 1000
"""Files of a raster that are looked at after each sheet; of more, once all sheets have been read."""


def changed_words(path: str) -> str:
    """Say that a raster was changed."""
    return (
        f"{unsigned(path)} or a file that is read with it was changed or replaced while it was read; nothing of it is "
        "published: run the same command again when it is no longer written to"
    )


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


def state_of(path: str, files: Iterable[str], seen: FilesSeen | None) -> RasterState:
    """Compare the local files of a raster with what was seen of them; see `pipeline.fingerprint.look_at`."""
    if seen is None:
        return AS_IT_WAS
    now = look_at(path, tuple(files))
    if now is None or now.contents != seen.contents:
        return RasterState(changed=True)
    return RasterState(moved=now.entries != seen.entries)


def state_after_sheet(planned: RasterPlan) -> RasterState:
    """Compare the files of a raster with those of the plan after a sheet was read, unless they are too many."""
    if len(planned.files) > MOST_PER_SHEET:
        return AS_IT_WAS
    return state_of(planned.path, planned.files, planned.seen)


class RasterWatch:
    """Looks at the files of a raster again when all of its sheets have been read.

    Args:
        plan: The run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __call__(self, raster: int, sheets: Iterable[VectorRecord]) -> str:
        """Say why nothing of a raster may be published; nothing where it is the one that the run began with.

        Raises:
            RasterChangedError: If it is another one, and the run ends with that.
        """
        records = [sheet.segmented for sheet in sheets]
        planned = self._plan.rasters[raster]
        if not any(record.changed for record in records):
            state = self._state(planned)
            moved = state.moved or any(record.moved for record in records)
            if not state.changed and not (moved and self._other_pixels(raster, records)):
                return ""
        for profile in {str(record.profile): record.profile for record in records}.values():
            KnownSheets(self._plan, raster, self._recipe(profile)).forget()
        if self._plan.options.on_error == "fail":
            raise RasterChangedError(changed_words(planned.path))
        return changed_words(planned.path)

    def _state(self, planned: RasterPlan) -> RasterState:
        """What is not looked at after each sheet: files on servers, and very many files."""
        if planned.fingerprint is not None and len(local_files(planned.path, planned.files)) < len(
            planned.files
        ):
            now = fingerprint(planned.path, planned.files)
            return RasterState(changed=now is not None and now != planned.fingerprint)
        if len(planned.files) > MOST_PER_SHEET:
            return state_of(planned.path, planned.files, planned.seen)
        return AS_IT_WAS

    def _other_pixels(self, raster: int, records: Iterable[SheetRecord]) -> bool:
        """Whether any sheet has other pixels than those that its labels are of: all are read again."""
        plan, planned, lattice = self._plan, self._plan.rasters[raster], self._plan.lattice(raster)
        allow_sources(plan.options.allow_sources)
        verify_blocks(plan.options.verify)
        before = look_at(planned.path, planned.files)
        source = RasterSource(
            planned.path, planned.bands, plan.card.fill, planned.regrid, files=planned.files or None
        )
        for record in records:
            if record.failure:
                continue
            window = lattice.sheet_read_window(record.row, record.col, stitch_ring(plan.stitch))
            try:
                chip = source.read(window)
            except RasterReadError:
                return True
            placed = plan.card.task == "instances"
            place = record.row, record.col
            key = sheet_key(self._recipe(record.profile), chip, lattice, place, plan.stitch, placed=placed)
            if key != record.key:
                return True
        return look_at(planned.path, planned.files) != before

    def _recipe(self, profile: dict[str, object]) -> str:
        plan = self._plan
        return recipe_digest(plan.score_fields(), profile, plan.core, plan.halo, plan.stitch)
