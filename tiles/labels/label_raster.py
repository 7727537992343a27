"""Read rasters of labels from other sources, to be vectorized."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.access.gdal_warnings import tags_of
from terraseam.tiles.access.open_files import close, keep_open
from terraseam.tiles.access.sidecars import SidecarError
from terraseam.tiles.access.sources import SourcesError
from terraseam.tiles.grid.block_reads import Samples, read_samples
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_codes import MOST, CodedLabels
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.raster.georef import OffEarthError
from terraseam.tiles.raster.ground import Ground, PixelPlane
from terraseam.tiles.raster.inspect import RasterError, check_file, check_georeferencing, unreadable
from terraseam.tiles.raster.opening import all_files, existing_files, open_raster
from terraseam.tiles.raster.source import RasterReadError, damaged

_NAME = re.compile(r"class_(-?\d+)", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class LabelRasterInfo:
    """A label raster, without its pixels.

    Attributes:
        path: Path or URL that GDAL opens.
        ground: Its georeferencing, or its pixel grid only.
        names: Names of its labels, by label, if the file has any.
        files: All files that GDAL reads for it.
        hidden: Addresses of sidecars whose server does not reveal whether they exist.
        undecoded: Labels whose names in the file are not UTF-8.
    """

    path: str
    ground: Ground
    names: dict[int, str]
    files: tuple[str, ...] | None = None
    hidden: tuple[str, ...] = ()
    undecoded: tuple[int, ...] = ()


def inspect_label_raster(
    path: str, *, in_pixels: bool = False, known: Sequence[str] | None = None
) -> LabelRasterInfo:
    """Open a label raster and check that it can be vectorized.

    Args:
        path: Path or URL that GDAL opens.
        in_pixels: Whether polygons are wanted in pixel coordinates, so that georeferencing is not needed.
        known: The raster itself and its existing sidecars, see `open_raster`; None if unknown.

    Raises:
        RasterError: If it is missing, not a raster, not georeferenced, or not of one band of integers.
    """
    try:
        check_file(path, RasterError)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            known = known or existing_files(path)
            with open_raster(path, known=known) as dataset:
                _check_samples(path, dataset)
                ground = (
                    PixelPlane(dataset.height, dataset.width) if in_pixels else _georeferencing(path, dataset)
                )
                names, undecoded = _names(dataset)
                files = tuple(sorted(all_files(path, dataset, known, dataset.sources)))
                return LabelRasterInfo(path, ground, names, files, dataset.sources.hidden, undecoded)
    except (rasterio.errors.RasterioIOError, OSError, UnicodeError) as error:
        raise unreadable(path, error) from error


def _check_samples(path: str, dataset: Any) -> None:
    if dataset.count != 1:
        raise RasterError(
            f"{path} has {dataset.count} bands, but label rasters have one; extract one with gdal_translate -b 1"
        )
    if not dataset.dtypes[0].startswith(("int", "uint")):
        raise RasterError(
            f"{path} has samples of type {dataset.dtypes[0]}, but labels are whole numbers; convert it with "
            "gdal_translate -ot Int32"
        )


def _georeferencing(path: str, dataset: Any) -> Ground:
    try:
        georef = check_georeferencing(path, dataset)
    except RasterError as error:
        raise RasterError(f"{error}; or pass --pixel-coordinates") from error
    try:
        georef.gsd()
    except OffEarthError as error:
        raise RasterError(
            f"{path} cannot be placed on the Earth: {error}; or pass --pixel-coordinates"
        ) from error
    return georef


def _names(dataset: Any) -> tuple[dict[int, str], tuple[int, ...]]:
    """Read class names as Terraseam writes them: metadata of the band, class_0, class_1, ...

    Returns:
        The names by label, and the labels whose names are not UTF-8.
    """
    tags, undecoded = tags_of(dataset, 1)
    entries = ((_NAME.fullmatch(key), value) for key, value in tags.items())
    lost = (_NAME.fullmatch(key) for key in undecoded)
    return (
        {int(match[1]): value for match, value in entries if match},
        tuple(sorted(int(match[1]) for match in lost if match)),
    )


class LabelRaster:
    """A raster of labels to read windows from; it pickles as its path.

    Args:
        path: Path or URL that GDAL opens.
        files: All files that are read for it, as found when it was inspected; None if it was not.
    """

    def __init__(self, path: str, files: tuple[str, ...] | None = None) -> None:
        self.path = path
        self.files = files
        self._local = threading.local()

    def __reduce__(self) -> tuple[Any, ...]:
        return LabelRaster, (self.path, self.files)

    def read(self, window: Window) -> CodedLabels:
        """Read the labels of a window; none where not valid and beyond the raster.

        Raises:
            RasterReadError: If the raster cannot be read there, or holds a value that is not a label.
        """
        try:
            dataset = self._dataset()
        except SourcesError:
            raise
        except (rasterio.errors.RasterioError, SidecarError) as error:
            raise damaged(self.path, window, error) from error
        inside = window.intersection(Window(0, 0, dataset.height, dataset.width))
        if inside is None:
            return CodedLabels.plain(np.full(window.shape, NODATA, np.uint8))
        labels = self._read_inside(dataset, inside)
        codes = np.full(window.shape, NODATA, labels.codes.dtype)
        codes[inside.within(window)] = labels.codes
        return CodedLabels(codes, labels.table)

    def _read_inside(self, dataset: Any, window: Window) -> CodedLabels:
        def some(inside: Window) -> Samples:
            where = RasterioWindow(inside.col_off, inside.row_off, inside.width, inside.height)
            known = dataset.read_masks(1, window=where) > 0
            return dataset.read(1, window=where)[..., None], known[..., None]

        try:
            samples, measured = read_samples(dataset, window, some)
        except rasterio.errors.RasterioError as error:
            close(self)
            raise damaged(self.path, window, error) from error
        values = samples[..., 0]
        known = np.ones(window.shape, bool) if measured is None else measured[..., 0]
        if values.dtype == np.uint8 and not (known & (values == NODATA)).any():
            return CodedLabels.plain(np.where(known, values, np.uint8(NODATA)))
        wrong = known & ((values < -MOST) | (values > MOST)) if values.dtype.itemsize == 8 else known[:0]
        if wrong.any():
            row, col = np.argwhere(wrong)[0]
            raise RasterReadError(
                f"{self.path} has the value {values[row, col]} at row {window.row_off + row}, column "
                f"{window.col_off + col}, but labels are {-MOST} to {MOST}; declare it as nodata with "
                "gdal_translate -a_nodata, or renumber the classes"
            )
        return CodedLabels.encode(values, known)

    def _dataset(self) -> Any:
        if getattr(self._local, "dataset", None) is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
                return keep_open(self, open_raster(self.path, files=self.files, sharing=False))
        return self._local.dataset
