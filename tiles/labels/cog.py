"""Write label maps as Cloud Optimized GeoTIFFs, sheet by sheet."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from rasterio.io import MemoryFile
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.overviews import overviews
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.raster.georef import Georef

BLOCK = 512
"""Block size of every written raster, in pixels."""

AT_ONCE = 2048
"""Largest side of a label map that is written at once, in pixels; where a side is odd, GDAL's overviews of larger ones show
the borders of the parts that it makes them in."""

Colour = tuple[int, int, int]

Layout = dict[str, Any]
"""Creation options of a GeoTIFF, by name."""


def write_label_cog(
    path: Path,
    sheets: Iterable[tuple[Window, np.ndarray]],
    georef: Georef,
    classes: Mapping[str, Colour],
    tags: Mapping[str, str],
    compression: str = "deflate",
) -> None:
    """Write a label map as a COG: 512 px blocks, overviews by mode, nodata 255, colour table.

    GDAL's COG driver copies it from a draft: for sides of up to `AT_ONCE` from one in memory, with overviews of our
    own; otherwise from a tiled GeoTIFF beside `path`, written sheet by sheet, so that memory does not grow with the
    raster. The bytes are the same.

    Args:
        path: The file to write; it must not be read before this returns.
        sheets: Windows and their labels, uint8; pixels of no window are nodata.
        georef: Shape, CRS and transform of the raster.
        classes: Name and colour of each class, in the order of the labels.
        tags: Metadata tags of the file.
        compression: ``deflate``, which every reader supports, ``zstd`` or ``lzw``.
    """
    layout = {
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
        "BIGTIFF": "IF_SAFER",
        "SPARSE_OK": True,
    }

    def describe(dataset: Any) -> None:
        dataset.write_colormap(1, {label: (*colour, 255) for label, colour in enumerate(classes.values())})
        dataset.update_tags(**tags)
        dataset.update_tags(1, **{f"class_{label}": name for label, name in enumerate(classes)})
        dataset.set_band_description(1, "label")

    if max(georef.height, georef.width) <= AT_ONCE:
        _write_at_once(path, _assembled(sheets, georef), layout, describe, compression)
    else:
        _write_in_parts(path, sheets, layout, describe, compression)


def _assembled(sheets: Iterable[tuple[Window, np.ndarray]], georef: Georef) -> np.ndarray:
    """Return the labels of a whole raster."""
    whole = Window(0, 0, georef.height, georef.width)
    labels = np.full(whole.shape, NODATA, np.uint8)
    for window, part in sheets:
        labels[window.within(whole)] = part
    return labels


def _write_at_once(
    path: Path, labels: np.ndarray, layout: Layout, describe: Callable[[Any], None], compression: str
) -> None:
    """Write a COG from a draft in memory; GDAL takes most of its time to make overviews by mode."""
    with contextlib.ExitStack() as drafts:
        name, folder = "labels.tif", uuid.uuid4().hex
        draft = drafts.enter_context(MemoryFile(dirname=folder, filename=name))
        with draft.open(**layout) as dataset:
            describe(dataset)
            dataset.write(labels, 1)
        # The overviews of a file lie in one beside it, and theirs beside that.
        for smaller in overviews(labels, BLOCK):
            name += ".ovr"
            height, width = smaller.shape
            beside = drafts.enter_context(MemoryFile(dirname=folder, filename=name))
            with beside.open(**{**layout, "height": height, "width": width}) as dataset:
                dataset.write(smaller, 1)
        _copy(draft.name, path, compression, overviews="AUTO")


def _write_in_parts(
    path: Path,
    sheets: Iterable[tuple[Window, np.ndarray]],
    layout: Layout,
    describe: Callable[[Any], None],
    compression: str,
) -> None:
    """Write a COG from a draft beside it, one sheet after another."""
    draft = path.with_name(path.name + ".draft.tif")
    try:
        with rasterio.open(draft, "w", **layout, compress="zstd") as dataset:
            describe(dataset)
            for window, labels in sheets:
                where = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
                dataset.write(labels, 1, window=where)
        _copy(draft, path, compression, overviews="IGNORE_EXISTING")
    finally:
        draft.unlink(missing_ok=True)


def _copy(draft: Path | str, path: Path, compression: str, overviews: str) -> None:
    """Copy a draft to a COG, with its own overviews (``AUTO``) or new ones (``IGNORE_EXISTING``)."""
    rasterio.shutil.copy(
        draft,
        path,
        driver="COG",
        BLOCKSIZE=BLOCK,
        COMPRESS=compression.upper(),
        RESAMPLING="MODE",
        OVERVIEWS=overviews,
        BIGTIFF="IF_SAFER",
    )


def parse_colour(text: str) -> Colour:
    """Parse red, green and blue from ``#rrggbb``."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue
