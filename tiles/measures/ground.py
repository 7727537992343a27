"""Read imagery in any CRS and grid as the background of an image of errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT

from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.picture import Colour, as_rgb
from terraseam.tiles.raster.source import damaged, measured_samples
from terraseam.tiles.truth.label_raster import lies_on


def read_ground(image: str, georef: Georef, shape: tuple[int, int], paper: Colour) -> np.ndarray:
    """Read a raster as a background image on the grid of another one.

    Args:
        image: The raster.
        georef: The raster whose area is shown.
        shape: Height and width of the output, in pixels.
        paper: Colour of pixels that the image does not cover.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        RasterReadError: If the image cannot be read.
    """
    with open_raster(image) as dataset:
        colours = [band for band, kind in enumerate(dataset.colorinterp, 1) if kind != ColorInterp.alpha]
        bands = colours[:3] or [1]
        try:
            if lies_on(dataset, georef):
                return as_rgb(np.moveaxis(dataset.read(bands, out_shape=(len(bands), *shape)), 0, -1))
            return _warped(dataset, bands, _reduced(georef, shape), paper)
        except rasterio.errors.RasterioError as error:
            raise damaged(image, Window(0, 0, *dataset.shape), error) from error


def _reduced(georef: Georef, shape: tuple[int, int]) -> Georef:
    """Return the grid of a raster resampled to `shape` pixels."""
    a, b, c, d, e, f = georef.transform
    height, width = shape
    down, across = georef.height / height, georef.width / width
    return Georef(georef.crs, (a * across, b * down, c, d * across, e * down, f), height, width)


def _warped(dataset: Any, bands: list[int], grid: Georef, paper: Colour) -> np.ndarray:
    dataset.verify_all()  # Only GDAL knows which of its blocks are read.
    with (
        dataset.reading(),
        WarpedVRT(
            dataset.dataset,
            crs=grid.crs,
            transform=rasterio.Affine(*grid.transform),
            height=grid.height,
            width=grid.width,
            resampling=Resampling.average,
            add_alpha=dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp,
        ) as warped,
    ):
        pixels = np.moveaxis(warped.read(bands), 0, -1)
        whole = rasterio.windows.Window(0, 0, grid.width, grid.height)
        measured = measured_samples(warped, tuple(bands), whole, pixels)
    reached = np.ones(pixels.shape[:2], bool) if measured is None else np.asarray(measured.any(axis=-1))
    if pixels.dtype != np.uint8:
        pixels = np.where(reached[..., None], pixels, np.nan).astype(np.float32)
    picture = as_rgb(pixels)
    picture[~reached] = paper
    return picture
