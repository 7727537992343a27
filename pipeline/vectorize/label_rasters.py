"""Read label rasters as sheets to be vectorized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.plan.polygons import LabelledRaster, PolygonPlan
from terraseam.pipeline.segment.failures import describe_error, is_unreadable
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.retries import GaveUpError, with_retries
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.labels.label_raster import LabelRaster
from terraseam.tiles.labels.stitch import NODATA


@dataclass(frozen=True)
class RasterSheet:
    """A sheet of a label raster.

    Attributes:
        place: Raster, and row and column of the sheet.
        window: Its pixels.
    """

    place: tuple[int, int, int]
    window: Window
    record: None = None
    counts: None = None


def raster_sheets(raster: int, plan: PolygonPlan) -> Iterator[RasterSheet]:
    """Yield the sheets of a raster that are to be processed."""
    lattice = plan.lattice(raster)
    return (
        RasterSheet((raster, row, col), lattice.sheet_window(row, col)) for row, col in plan.sheets(raster)
    )


class RasterLabels:
    """The label rasters of a plan; it pickles as their paths.

    Args:
        rasters: The rasters.
        allowed: Patterns of servers that they may refer to.
        verify: Whether to verify checksums of blocks.
        folder: Folder in which to record that a raster cannot be read, and read it as nodata; None to fail instead.
    """

    def __init__(
        self,
        rasters: Sequence[LabelledRaster],
        allowed: tuple[str, ...],
        verify: bool = True,
        folder: RunFolder | None = None,
    ) -> None:
        self._allowed, self._verify = allowed, verify
        self._rasters = [LabelRaster(raster.path, raster.files) for raster in rasters]
        self._folder = folder
        self._failed: set[int] = set()

    def read(self, sheet: RasterSheet, depth: int) -> CodedLabels:
        """Read the labels of a sheet and of `depth` pixels around it; nodata if the raster cannot be read.

        Raises:
            RasterReadError: If it cannot be read, and the run is to fail then.
        """
        allow_sources(self._allowed)
        verify_blocks(self._verify)
        window = sheet.window
        around = Window(
            window.row_off - depth,
            window.col_off - depth,
            window.height + 2 * depth,
            window.width + 2 * depth,
        )
        number = sheet.place[0]
        if number not in self._failed:
            try:
                with ACTIVITY.operation():
                    return with_retries(lambda: self._rasters[number].read(around), is_unreadable)[0]
            except GaveUpError as failure:
                cause = failure.__cause__ or failure
                if self._folder is None:
                    raise cause from failure
                files.write_bytes(self._folder.failure(number), describe_error(cause).encode())
                self._failed.add(number)
        return CodedLabels.plain(np.full(around.shape, NODATA, np.uint8))

    def scores(self, sheet: RasterSheet) -> np.ndarray:
        """Return scores of 0, uint8: label rasters have none."""
        return np.zeros(sheet.window.shape, np.uint8)

    def off_earth(self, sheet: RasterSheet) -> int:  # noqa: ARG002 - required by `LabelSource`
        """Return 0: pixels are published unchanged."""
        return 0
