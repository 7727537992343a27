"""Ground truth of a raster from another raster of labels, in any CRS and grid."""

from __future__ import annotations

import functools
import math
import threading
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import rasterio
import shapely
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.access.open_files import close, keep_open
from terraseam.tiles.access.sidecars import SidecarError
from terraseam.tiles.access.sources import SourcesError
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import crs_advice
from terraseam.tiles.raster.opening import all_files, open_raster
from terraseam.tiles.raster.source import damaged, measured_samples
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import IGNORED, nearest, on_ground
from terraseam.tiles.vectors.area import TrustedArea
from terraseam.tiles.vectors.placing import footprint, polygons_to_pixels

_WARP_TOLERANCE_PX = 0.01
_SAME_GRID_PX = 1e-3
_LOOK_AT_MOST = 2048
_KEPT_PLACES = 4096


class LabelRasterError(ValueError):
    """Raised when a raster of labels cannot be used; the message is one sentence with the reason."""


class RasterTruth:
    """A raster of labels, resampled to the grid of another raster.

    Where CRS or grid differ, each pixel of the raster has the label of the nearest pixel of the label raster; each
    pixel of a view has that of the raster's pixel that contains its centre. A label raster without georeferencing,
    such as a PNG, is matched pixel by pixel to a raster of the same shape.

    Args:
        path: The raster of labels; its first band is read.
        georef: The raster that the labels describe.
        values: Value of each label in the file, label 0 first; pixels of other values are ignored, as are nodata
            pixels and those that the label raster does not cover.
        background: Label of the background, which chips are not centred on; None if there is none.
        known: The file itself and its existing sidecars on its server; None if unknown.
        area: Area in which chips are centred on labels; None for everywhere.

    Attributes:
        files: All files that GDAL reads for it.

    Raises:
        LabelRasterError: If the file cannot be read or does not overlap the raster.
    """

    def __init__(
        self,
        path: str,
        georef: Georef,
        values: Sequence[int],
        background: int | None = None,
        *,
        known: tuple[str, ...] | None = None,
        area: TrustedArea | None = None,
    ) -> None:
        if len(values) != len(set(values)) or not 0 < len(values) <= IGNORED:
            raise ValueError(f"labels have 1 to {IGNORED} values, all different, got {tuple(values)}")
        self.path, self.georef, self.background = path, georef, background
        self.values = tuple(int(value) for value in values)
        self.known, self.area = known, area
        self._order = np.argsort(self.values)
        self._sorted = np.asarray(self.values)[self._order]
        self._local = threading.local()
        self._places: list[np.ndarray] | None = None
        self.files: tuple[str, ...] = ()
        try:
            self._dataset()
        except (SourcesError, SidecarError) as error:
            raise LabelRasterError(str(error)) from error
        except rasterio.errors.RasterioError as error:
            raise LabelRasterError(f"{path} is not a raster that GDAL can open") from error

    def __reduce__(self) -> tuple[Any, ...]:
        again = functools.partial(RasterTruth, known=self.known, area=self.area)
        return again, (self.path, self.georef, self.values, self.background)

    def labels(self, view: View) -> np.ndarray:
        """Return the labels of a view, uint8 ``(height, width)``; 255 where there is none.

        Raises:
            RasterReadError: If the file cannot be read there.
        """
        return nearest(view, self.georef, self._read)

    def counts(self) -> np.ndarray:
        """Return the number of sampled positions of each label but the background, int64 ``(labels,)``."""
        return np.array([len(places) for places in self._known_places()], np.int64)

    def place(self, label: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` of the raster, in the area, that has a label.

        Raises:
            ValueError: If no pixel has it.
        """
        places = self._known_places()[label]
        if not len(places):
            raise ValueError(f"{self.path} has no pixel of the label {label}")
        row, col = places[rng.integers(len(places))]
        return float(row), float(col)

    def _known_places(self) -> list[np.ndarray]:
        """Return pixel centres of each label, sampled on a grid of at most 2048 px and thinned evenly to 4096."""
        if self._places is None:
            window = self._bounds()
            step = max(1.0, max(window.shape) / _LOOK_AT_MOST)
            size = max(1, int(window.height / step)), max(1, int(window.width / step))
            view = View(
                window.row_off, window.col_off, window.height / size[0], window.width / size[1], *size
            )
            labels = self._striped(view)
            self._places = [
                np.zeros((0, 2)) if label == self.background else _thinned(labels == label, view)
                for label in range(len(self.values))
            ]
        return self._places

    def _bounds(self) -> Window:
        """Return the window of the raster around its area."""
        raster = Window(0, 0, self.georef.height, self.georef.width)
        parts = None if self.area is None else self.area.parts_on(self.georef)
        if parts is None or not len(parts):
            return raster
        left, top, right, bottom = shapely.total_bounds(parts)
        row, col = math.floor(top), math.floor(left)
        return Window(row, col, math.ceil(bottom) - row, math.ceil(right) - col)

    def _striped(self, view: View) -> np.ndarray:
        """Return the labels of a large view, on the Earth and in the area, read in stripes of bounded height."""
        high = max(1, int(_LOOK_AT_MOST / view.row_step / 4))
        stripes = [
            View(
                view.row + first * view.row_step,
                view.col,
                view.row_step,
                view.col_step,
                min(high, view.height - first),
                view.width,
            )
            for first in range(0, view.height, high)
        ]
        return np.concatenate(
            [np.where(self._trusted(stripe), self.labels(stripe), IGNORED) for stripe in stripes]
        )

    def _trusted(self, view: View) -> np.ndarray:
        """Return whether each pixel of a view is on the Earth and in the area, bool ``(height, width)``."""
        on = on_ground(view, self.georef)
        return on if self.area is None else on & self.area.inside(view)

    def _read(self, window: Window) -> np.ndarray:
        """Read the labels of a window of the raster, uint8."""
        values, known = self.read_values(window)
        place = np.minimum(np.searchsorted(self._sorted, values), len(self._sorted) - 1)
        named = known & (self._sorted[place] == values)
        return np.where(named, self._order[place], IGNORED).astype(np.uint8)

    def read_values(self, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read the file's values in a window of the raster, and which are finite and neither nodata nor masked, bool.

        Raises:
            RasterReadError: If the file cannot be read there.
        """
        where = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            dataset = self._dataset()
            self._verify_warped()
            with self._local.sources.reading():
                values = dataset.read(1, window=where)
                known = measured_samples(dataset, (1,), where, values[..., None])
        except SourcesError:
            raise
        except (rasterio.errors.RasterioError, SidecarError) as error:
            close(self)
            raise damaged(self.path, window, error) from error
        return values, np.ones(values.shape, bool) if known is None else known[..., 0]

    def _verify_warped(self) -> None:
        """Verify all of a label raster of another grid: only GDAL knows which of its blocks a window needs."""
        source = getattr(self._local, "warped", None)
        if source is not None:
            source.verify_all()
            self._local.warped = None

    def _dataset(self) -> Any:
        """Return the label raster on the grid of the raster, opened once per thread."""
        if getattr(self._local, "dataset", None) is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                source = open_raster(self.path, known=self.known, sharing=False)
                self._local.sources = source.sources
                self.files = self.files or tuple(
                    sorted(all_files(self.path, source, self.known, source.sources))
                )
                return keep_open(self, self._on_grid(source))
        return self._local.dataset

    def _on_grid(self, source: Any) -> Any:
        georef, shape = self.georef, (self.georef.height, self.georef.width)
        if source.crs is None and source.transform.is_identity:
            if source.shape == shape:
                return source
            raise LabelRasterError(
                f"{self.path} has neither CRS nor geotransform and {source.height} x {source.width} px, not the "
                f"{georef.height} x {georef.width} px of its image; georeference it like the image"
            )
        if source.crs is None:
            raise LabelRasterError(f"{self.path} has no CRS; {crs_advice()}")
        if lies_on(source, georef):
            return source
        other = Georef(source.crs.to_wkt(), tuple(source.transform)[:6], *source.shape)
        if not len(polygons_to_pixels(footprint(self.path, other), georef).polygons):
            raise LabelRasterError(
                f"{self.path} does not overlap its raster; check the CRS and the geotransform of both"
            )
        self._local.warped = source
        return WarpedVRT(
            source.dataset,
            crs=georef.crs,
            transform=rasterio.Affine(*georef.transform),
            height=georef.height,
            width=georef.width,
            resampling=Resampling.nearest,
            tolerance=_WARP_TOLERANCE_PX,
            add_alpha=source.nodata is None and ColorInterp.alpha not in source.colorinterp,
        )


def lies_on(dataset: Any, georef: Georef) -> bool:
    """Check whether an open raster has a given grid: shape, CRS, and corners to a thousandth of a pixel."""
    if dataset.shape != (georef.height, georef.width) or dataset.crs is None:
        return False
    if dataset.crs != rasterio.CRS.from_user_input(georef.crs):
        return False
    other = Georef(georef.crs, tuple(dataset.transform)[:6], *dataset.shape)
    corners = np.array([[0, 0], [other.width, 0], [0, other.height], [other.width, other.height]], float)
    return bool(np.abs(georef.to_pixels(other.to_map(corners)) - corners).max() < _SAME_GRID_PX)


def _thinned(chosen: np.ndarray, view: View) -> np.ndarray:
    rows, cols = np.nonzero(chosen)
    indices = np.linspace(0, len(rows) - 1, min(len(rows), _KEPT_PLACES)).astype(np.int64)
    return np.stack([view.rows[rows[indices]], view.cols[cols[indices]]], axis=1)
