"""Small rasters for runs that are made again and again, cut from the sample that comes with `coast`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio

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
    """The sample, and its eastern part as another raster: ten sheets of 512 px."""
    east = slice(500, None)
    return [write_scene(folder / "sample.tif"), write_scene(folder / "east.tif", east, compress="lzw")]


def segment_command(scenes: Sequence[Path], out: Path, *more: str) -> list[str]:
    """The command that segments rasters with `coast`, in sheets of one tile."""
    job = [*scenes, "--model", "coast", "--output", out, *TILING, *more]
    return [sys.executable, "-m", "pipeline", "segment", *map(str, job)]
