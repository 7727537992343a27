"""Read a predicted label map from a file, window by window."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.access.gdal_warnings import tags_of
from terraseam.tiles.access.open_files import close, keep_open
from terraseam.tiles.access.sidecars import SidecarError
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.source import RasterReadError, damaged
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import IGNORED, nearest

CLASS_TAG = "class_"
"""Prefix of band tags that name classes: ``class_0`` is the name of label 0."""

_STRIPE = 2048


class LabelMapFile:
    """A raster of labels, opened on first use; each thread keeps only the last ones open.

    Args:
        path: Path or URL that GDAL opens.

    Raises:
        RasterError: If it is not a raster of one band of labels.
    """

    def __init__(self, path: str) -> None:
        info = inspect_raster(path)
        if info.bands != 1 or info.dtype == "float32":
            raise RasterError(
                f"{path} has {info.bands} bands of {info.dtype}; a label map has one band of whole numbers"
            )
        self.path = path
        self.georef: Georef = info.georef
        self._local = threading.local()
        with open_raster(path) as dataset:
            tags, undecoded = tags_of(dataset, 1)
        self.undecoded = any(tag.startswith(CLASS_TAG) for tag in undecoded)
        """Whether it has class names that are not UTF-8; it then counts as having none."""
        labels = (f"{CLASS_TAG}{label}" for label in range(IGNORED))
        known = [tags[name] for name in labels if name in tags and not self.undecoded]
        contiguous = all(f"{CLASS_TAG}{label}" in tags for label in range(len(known)))
        self.names: tuple[str, ...] | None = tuple(known) if known and contiguous else None
        """Class names in the order of the labels, as Terraseam writes them; None if it has none."""

    def labels(self, view: View) -> np.ndarray:
        """Return the labels of a view, nearest neighbour; `IGNORED` off the raster and where masked.

        Raises:
            RasterReadError: If the file cannot be read there, or holds a value that is not a label.
        """
        return nearest(view, self.georef, self._read)

    def values(self) -> set[int]:
        """Return the labels that occur in the file, read block by block.

        Raises:
            RasterReadError: If the file cannot be read, or holds a value that is not a label.
        """
        height, width = self.georef.height, self.georef.width
        held: set[int] = set()
        for row in range(0, height, _STRIPE):
            for col in range(0, width, _STRIPE):
                size = min(_STRIPE, height - row), min(_STRIPE, width - col)
                held.update(np.unique(self._read(Window(row, col, *size))).tolist())
        return held - {IGNORED}

    def _read(self, window: Window) -> np.ndarray:
        where = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            dataset = self._opened()
            read = dataset.read(1, window=where)
            unknown = dataset.read_masks(1, window=where) == 0
        except (rasterio.errors.RasterioError, SidecarError) as error:
            close(self)
            raise damaged(self.path, window, error) from error
        wrong = (read < 0) | (read > IGNORED)
        if (wrong & ~unknown).any():
            raise RasterReadError(
                f"{self.path} holds {read[wrong & ~unknown][0]} at {window}; labels are 0 to 254, and 255 is nodata"
            )
        return np.where(unknown, IGNORED, read).astype(np.uint8)

    def _opened(self) -> Any:
        """Return the dataset, opened once per thread."""
        if getattr(self._local, "dataset", None) is None:
            return keep_open(self, open_raster(self.path, sharing=False))
        return self._local.dataset
