"""Measure how peak memory grows with the number of regions and of rasters, in new processes.

    python benchmarks/growing.py --regions 100000 1000000 10000000 --rasters 1 300 3000
    python benchmarks/growing.py --regions 100000 1000000 --rasters --options "--sieve 100"

Regions are the single pixels of a checkerboard, the maximum possible; rasters have 64 x 64 px each.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import spawning

PLACE = {
    "crs": "EPSG:32633",
    "nodata": 255,
    "driver": "GTiff",
    "count": 1,
    "dtype": "uint8",
    "compress": "deflate",
}


def checkerboard(folder: Path, regions: int) -> list[Path]:
    """Write a square raster with about the given number of one-pixel regions."""
    side = round(math.sqrt(regions))
    path = folder / "board.tif"
    with rasterio.open(path, "w", height=side, width=side, transform=_at(0), **PLACE) as file:
        file.write((np.add.outer(np.arange(side), np.arange(side)) % 2 + 1).astype(np.uint8), 1)
    return [path]


def small_rasters(folder: Path, count: int) -> list[Path]:
    """Write rasters of 64 blocks each."""
    paths = [folder / f"r{number:05d}.tif" for number in range(count)]
    for number, path in enumerate(paths):
        blocks = np.random.default_rng(number).integers(0, 3, (8, 8))
        with rasterio.open(path, "w", height=64, width=64, transform=_at(100 * number), **PLACE) as file:
            file.write(np.kron(blocks, np.ones((8, 8))).astype(np.uint8), 1)
    return paths


def _at(east: float) -> rasterio.Affine:
    return rasterio.Affine(0.5, 0, 500_000 + east, 0, -0.5, 5_600_000)


def peak_of(paths: list[Path], folder: Path, options: list[str]) -> float:
    """Return the peak memory of ``terraseam vectorize`` on some rasters, in megabytes."""
    argv = ["vectorize", str(paths[0].parent), "--output", str(folder / "out"), *options]
    program = f"import sys; from terraseam.pipeline.cli import main; sys.exit(main({argv!r}))"
    return spawning.spent_in(["-c", program]).peak_bytes / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--rasters", type=int, nargs="*", default=[1, 300])
    parser.add_argument("--options", default="", help="further options of terraseam vectorize")
    args = parser.parse_args()
    for name, write, counts in (
        ("regions", checkerboard, args.regions),
        ("rasters", small_rasters, args.rasters),
    ):
        for count in counts:
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "in").mkdir()
                paths = write(Path(folder) / "in", count)
                print(
                    f"{count:,} {name}: {peak_of(paths, Path(folder), args.options.split()):,.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    main()
