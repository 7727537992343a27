"""Rasters of labels that somebody else made, to be made into polygons."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from tiles.georef import Georef
from tiles.inspect import RasterError, check_file, check_placed, unreadable
from tiles.open_files import keep_open
from tiles.source import RasterReadError, damaged
from tiles.stitch import NODATA
from tiles.window import Window

MOST = 254
"""The greatest label."""


@dataclass(frozen=True, slots=True)
class LabelRasterInfo:
    """A label raster, without its pixels.

    Attributes:
        path: What GDAL opens.
        georef: Shape, CRS and transform.
        names: Names of its labels where the file has some, by label.
    """

    path: str
    georef: Georef
    names: dict[int, str]


def inspect_label_raster(path: str) -> LabelRasterInfo:
    """Open a label raster and check that it can be made into polygons.

    Raises:
        RasterError: If it is missing, not a raster, not georeferenced, or not of one band of integers.
    """
    try:
        check_file(path, RasterError)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            with rasterio.open(path) as dataset:
                _check_samples(path, dataset)
                return LabelRasterInfo(path, check_placed(path, dataset), _names(dataset))
    except (rasterio.errors.RasterioIOError, OSError, UnicodeError) as error:
        raise unreadable(path, error) from error


def _check_samples(path: str, dataset: Any) -> None:
    if dataset.count != 1:
        raise RasterError(
            f"{path} has {dataset.count} bands, and label rasters have one; take one of them with gdal_translate -b 1"
        )
    if np.dtype(dataset.dtypes[0]).kind not in "iu":
        raise RasterError(
            f"{path} has samples of type {dataset.dtypes[0]}, and labels are whole numbers; convert it with "
            "gdal_translate -ot Byte"
        )


def _names(dataset: Any) -> dict[int, str]:
    """Names of classes as Terraseam writes them: metadata of the band, class_0, class_1, ..."""
    tags = dataset.tags(1)
    found = {}
    for key, value in tags.items():
        number = key.lower().removeprefix("class_")
        if key.lower().startswith("class_") and number.isdecimal() and int(number) <= MOST:
            found[int(number)] = value
    return found


class LabelRaster:
    """A raster of labels to read windows from; it pickles as its path.

    Args:
        path: Path or URL that GDAL opens.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelRaster, (self.path,)

    def read(self, window: Window) -> np.ndarray:
        """Labels of a window, uint8; nodata where nothing was measured, and beyond the raster.

        Raises:
            RasterReadError: If the raster cannot be read there, or holds what is no label.
        """
        labels = np.full(window.shape, NODATA, np.uint8)
        dataset = self._dataset()
        inside = window.intersection(Window(0, 0, dataset.height, dataset.width))
        if inside is not None:
            labels[inside.within(window)] = self._read_inside(dataset, inside)
        return labels

    def _read_inside(self, dataset: Any, window: Window) -> np.ndarray:
        where = RasterioWindow(window.col_off, window.row_off, window.width, window.height)
        try:
            values = dataset.read(1, window=where)
            known = dataset.read_masks(1, window=where) > 0
        except rasterio.errors.RasterioError as error:
            raise damaged(self.path, window, error) from error
        wrong = known & ((values < 0) | (values > MOST))
        if wrong.any():
            row, col = np.argwhere(wrong)[0]
            raise RasterReadError(
                f"{self.path} has the value {values[row, col]} at row {window.row_off + row}, column "
                f"{window.col_off + col}, and labels are 0 to {MOST}; declare it as nodata with gdal_edit.py -a_nodata, or "
                "renumber the classes"
            )
        return np.where(known, values, NODATA).astype(np.uint8)

    def _dataset(self) -> Any:
        if getattr(self._local, "dataset", None) is None:
            return keep_open(self, rasterio.open(self.path, sharing=False))
        return self._local.dataset
