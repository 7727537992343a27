"""Fill numba's cache with the functions the main job compiles: ``python -m terraseam.pipeline.deploy.compile_ahead``.

With ``--default``, only what `segment` compiles without options on polygons, in a quarter of the time: an installation
from source does that, so that the first run starts as fast as the next.

An image whose workers should not compile sets ``NUMBA_CACHE_DIR`` to a folder inside the image, and
``NUMBA_CPU_NAME=generic``, as code compiled for one CPU is not used on another. The real commands run on small
rasters, since numba compiles a function for every combination of argument types.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from terraseam.pipeline.cli import main
from terraseam.pipeline.exit_status import DONE, show

SIDES = (530, 700)
"""Height and width of the rasters, in pixels: two of the smallest sheets in each direction."""

SMOOTH = ("--simplify", "1", "--sieve", "20", "--regularize", "--fill-holes", "30")
"""Options that process the polygons of label maps, at a GSD of 1 m/px."""

CUT = ("--max-region", "256")
"""An option that makes label maps be traced as codes, which have another type."""

CORNERS = ("--connectivity", "8")
"""An option that makes regions connect at corners, too."""

VARIANTS = [sum(chosen, ()) for chosen in product(((), SMOOTH), ((), CUT), ((), CORNERS))]
"""All combinations of these options, as the types passed between functions depend on them."""


def warm(default_only: bool = False) -> int:
    """Run the main job on small rasters; return its exit status.

    Args:
        default_only: Whether to run `segment` alone, and without options on polygons.
    """
    with tempfile.TemporaryDirectory() as folder:
        for command in commands(Path(folder), default_only):
            messages = io.StringIO()
            with contextlib.redirect_stdout(messages), contextlib.redirect_stderr(messages):
                status = main(command)
            if status != DONE:
                sys.stderr.write(messages.getvalue())
                return status
    place = os.environ.get("NUMBA_CACHE_DIR")
    show(f"compiled ahead of time into {place or 'the __pycache__ folders beside the modules'}")
    return DONE


def commands(folder: Path, default_only: bool = False) -> Iterator[list[str]]:
    """Write small rasters to `folder`, and yield the commands to run on them; see `warm`."""
    image, labels = folder / "image.tif", folder / "labels.tif"
    write_raster(image, np.stack([patches(16) * 36] * 3))
    write_raster(labels, patches(12)[None] // 2)
    small = ("--tile", "512", "--halo", "0", "--sheet", "512", "--any-gsd")
    segment = ["segment", str(image), *small, "--output"]
    vectorize = ["vectorize", str(labels), "--sheet", "512", "--output"]
    if default_only:
        yield [*segment, str(folder / "regions"), "--model", "coast"]
        return
    yield [*segment, str(folder / "instances"), "--model", "buildings-instances"]
    for number, options in enumerate(VARIANTS):
        yield [*segment, str(folder / "regions"), "--model", "coast", *options]
        yield [*vectorize, str(folder / str(number)), *options]


def patches(side: int) -> np.ndarray:
    """Return random squares of `side` pixels with values 0 to 7, uint8 of shape `SIDES`."""
    height, width = SIDES
    values = np.random.default_rng(0).integers(0, 8, (height // side + 1, width // side + 1), np.uint8)
    return np.kron(values, np.ones((side, side), np.uint8))[:height, :width]


def write_raster(path: Path, values: np.ndarray) -> None:
    """Write values, shape ``(bands, height, width)``, as a raster with a GSD of 1 m/px."""
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
    sys.exit(warm("--default" in sys.argv[1:]))
