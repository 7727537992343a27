"""Open rasters whose blocks are verified before their pixels are read."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.windows import Window as RasterioWindow

from terraseam.tiles.access.gdal_library import proxied, thread_settings
from terraseam.tiles.access.gdal_warnings import JPEG_DAMAGE, LOST_TAGS, collected_warnings
from terraseam.tiles.access.places import address_of
from terraseam.tiles.access.remote_sources import NOTHING_REMOTE, RemoteSources
from terraseam.tiles.access.sources import gdal_name
from terraseam.tiles.access.tiff import NotTiffError, local_bytes
from terraseam.tiles.checksums.png import SIGNATURE, png_fault
from terraseam.tiles.checksums.remote import FROM_CACHE, MOST_HELD, RemoteBytes, is_on_server
from terraseam.tiles.checksums.tiff import BlockBytes, Directory, read_directories
from terraseam.tiles.checksums.vrt import SourceWindow, VirtualRaster
from terraseam.tiles.grid.window import Window

MOST_FILES = 64
"""Number of sources of a virtual raster whose layout and verified blocks are remembered."""
DEEPEST = 32
"""Nesting depth of virtual rasters beyond which they are taken to be circular."""


class DamagedBlockError(rasterio.errors.RasterioIOError):
    """Raised when a part of a file is not as it was written."""


class _Tiff:
    """A TIFF: its main image, its mask and its overviews."""

    def __init__(self, directories: list[Directory]) -> None:
        self._main = directories[:1]
        alike = [directory for directory in directories[1:] if directory.shape == directories[0].shape]
        self._masks = [directory for directory in alike if directory.is_mask]
        self._reduced = [directory for directory in directories[1:] if directory.is_reduced]
        self.is_checked = any(directory.is_checked for directory in (*self._main, *self._masks))

    def fault(self, file: BlockBytes, source_window: SourceWindow) -> str | None:
        """Return a description of damage in the pixels to be read; None if none is known."""
        chosen = [*self._main]
        chosen += self._masks if source_window.masked else []
        chosen += self._reduced if source_window.reduced else []
        for directory in chosen:
            window = _scaled(source_window.window, self._main[0].shape, directory.shape)
            if window is not None:
                damage = directory.verify(file, window, source_window.bands or range(1, directory.planes + 1))
                if damage is not None:
                    return damage
        return None


def _scaled(window: Window | None, shape: tuple[int, int], other: tuple[int, int]) -> Window | None:
    """Scale a window of an image to an image of another size; None stands for the whole image."""
    whole = Window(0, 0, *other)
    if window is None or shape == other:
        return whole if window is None else window.intersection(whole)
    down, across = other[0] / shape[0], other[1] / shape[1]
    row, col = math.floor(window.row_off * down) - 1, math.floor(window.col_off * across) - 1
    end = math.ceil(window.row_end * down) + 1, math.ceil(window.col_end * across) + 1
    return Window(row, col, end[0] - row, end[1] - col).intersection(whole)


class _Png:
    """A PNG, which is verified as a whole."""

    is_checked = True

    def __init__(self) -> None:
        self._verified = False

    def fault(self, file: BlockBytes, source_window: SourceWindow) -> str | None:  # noqa: ARG002 - as `_Tiff.fault`
        """Return a description of damage in the file, checked once; None if none is known."""
        if self._verified:
            return None
        with file.holding(0, file.size) as ready:
            damage = png_fault(file) if ready else None
        self._verified = damage is None
        return damage


class FileChecks:
    """Verifier of the blocks that are read of files, each once; files are identified by their paths.

    Args:
        remote: GDAL names of files on servers that may be requested. They are verified where a window is read at full
            resolution; otherwise only GDAL knows which blocks it requests.

    Attributes:
        fetched: Whether blocks of files on servers have been verified.
    """

    def __init__(self, remote: Collection[str] = ()) -> None:
        self._remote = frozenset(filter(is_on_server, remote))
        self._open: dict[str, RemoteBytes] = {}
        self._known: OrderedDict[str, _Tiff | _Png | VirtualRaster | None] = OrderedDict()
        self.fetched = False

    def close(self) -> None:
        """Close files on servers."""
        for path in list(self._open):
            self._open.pop(path).close()

    def verify(self, source_window: SourceWindow, depth: int = 0) -> None:
        """Raise an error if the part of a file that is read is damaged.

        Raises:
            DamagedBlockError: If it is; the message names block and file.
        """
        away = (
            source_window.path in self._remote
            and source_window.window is not None
            and not source_window.reduced
        )
        if not (away or _is_here(source_window.path)) or depth > DEEPEST:
            return
        try:
            self._verify(source_window, depth)
        except DamagedBlockError:
            raise
        except (OSError, NotTiffError):
            # GDAL reports such errors itself.
            return

    def fetches(self, path: str) -> bool:
        """Check whether blocks of a file on a server are verified."""
        known = self._layout(path) if path in self._remote else None
        return isinstance(known, _Tiff | _Png) and known.is_checked

    def verify_virtual(self, virtual: VirtualRaster, source_window: SourceWindow, depth: int = 0) -> None:
        """Raise an error if the parts of its sources that a virtual raster reads are damaged; see `verify`."""
        window = source_window.window or Window(0, 0, *virtual.shape)
        for source in virtual.under(
            window, source_window.bands or virtual.bands, masked=source_window.masked
        ):
            if _is_here(source.path) or not (source_window.window is None or source_window.reduced):
                self.verify(source, depth + 1)

    def _verify(self, source_window: SourceWindow, depth: int) -> None:
        beside = [f"{source_window.path}.msk"] * source_window.masked
        beside += [f"{source_window.path}.ovr"] * source_window.reduced
        known = self._layout(source_window.path)
        if isinstance(known, VirtualRaster):
            self.verify_virtual(known, source_window, depth)
        elif known is not None:
            with self._bytes(source_window.path) as file:
                damage = known.fault(file, source_window)
            if damage is not None:
                raise DamagedBlockError(f"{damage} ({address_of(source_window.path)})")
        for path in beside:
            if path in self._remote or Path(path).is_file():
                whole = path.endswith(".ovr")
                self.verify(
                    SourceWindow(path, None if whole else source_window.window, reduced=whole), depth + 1
                )

    def _layout(self, path: str) -> _Tiff | _Png | VirtualRaster | None:
        """Return the layout of a file by its first bytes; None if it carries no supported checksum."""
        if path in self._known:
            self._known.move_to_end(path)
            return self._known[path]
        layout = self._read_layout(path)
        self._known[path] = layout
        self.fetched |= self.fetches(path)
        if len(self._known) > MOST_FILES:
            self._known.popitem(last=False)
        return layout

    def _read_layout(self, path: str) -> _Tiff | _Png | VirtualRaster | None:
        if path.lstrip().startswith("<VRTDataset"):
            return VirtualRaster(path, "")
        try:
            with self._bytes(path) as file:
                return _layout(path, file)
        except (OSError, NotTiffError):
            if path in self._remote:
                return None  # Do not request it over and over.
            raise

    @contextmanager
    def _bytes(self, path: str) -> Iterator[BlockBytes]:
        """Open a file; files on servers stay open."""
        if path not in self._remote:
            with local_bytes(path) as file:
                yield file
            return
        if path not in self._open:
            self._open[path] = RemoteBytes(path)
        yield self._open[path]


def _layout(path: str, file: BlockBytes) -> _Tiff | _Png | VirtualRaster | None:
    head = file.read_at(0, 1024)
    if head[:2] in (b"II", b"MM"):
        directories = read_directories(file)
        return _Tiff(directories) if directories else None
    if head.startswith(SIGNATURE):
        return _Png()
    if b"<VRTDataset" in head:
        try:
            text = file.read_at(0, file.size).decode("utf-8", "replace")
            return VirtualRaster(text, path.rpartition("/")[0])
        except ValueError:
            return None
    return None


def _is_here(path: str) -> bool:
    """Check whether a path is a local file, or the text of a virtual raster."""
    if path.lstrip().startswith("<VRTDataset"):
        return True
    return "://" not in path and not path.startswith("/vsi") and Path(path).is_file()


class VerifiedRaster:
    """An open raster whose blocks are verified before they are read; otherwise it behaves as the dataset.

    Args:
        dataset: The dataset that GDAL opened.
        path: The path that was opened.
        sources: Its existing sources on servers.
        files: The files that it is read from.
    """

    def __init__(
        self,
        dataset: Any,
        path: str,
        sources: RemoteSources = NOTHING_REMOTE,
        files: Collection[str] = (),
    ) -> None:
        self.dataset = dataset
        self.sources = sources
        self._path = gdal_name(path)
        self._checks = FileChecks({self._path, *files, *sources.files})
        self._virtual = _virtual_raster_of(dataset, path)

    def __getattr__(self, name: str) -> Any:
        with proxied(self.sources.proxy):
            return getattr(self.dataset, name)

    def __enter__(self) -> VerifiedRaster:
        self.dataset.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.dataset.__exit__(*error)
        self._checks.close()

    def close(self) -> None:
        """Close the raster."""
        self.dataset.close()
        self._checks.close()

    def read(self, indexes: Any = None, **options: Any) -> Any:
        """Read pixels, as ``rasterio`` does.

        Raises:
            DamagedBlockError: If a block of them is not as it was written. rasterio.errors.RasterioIOError: If they
            cannot be read, or GDAL only warns that it made some up.
        """
        for part_options in self._parts(options):
            with self.reading():
                self._verify(indexes, part_options, masked=bool(options.get("masked")))
                with self._from_cache():
                    pixels = self.dataset.read(indexes, **part_options)
        return options.get("out", pixels)

    def read_masks(self, indexes: Any = None, **options: Any) -> Any:
        """Read masks, as ``rasterio`` does; see `read`."""
        with self.reading():
            self._verify(indexes, options, masked=True)
            with self._from_cache():
                return self.dataset.read_masks(indexes, **options)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Raise an error if part of the open raster cannot be read within the block; see `read`."""
        with self.sources.reading(), collected_warnings(JPEG_DAMAGE, LOST_TAGS) as warnings:
            yield
        if warnings:
            raise rasterio.errors.RasterioIOError(warnings[0].partition(";")[0])

    def _from_cache(self) -> AbstractContextManager[None]:
        """Read verified blocks of files on servers from GDAL's cache."""
        return thread_settings(FROM_CACHE) if is_verified() and self._checks.fetched else nullcontext()

    def _parts(self, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield options that read a window of a file on a server in parts, each small enough for GDAL's cache."""
        if set(options) != {"window", "out"} or not is_verified() or not self._checks.fetches(self._path):
            yield options
            return
        where, out = _window(options["window"]), options["out"]
        rows, start = self._rows_at_once(where), where.row_off
        while start < where.row_end:
            end = min(where.row_end, start - start % self.dataset.block_shapes[0][0] + rows)
            part = RasterioWindow(where.col_off, start, where.width, end - start)
            yield {"window": part, "out": out[..., start - where.row_off : end - where.row_off, :]}
            start = end

    def _rows_at_once(self, window: Window) -> int:
        """Return the number of rows, in whole blocks, that fit into GDAL's cache."""
        height, width = self.dataset.block_shapes[0]
        across = -(-window.col_end // width) - window.col_off // width
        size = height * width * across * self.dataset.count * np.dtype(self.dataset.dtypes[0]).itemsize
        return int(height * max(1, MOST_HELD // size))

    def verify_all(self) -> None:
        """Verify the whole file; see `read`."""
        self._verify(None, {}, masked=True)

    def _verify(self, indexes: Any, options: Mapping[str, Any], *, masked: bool) -> None:
        if not is_verified():
            return
        where = options.get("window")
        window = None if where is None else _window(where)
        bands = (indexes,) if isinstance(indexes, int) else tuple(indexes or ())
        if masked and bands:
            # A mask may be derived from alpha bands.
            alphas = [at for at, kind in enumerate(self.dataset.colorinterp, 1) if kind == ColorInterp.alpha]
            bands = (*bands, *alphas)
        source_window = SourceWindow(self._path, window, bands, masked, reduced="out_shape" in options)
        if self._virtual is not None:
            self._checks.verify_virtual(self._virtual, source_window)
        else:
            self._checks.verify(source_window)


def _window(where: Any) -> Window:
    """Convert a window of ``rasterio``."""
    return Window(int(where.row_off), int(where.col_off), int(where.height), int(where.width))


def _virtual_raster_of(dataset: Any, path: str) -> VirtualRaster | None:
    """Return the virtual raster that GDAL built from a name that is no file, such as a ``vrt://`` address."""
    if dataset.driver != "VRT" or _is_here(path):
        return None
    xml = dataset.tags(ns="xml:VRT").get("xml:VRT")
    folder = gdal_name(path).rpartition("/")[0] if is_on_server(gdal_name(path)) else ""
    try:
        return VirtualRaster(xml, folder) if xml else None
    except ValueError:
        return None


class _Switch:
    """Process-wide switch for the verification of checksums."""

    on = True


def verify_blocks(on: bool) -> None:
    """Enable or disable the verification of checksums in this process from now on."""
    _Switch.on = on


def is_verified() -> bool:
    """Check whether checksums are verified in this process."""
    return _Switch.on
