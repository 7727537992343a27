"""Smooth rasters in several encodings."""

from __future__ import annotations

import numpy as np
import rasterio.warp
from hole_masks import hole_mask


def smooth(height, width, bands=3, dtype="uint8"):
    """Return waves with some noise, in the range 20 to 235."""
    rows, cols = np.mgrid[:height, :width]
    waves = np.stack([np.sin(rows / (9 + b)) * np.cos(cols / (13 - b)) for b in range(bands)], axis=-1)
    noise = np.random.default_rng(5).uniform(-15, 15, waves.shape)
    return np.clip(128 + 90 * waves + noise, 20, 235).astype(dtype)


def encodings(make_raster, **place):
    """Yield one scene with a hole and specks, with its nodata encoded in seven ways."""
    base, valid = smooth(137, 153), np.ones((137, 153), bool)
    valid[:37, :53] = hole_mask()
    valid &= np.random.default_rng(2).random(valid.shape) > 0.3
    seen = valid[..., None]
    yield make_raster(pixels=np.where(seen, base, 0).astype("uint8"), nodata=0, name="value.tif", **place)
    yield make_raster(pixels=base, mask=valid, name="internal.tif", **place)
    yield make_raster(pixels=base, alpha=np.where(valid, 255, 0), name="alpha.tif", **place)
    nan = np.where(seen, base, np.nan).astype("float32")
    yield make_raster(pixels=nan, name="nan.tif", **place)
    yield make_raster(pixels=nan, nodata=float("nan"), name="declared.tif", **place)
    yield make_raster(
        pixels=np.where(seen, base.astype("int16"), -999), nodata=-999, name="int16.tif", **place
    )
    sidecar = make_raster(pixels=base, name="sidecar.tif", **place)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(sidecar, "r+") as dataset:
        dataset.write_mask(valid)
    assert sidecar.with_name("sidecar.tif.msk").exists()
    yield sidecar
