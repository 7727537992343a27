"""Map raster values to 0 to 255, the range that networks are trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import rasterio
from rasterio.enums import Resampling

from terraseam.models.bundle.values import Scaling
from terraseam.pipeline.training.labelled import Labelled
from terraseam.tiles.raster.inspect import RasterInfo
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.source import measured_samples
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import on_ground

WHITE = 255.0
MIDDLE = 127.5
SAMPLE = 512
"""Side of the downsampled raster that percentiles are measured on, in pixels."""
PERCENTILES = (1, 99)


@dataclass(frozen=True, slots=True)
class Values:
    """Linear maps from raster values to 0 to 255, one per band.

    Attributes:
        low: Raster value that maps to 0.
        high: Raster value that maps to 255.
        whole: Whether raster values are integers.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]
    whole: bool

    def to_bytes(self, pixels: np.ndarray) -> np.ndarray:
        """Map pixels of shape ``(..., bands)`` to float32; a few results lie outside 0 to 255."""
        low, high = (np.asarray(ends, np.float32) for ends in (self.low, self.high))
        return ((pixels - low) * (WHITE / (high - low))).astype(np.float32)

    @property
    def fill(self) -> tuple[float, ...]:
        """Fill value for invalid pixels of each band, in raster values: the middle of the range."""
        middles = [low + (high - low) * MIDDLE / WHITE for low, high in zip(self.low, self.high, strict=True)]
        return tuple(float(np.floor(value)) if self.whole else float(np.float32(value)) for value in middles)

    def scaling(self, network: Scaling) -> Scaling:
        """Combine this mapping with a network's own scaling of 0 to 255."""
        factors = [WHITE / (high - low) for low, high in zip(self.low, self.high, strict=True)]
        return Scaling(
            tuple(scale * factor for scale, factor in zip(network.scale, factors, strict=True)),
            tuple(
                offset - low * factor * scale
                for scale, offset, low, factor in zip(
                    network.scale, network.offset, self.low, factors, strict=True
                )
            ),
        )


def values_of(labelled: Sequence[Labelled], bands: tuple[int, ...]) -> Values:
    """Return the mapping of raster values to 0 to 255: the identity for uint8, else measured over all rasters.

    For other types, the 1st and 99th percentile of each band map to 0 and 255. Percentiles are over all
    rasters together, each downsampled to `SAMPLE` px, including blocks held out for validation.
    """
    dtype = np.dtype(labelled[0].info.dtype)
    if dtype == np.uint8:
        return Values((0.0,) * len(bands), (WHITE,) * len(bands), True)
    samples = np.concatenate([_sample(raster.info, bands) for raster in labelled])
    if not len(samples):
        return Values((0.0,) * len(bands), (1.0,) * len(bands), dtype.kind != "f")
    ends = np.percentile(samples, PERCENTILES, axis=0).T.tolist()
    ranges = [_whole_range(*end) if dtype.kind != "f" else _float_range(*end) for end in ends]
    low, high = zip(*ranges, strict=True)
    return Values(low, high, dtype.kind != "f")


def _whole_range(low: float, high: float) -> tuple[float, float]:
    return round(low, 0), round(max(high, low + 1), 0)


def _float_range(low: float, high: float) -> tuple[float, float]:
    """Return a range that float32 can divide, rounded to a ten-thousandth of its width or finer."""
    high = max(high, low + 1e-6 * (abs(low) if high > low else max(1, abs(low))))
    digits = max(6, 4 - math.floor(math.log10(high - low)))
    return round(low, digits), round(high, digits)


def _sample(info: RasterInfo, bands: tuple[int, ...]) -> np.ndarray:
    """Return the valid pixels of a raster that lie on the Earth, float64 of shape ``(n, bands)``."""
    with open_raster(info.path) as dataset:
        shape = tuple(min(SAMPLE, size) for size in dataset.shape)
        read = dataset.read(bands, out_shape=(len(bands), *shape), resampling=Resampling.nearest)
        pixels = np.moveaxis(read, 0, -1)
        whole = rasterio.windows.Window(0, 0, dataset.width, dataset.height)
        measured = measured_samples(dataset, bands, whole, pixels)
        valid = np.ones(shape, bool) if measured is None else measured.all(axis=-1)
    steps = info.georef.height / shape[0], info.georef.width / shape[1]
    valid &= on_ground(View(0, 0, *steps, *shape), info.georef)
    return pixels[valid & np.isfinite(pixels).all(axis=-1)].astype(np.float64)
