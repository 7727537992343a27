"""Check that rasters do not change during a run, which would mix the pixels of two versions."""

from __future__ import annotations

from collections.abc import Iterable

from terraseam.pipeline.errors import RasterChangedError
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.rasters import watched
from terraseam.pipeline.segment.content_keys import recipe_digest, sheet_key
from terraseam.pipeline.segment.known_sheets import KnownSheets
from terraseam.pipeline.segment.sheets import SheetRecord
from terraseam.pipeline.storage.fingerprint import read_file_states
from terraseam.pipeline.storage.watched_files import MOST_PER_SHEET, describe_change
from terraseam.pipeline.vectorize.stage import VectorRecord
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.labels.stitch import stitch_ring
from terraseam.tiles.raster.source import RasterReadError, RasterSource


class RasterWatch:
    """A check of a raster's files for changes, made when all of its sheets have been read.

    Args:
        plan: The plan of the run.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __call__(self, raster: int, sheets: Iterable[VectorRecord]) -> str:
        """Return why a raster may not be published, or an empty string if it is unchanged since the run began.

        Raises:
            RasterChangedError: If it has changed, and ``--on-error fail`` is set.
        """
        records = [sheet.segmented for sheet in sheets]
        planned = self._plan.rasters[raster]
        if not any(record.changed for record in records):
            files = watched(planned)
            checked_by_sheets = len(planned.files) <= MOST_PER_SHEET
            state = files.remote_state() if checked_by_sheets else files.state()
            moved = state.moved or any(record.moved for record in records)
            if not state.changed and not (moved and self._other_pixels(raster, records)):
                return ""
        for profile in {str(record.profile): record.profile for record in records}.values():
            KnownSheets(self._plan, raster, self._recipe(profile)).forget()
        if self._plan.options.on_error == "fail":
            raise RasterChangedError(describe_change(planned.path))
        return describe_change(planned.path)

    def _other_pixels(self, raster: int, records: Iterable[SheetRecord]) -> bool:
        """Return whether any sheet no longer has the pixels its labels were inferred from; reads all sheets again."""
        plan, planned, lattice = self._plan, self._plan.rasters[raster], self._plan.lattice(raster)
        allow_sources(plan.options.allow_sources)
        verify_blocks(plan.options.verify)
        before = read_file_states(planned.path, planned.files)
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
            with_position = plan.card.task == "instances"
            place = record.row, record.col
            key = sheet_key(
                self._recipe(record.profile), chip, lattice, place, plan.stitch, with_position=with_position
            )
            if key != record.key:
                return True
        return read_file_states(planned.path, planned.files) != before

    def _recipe(self, profile: dict[str, object]) -> str:
        plan = self._plan
        return recipe_digest(plan.score_fields, profile, plan.core, plan.halo, plan.stitch, plan.cut)
