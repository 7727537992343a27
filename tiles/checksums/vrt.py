"""Find the windows of source files that a virtual raster reads."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np

from terraseam.tiles.grid.window import Window

SCALED = 1.2
"""Source pixels per pixel of the virtual raster above which GDAL may read overviews instead."""

_SOURCES = {"SimpleSource", "ComplexSource", "AveragedSource", "NoDataSource", "KernelFilteredSource"}
_KERNEL_PX = 4
"""Radius of resampling kernels, in pixels before scaling."""
_NOWHERE = [math.nan] * 4


@dataclass(frozen=True, slots=True)
class SourceWindow:
    """A window that is read of a file.

    Attributes:
        path: The file.
        window: Its pixels, which may extend beyond it; None if unknown.
        bands: Its bands; empty for all.
        masked: Whether its mask is read as well.
        reduced: Whether overviews may be read.
    """

    path: str
    window: Window | None
    bands: tuple[int, ...] = ()
    masked: bool = False
    reduced: bool = False


@dataclass(frozen=True)
class _BandSources:
    """The sources of one band of a virtual raster.

    Attributes:
        files: Their files.
        bands: Band of each file; 0 for its mask.
        masked: Whether the mask of each file is read as well.
        rects: Source and destination rectangles: x, y, width and height in the file, then in the virtual raster,
            ``(n, 8)``; NaN where not specified.
    """

    files: tuple[str, ...]
    bands: tuple[int, ...]
    masked: tuple[bool, ...]
    rects: np.ndarray

    def under(self, window: Window, *, masked: bool) -> Iterator[SourceWindow]:
        """Yield the windows of files that are read for a window of the virtual raster."""
        x, y, width, height = self.rects[:, 4:].T
        outside = (x >= window.col_end) | (x + width <= window.col_off)
        outside |= (y >= window.row_end) | (y + height <= window.row_off)
        for number in np.flatnonzero(~outside):
            where, step = _source_window(self.rects[number], window)
            band = self.bands[number]
            with_mask = masked or self.masked[number] or band == 0
            yield SourceWindow(self.files[number], where, (band or 1,), with_mask, step > SCALED)


def _source_window(rect: np.ndarray, window: Window) -> tuple[Window | None, float]:
    """Return the window of a file that is read for one of the virtual raster, and the ratio of their pixels."""
    if not np.isfinite(rect).all() or (rect[[2, 3, 6, 7]] <= 0).any():
        return None, math.inf
    x0, y0, across, down, to_x, to_y, to_across, to_down = rect.tolist()
    step_x, step_y = across / to_across, down / to_down
    cols = _covered(window.col_off, window.col_end, to_x, to_across, x0, step_x)
    rows = _covered(window.row_off, window.row_end, to_y, to_down, y0, step_y)
    return Window(rows[0], cols[0], rows[1] - rows[0], cols[1] - cols[0]), max(step_x, step_y)


def _covered(start: int, stop: int, to: float, size: float, first: float, step: float) -> tuple[int, int]:
    begin, end = max(start, to), min(stop, to + size)
    low, high = first + (begin - to) * step, first + (end - to) * step
    whole = step == 1 and low == int(low)
    margin = 0 if whole else math.ceil(_KERNEL_PX * max(1.0, step))
    low, high = math.floor(low) - margin, math.ceil(high) + margin
    return low, max(high, low + 1)


class VirtualRaster:
    """The sources of a VRT.

    Args:
        text: Its XML.
        folder: Its folder, which relative names refer to.

    Raises:
        ValueError: If it is not a VRT.
    """

    def __init__(self, text: str, folder: str) -> None:
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise ValueError(f"not a VRT: {error}") from error
        self._folder = folder
        self.shape = int(root.get("rasterYSize", "0")), int(root.get("rasterXSize", "0"))
        self._used: set[ElementTree.Element] = set()
        self._bands = {
            number: self._band(element) for number, element in enumerate(root.findall("VRTRasterBand"), 1)
        }
        self.bands = tuple(self._bands)
        self._mask = [self._band(element) for element in root.findall("MaskBand/VRTRasterBand")]
        self._others = tuple(self._other_files(root))

    def under(self, window: Window, bands: Iterable[int], *, masked: bool) -> Iterator[SourceWindow]:
        """Yield the windows of files that are read for a window of some bands, and of its mask if wanted."""
        for band in bands:
            if band in self._bands:
                yield from self._bands[band].under(window, masked=masked)
        for mask in self._mask if masked else ():
            yield from mask.under(window, masked=False)
        for path in self._others:
            yield SourceWindow(path, None, masked=True, reduced=True)

    def _band(self, band: ElementTree.Element) -> _BandSources:
        files, numbers, masked, rects = [], [], [], []
        for source in band:
            name = source.find("SourceFilename")
            if source.tag not in _SOURCES or name is None or not name.text:
                continue
            self._used.add(name)
            files.append(self._path(name))
            number_text = (source.findtext("SourceBand") or "1").strip()
            numbers.append(int(number_text) if number_text.isdecimal() else 0)
            masked.append((source.findtext("UseMaskBand") or "").strip().lower() in ("true", "1", "yes"))
            rects.append([*_rect(source.find("SrcRect")), *_rect(source.find("DstRect"))])
        return _BandSources(
            tuple(files), tuple(numbers), tuple(masked), np.reshape(rects, (-1, 8)).astype(float)
        )

    def _other_files(self, root: ElementTree.Element) -> Iterator[str]:
        """Yield files that are read in another way, such as warped ones."""
        for element in root.iter():
            if (
                element.tag in ("SourceFilename", "SourceDataset")
                and element.text
                and element not in self._used
            ):
                yield self._path(element)

    def _path(self, name: ElementTree.Element) -> str:
        path = (name.text or "").strip()
        relative = name.get("relativeToVRT", name.get("relativetoVRT", "0")).strip() == "1"
        return os.path.join(self._folder, path) if relative else path  # noqa: PTH118 - folders on servers are no Path


def _rect(element: ElementTree.Element | None) -> list[float]:
    names = ("xOff", "yOff", "xSize", "ySize")
    try:
        return [float(element.attrib[name]) for name in names] if element is not None else _NOWHERE
    except (KeyError, ValueError):
        return _NOWHERE
