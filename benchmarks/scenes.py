"""Write rasters for runs: small ones cut from the sample that comes with `coast`, and squares of a large one."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.windows import Window

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "examples" / "coast" / "sample.tif"
TILING = ("--tile", "512", "--sheet", "512", "--format", "geojson,gpkg")


def write_scene(path: Path, columns: slice = slice(None), **profile: object) -> Path:
    """Write some columns of the sample as a raster in blocks of 256 px."""
    with rasterio.open(SAMPLE) as sample:
        pixels = np.ascontiguousarray(sample.read()[:, :, columns])
        start = columns.indices(sample.width)[0]
        whole = {**sample.profile, "transform": sample.transform @ rasterio.Affine.translation(start, 0)}
    whole |= {"height": pixels.shape[1], "width": pixels.shape[2], **profile}
    with rasterio.open(path, "w", **whole) as dataset:
        dataset.write(pixels)
    return path


def two_scenes(folder: Path) -> list[Path]:
    """Write the sample, and its eastern part as another raster: ten sheets of 512 px."""
    east = slice(500, None)
    return [write_scene(folder / "sample.tif"), write_scene(folder / "east.tif", east, compress="lzw")]


def segment_command(scenes: Sequence[Path], out: Path, *more: str) -> list[str]:
    """Return the command that segments rasters with `coast`, with sheets of one tile."""
    job = [*scenes, "--model", "coast", "--output", out, *TILING, *more]
    return [sys.executable, "-m", "terraseam", "segment", *map(str, job)]


def cut(raster: Path, side: int, folder: Path) -> Path:
    """Cut a square at a quarter of a raster's height, where there are coasts; return smaller rasters as they are."""
    path = folder / "cut.tif"
    with rasterio.open(raster) as dataset:
        if side >= dataset.height:
            return raster
        off = dataset.height // 4
        window = Window(off, off, side, side)
        profile = {**dataset.profile, "driver": "GTiff", "height": side, "width": side}
        profile |= {"transform": dataset.window_transform(window), "compress": "jpeg", "photometric": "ycbcr"}
        with rasterio.open(path, "w", **profile) as target:
            for row in range(0, side, 1024):
                part = Window(0, row, side, min(1024, side - row))
                source = Window(off, off + row, side, part.height)
                target.write(dataset.read(window=source), window=part)
    return path
