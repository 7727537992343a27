"""Read windows of a raster: pixels and their validity."""

from __future__ import annotations

import functools
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.access.gate import refusal
from terraseam.tiles.access.open_files import close, keep_open
from terraseam.tiles.access.sidecars import SidecarError
from terraseam.tiles.checksums.dataset import DamagedBlockError
from terraseam.tiles.grid.block_reads import Samples, read_samples
from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.opening import is_local, open_raster
from terraseam.tiles.raster.regrid import Regrid


class RasterReadError(RuntimeError):
    """Raised when a window of a raster cannot be read."""


def damaged(path: str, window: Window, error: Exception) -> RasterReadError:
    """Return an error that says which window of a raster cannot be read, and what to do."""
    cause = str(error.__cause__ or error).rstrip(".")
    if redirected := refusal(path):
        return RasterReadError(f"{path} cannot be read at {window}: {redirected}")
    if isinstance(error, DamagedBlockError):
        return RasterReadError(
            f"{path} cannot be read at {window} ({cause}); the file is truncated or damaged: copy it again, or "
            "pass --no-verify to read it as it is"
        )
    if not is_local(path):
        return RasterReadError(
            f"{path} cannot be read at {window} ({cause}); its server does not respond as it should, or the file is damaged"
        )
    return RasterReadError(
        f"{path} cannot be read at {window} ({cause}); the file is truncated or damaged: copy it again, or repair it "
        "with gdal_translate"
    )


@dataclass(frozen=True, slots=True)
class Chip:
    """The pixels of one read window.

    Attributes:
        window: The window; beyond the raster's edges pixels are mirrored.
        pixels: Shape ``(height, width, bands)``, in the raster's type, or float32 on another grid; samples that are
            not valid hold the fill value.
        valid: Shape ``(height, width)``; True where at least one band is valid.
    """

    window: Window
    pixels: np.ndarray
    valid: np.ndarray

    def cut(self, window: Window) -> np.ndarray:
        """Return the pixels of a smaller window, as a view of shape ``(height, width, bands)``."""
        return self.pixels[window.within(self.window)]


class RasterSource:
    """A raster to read windows from; it pickles as its path, bands and fill values.

    Every thread keeps its own dataset open, so that GDAL's block cache survives between windows; if there are many
    rasters, only the last ones, see `terraseam.tiles.access.open_files`.

    Args:
        path: Path or URL that GDAL opens.
        bands: Bands to read, numbered from 1, in this order.
        fill: One value per band, in the raster's units, for samples that are not valid.
        regrid: The grid of the windows; None for the raster's own.
        files: All files that are read for it, as found when it was inspected; None if it was not.
    """

    def __init__(
        self,
        path: str,
        bands: tuple[int, ...],
        fill: tuple[float, ...],
        regrid: Regrid | None = None,
        *,
        files: tuple[str, ...] | None = None,
    ) -> None:
        if len(fill) != len(bands):
            raise ValueError(f"{len(bands)} bands need as many fill values, got {len(fill)}")
        self.path = path
        self.bands = bands
        self.fill = fill
        self.regrid = regrid
        self.files = files
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        again = functools.partial(RasterSource, files=self.files)
        return again, (self.path, self.bands, self.fill, self.regrid)

    def read(self, window: Window) -> Chip:
        """Read a window, mirrored where it extends beyond the raster's edges.

        Raises:
            RasterReadError: If the raster cannot be read there; the message names raster and window.
        """
        try:
            dataset = self._dataset()
            height, width = self._shape(dataset)
            rows = mirror_index(window.row_off, window.row_end, height)
            cols = mirror_index(window.col_off, window.col_end, width)
            row0, col0 = int(rows.min()), int(cols.min())
            inner = Window(row0, col0, int(rows.max()) + 1 - row0, int(cols.max()) + 1 - col0)
            pixels, valid = self._read_inside(dataset, inner)
        except (rasterio.errors.RasterioError, SidecarError) as error:
            close(self)
            raise damaged(self.path, window, error) from error
        if inner != window:
            index = np.ix_(rows - row0, cols - col0)
            pixels, valid = pixels[index], valid[index]
        return Chip(window, pixels, valid)

    def _dataset(self) -> Any:
        if getattr(self._local, "dataset", None) is None:
            return keep_open(self, open_raster(self.path, files=self.files, sharing=False))
        return self._local.dataset

    def _shape(self, dataset: Any) -> tuple[int, int]:
        return (self.regrid.new.height, self.regrid.new.width) if self.regrid else dataset.shape

    def _read_inside(self, dataset: Any, window: Window) -> tuple[np.ndarray, np.ndarray]:
        """Read pixels ``(height, width, bands)`` and validity ``(height, width)`` of a window inside the grid."""

        def samples(inside: Window) -> Samples:
            return read_samples(dataset, inside, some)

        def some(inside: Window) -> Samples:
            where = RasterioWindow(inside.col_off, inside.row_off, inside.width, inside.height)
            pixels = np.empty((*inside.shape, len(self.bands)), dataset.dtypes[self.bands[0] - 1])
            # Interleaving bands while GDAL reads is faster than doing so afterwards.
            dataset.read(self.bands, window=where, out=np.moveaxis(pixels, -1, 0))
            return pixels, measured_samples(dataset, self.bands, where, pixels)

        pixels, measured = self.regrid.read(window, samples) if self.regrid else samples(window)
        if measured is None:
            return pixels, np.ones(window.shape, bool)
        for band, value in enumerate(self.fill):
            pixels[..., band][~measured[..., band]] = as_sample(value, pixels.dtype)
        return pixels, np.asarray(measured.any(axis=-1))


def as_sample(value: float, dtype: np.dtype) -> np.generic:
    """Convert a value to a raster's sample type: integers are rounded and clipped to its range."""
    if dtype.kind == "f":
        return dtype.type(value)
    limits = np.iinfo(dtype)
    return dtype.type(min(max(round(value), limits.min), limits.max))


def measured_samples(
    dataset: Any, bands: tuple[int, ...], where: Any, pixels: np.ndarray
) -> np.ndarray | None:
    """Return whether each sample is valid: not nodata, not masked, not transparent, and finite.

    Args:
        dataset: The open raster.
        bands: Bands that were read, numbered from 1.
        where: Window of ``rasterio`` that was read.
        pixels: What was read, ``(height, width, bands)``; smaller than the window if it was reduced.

    Returns:
        Bool of the shape of `pixels`, or None if all samples are valid.
    """
    flags = {flag for band in bands for flag in dataset.mask_flag_enums[band - 1]}
    alphas = [b for b in range(1, dataset.count + 1) if dataset.colorinterp[b - 1] == ColorInterp.alpha]
    # An alpha band that is read as data, such as infrared that GDAL takes for alpha, is not used as a mask.
    as_data = bool(set(alphas) & set(bands))
    measured = None
    shape = pixels.shape[:2]
    masks, alpha = (
        ({"out_shape": (len(bands), *shape)}, {"out_shape": shape})
        if shape != (where.height, where.width)
        else ({}, {})
    )
    if flags != {MaskFlags.all_valid} and not (as_data and MaskFlags.alpha in flags):
        measured = np.moveaxis(dataset.read_masks(bands, window=where, **masks) > 0, 0, -1)
    if alphas and not as_data and MaskFlags.alpha not in flags:
        opaque = (dataset.read(alphas[-1], window=where, **alpha) > 0)[..., None]
        measured = opaque.repeat(len(bands), -1) if measured is None else measured & opaque
    return _finite_samples(pixels, measured)


def _finite_samples(pixels: np.ndarray, measured: np.ndarray | None) -> np.ndarray | None:
    """Return the valid samples that are finite; None if all samples are."""
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        measured = finite if measured is None else measured & finite
    return None if measured is None or measured.all() else measured
