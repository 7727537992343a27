"""Write `sample.tif`: Europe and the Mediterranean on NASA Blue Marble, on which `coast` was never trained.

    python examples/coast/make_sample.py examples/coast/sample.tif

writes the same bytes every time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from blue_marble import HELD_OUT, PIXELS_PER_DEGREE, Box, read_scene
from rasterio.transform import Affine

BLOCK = 256


def write_sample(scene: np.ndarray, box: Box, path: Path) -> None:
    """Write a box of the scene as a tiled GeoTIFF in EPSG:4326.

    Args:
        scene: Blue Marble, uint8 ``(2700, 5400, 3)``.
        box: The pixels to write.
        path: GeoTIFF to write; an existing file is replaced.
    """
    pixels = scene[box.row0 : box.row1, box.col0 : box.col1]
    corner = Affine.translation(box.col0 / PIXELS_PER_DEGREE - 180, 90 - box.row0 / PIXELS_PER_DEGREE)
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "height": pixels.shape[0],
        "width": pixels.shape[1],
        "crs": "EPSG:4326",
        "transform": corner @ Affine.scale(1 / PIXELS_PER_DEGREE, -1 / PIXELS_PER_DEGREE),
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "deflate",
        "zlevel": 9,
        "predictor": 2,
        "interleave": "pixel",
    }
    with rasterio.open(path, "w", **profile) as target:
        target.write(np.moveaxis(pixels, -1, 0))
        target.descriptions = ("red", "green", "blue")
        target.update_tags(
            TIFFTAG_IMAGEDESCRIPTION="NASA Blue Marble Next Generation with bathymetry, 4 arc minutes",
            TIFFTAG_COPYRIGHT="NASA Earth Observatory, public domain",
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="GeoTIFF to write")
    args = parser.parse_args()
    write_sample(read_scene(), HELD_OUT["europe"], args.output)
    print(f"wrote {args.output}, {args.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
