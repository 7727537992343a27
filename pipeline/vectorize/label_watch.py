"""Check that label rasters have not changed since a run began."""

from __future__ import annotations

from collections.abc import Iterable

from terraseam.pipeline.errors import RasterChangedError
from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.storage.fingerprint import read_file_states
from terraseam.pipeline.storage.servers import at_once
from terraseam.pipeline.storage.watched_files import WatchedFiles, describe_change
from terraseam.pipeline.vectorize.label_rasters import RasterLabels, RasterSheet
from terraseam.pipeline.vectorize.stage import VectorRecord, content_key, read_sheet
from terraseam.pipeline.vectorize.trace_cache import TraceCache
from terraseam.tiles.raster.source import RasterReadError


class LabelWatch:
    """A check of a label raster's files after all of its sheets have been read.

    Args:
        plan: The polygons to be made of the rasters.
        labels: Reader of the rasters.
        made: Trace cache, which computes the content keys of sheets.
        fail: Whether the run fails if a raster has changed.
    """

    def __init__(
        self, plan: PolygonPlan, labels: RasterLabels, trace_cache: TraceCache, *, fail: bool
    ) -> None:
        self._plan = plan
        self._labels = labels
        self._trace_cache = trace_cache
        self._fail = fail
        watched = at_once(
            lambda raster: WatchedFiles.now(raster.path, raster.files),
            plan.rasters,
            [raster.path for raster in plan.rasters],
        )
        self._watched = tuple(watched)

    def __call__(self, raster: int, sheets: Iterable[VectorRecord]) -> str:
        """Return why a raster's results may not be published; empty if it is unchanged.

        Raises:
            RasterChangedError: If it has changed, and the run is to fail then.
        """
        watched = self._watched[raster]
        state = watched.state()
        if not state.changed and not (state.moved and self._other_labels(watched, sheets)):
            return ""
        if self._fail:
            raise RasterChangedError(describe_change(watched.path))
        return describe_change(watched.path)

    def _other_labels(self, watched: WatchedFiles, sheets: Iterable[VectorRecord]) -> bool:
        """Read all sheets again, and return whether any has other labels than those that were traced."""
        before = read_file_states(watched.path, watched.files)
        for sheet in sheets:
            again = RasterSheet(sheet.place, self._plan.sheet_window(*sheet.place))
            try:
                content = content_key(self._trace_cache, again, *read_sheet(self._labels, again, self._plan))
            except RasterReadError:
                return True
            if content != sheet.content:
                return True
        return read_file_states(watched.path, watched.files) != before
