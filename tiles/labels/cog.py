"""Write label maps as Cloud Optimized GeoTIFFs, sheet by sheet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.raster.georef import Georef

BLOCK = 512
"""Block size of every written raster, in pixels."""

Colour = tuple[int, int, int]


def write_label_cog(
    path: Path,
    sheets: Iterable[tuple[Window, np.ndarray]],
    georef: Georef,
    classes: Mapping[str, Colour],
    tags: Mapping[str, str],
    compression: str = "deflate",
) -> None:
    """Write a label map as a COG: 512 px blocks, overviews by mode, nodata 255, colour table.

    The sheets are written one after another to a tiled GeoTIFF beside `path`, which GDAL's COG
    driver then copies, so memory does not grow with the raster.

    Args:
        path: The file to write; it must not be read before this returns.
        sheets: Windows and their labels, uint8; pixels of no window are nodata.
        georef: Shape, CRS and transform of the raster.
        classes: Name and colour of each class, in the order of the labels.
        tags: Metadata tags of the file.
        compression: ``deflate``, which every reader supports, ``zstd`` or ``lzw``.
    """
    draft = path.with_name(path.name + ".draft.tif")
    profile = {
        "driver": "GTiff",
        "height": georef.height,
        "width": georef.width,
        "count": 1,
        "dtype": "uint8",
        "crs": georef.crs,
        "transform": rasterio.Affine(*georef.transform),
        "nodata": NODATA,
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "compress": "zstd",
        "BIGTIFF": "IF_SAFER",
        "SPARSE_OK": True,
    }
    try:
        with rasterio.open(draft, "w", **profile) as dataset:
            dataset.write_colormap(
                1, {label: (*colour, 255) for label, colour in enumerate(classes.values())}
            )
            dataset.update_tags(**tags)
            dataset.update_tags(1, **{f"class_{label}": name for label, name in enumerate(classes)})
            dataset.set_band_description(1, "label")
            for window, labels in sheets:
                where = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
                dataset.write(labels, 1, window=where)
        rasterio.shutil.copy(
            draft,
            path,
            driver="COG",
            BLOCKSIZE=BLOCK,
            COMPRESS=compression.upper(),
            RESAMPLING="MODE",
            OVERVIEWS="IGNORE_EXISTING",
            BIGTIFF="IF_SAFER",
        )
    finally:
        draft.unlink(missing_ok=True)


def parse_colour(text: str) -> Colour:
    """Parse red, green and blue from ``#rrggbb``."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
