"""Whether label rasters are still those that a run began with."""

from __future__ import annotations

from collections.abc import Iterable

from terraseam.pipeline.errors import RasterChangedError
from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.storage.fingerprint import look_at
from terraseam.pipeline.storage.servers import at_once
from terraseam.pipeline.storage.watched_files import WatchedFiles, describe_change
from terraseam.pipeline.vectorize.label_rasters import RasterLabels, RasterSheet
from terraseam.pipeline.vectorize.stage import VectorRecord, content_key, read_sheet
from terraseam.pipeline.vectorize.trace_cache import TraceCache
from terraseam.tiles.raster.source import RasterReadError


class LabelWatch:
    """Looks at the files of a label raster again when all of its sheets have been read.

    Args:
        plan: What is made of the rasters.
        labels: Reads them.
        made: Names what is made of sheets.
        fail: Whether the run ends with a raster that has changed.
    """

    def __init__(self, plan: PolygonPlan, labels: RasterLabels, made: TraceCache, *, fail: bool) -> None:
        self._plan = plan
        self._labels = labels
        self._made = made
        self._fail = fail
        found = at_once(
            lambda raster: WatchedFiles.now(raster.path, raster.files),
            plan.rasters,
            [raster.path for raster in plan.rasters],
        )
        self._watched = tuple(found)

    def __call__(self, raster: int, sheets: Iterable[VectorRecord]) -> str:
        """Say why nothing of a raster may be published; nothing where it is the one that the run began with.

        Raises:
            RasterChangedError: If it is another one, and the run ends with that.
        """
        watched = self._watched[raster]
        state = watched.state()
        if not state.changed and not (state.moved and self._other_labels(watched, sheets)):
            return ""
        if self._fail:
            raise RasterChangedError(describe_change(watched.path))
        return describe_change(watched.path)

    def _other_labels(self, watched: WatchedFiles, sheets: Iterable[VectorRecord]) -> bool:
        """Whether any sheet has other labels than those that were traced: all are read again."""
        before = look_at(watched.path, watched.files)
        for sheet in sheets:
            again = RasterSheet(sheet.place, self._plan.sheet_window(*sheet.place))
            try:
                found = content_key(self._made, again, *read_sheet(self._labels, again, self._plan))
            except RasterReadError:
                return True
            if found != sheet.content:
                return True
        return look_at(watched.path, watched.files) != before
