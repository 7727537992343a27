"""Compile ahead: ``python -m pipeline.warm`` fills numba's cache with what the main job compiles.

An image whose workers must not compile sets ``NUMBA_CACHE_DIR`` to a folder that stays in it, and
``NUMBA_CPU_NAME=generic``: what is compiled for one processor is not used on another. Small rasters are run
through the real commands, for numba compiles a function anew for every combination of types that it is called with.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.cli import main
from pipeline.exits import DONE

SIDES = (530, 700)
"""Height and width of the rasters, in pixels: two of the smallest sheets each way."""

POLYGONS = ("--simplify", "1", "--sieve", "20", "--regularize", "--fill-holes", "30", "--max-region", "256")
"""Options with which every kind of polygon is made, at a GSD of 1 m."""


def warm() -> int:
    """Run the main job on small rasters; returns its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        for command in commands(Path(folder)):
            with contextlib.redirect_stdout(io.StringIO()):
                status = main(command)
            if status != DONE:
                return status
    place = os.environ.get("NUMBA_CACHE_DIR")
    print(f"compiled ahead, into {place or 'the __pycache__ folders beside the modules'}")
    return DONE


def commands(folder: Path) -> Iterator[list[str]]:
    """The commands to run, with their rasters in `folder`."""
    image, labels = folder / "image.tif", folder / "labels.tif"
    write_raster(image, np.stack([patches(8) * 36] * 3))
    write_raster(labels, patches(3)[None] // 2)
    small = ("--tile", "512", "--halo", "0", "--sheet", "512", "--any-gsd")
    for number, (model, options) in enumerate(
        [("coast", POLYGONS), ("coast", ()), ("buildings-instances", ())]
    ):
        places = ("--model", model, "--output", str(folder / str(number)))
        yield ["segment", str(image), *places, *small, *options]
    for name, options in (("plain", ()), ("all", POLYGONS)):
        yield ["vectorize", str(labels), "--output", str(folder / name), "--sheet", "512", *options]


def patches(side: int) -> np.ndarray:
    """Squares of `side` pixels with values from 0 to 7, without a pattern, uint8."""
    height, width = SIDES
    values = np.random.default_rng(0).integers(0, 8, (height // side + 1, width // side + 1), np.uint8)
    return np.kron(values, np.ones((side, side), np.uint8))[:height, :width]


def write_raster(path: Path, values: np.ndarray) -> None:
    """Write values, shape (bands, height, width), as a raster with a GSD of 1 m."""
    import rasterio

    bands, height, width = values.shape
    place = rasterio.transform.from_origin(500_000, 5_000_000, 1, 1)
    profile = {
        "driver": "GTiff",
        "count": bands,
        "height": height,
        "width": width,
        "dtype": values.dtype.name,
    }
    with rasterio.open(path, "w", crs="EPSG:32633", transform=place, **profile) as raster:
        raster.write(values)


if __name__ == "__main__":
    sys.exit(warm())
