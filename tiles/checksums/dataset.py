"""Open rasters whose blocks are verified before their pixels are read."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rasterio
from rasterio.enums import ColorInterp

from terraseam.tiles.access.gdal_library import proxied
from terraseam.tiles.access.gdal_warnings import JPEG_DAMAGE, LOST_TAGS, hearing
from terraseam.tiles.access.remote_sources import NOTHING_REMOTE, RemoteSources
from terraseam.tiles.access.tiff import LocalBytes, NotTiffError, local_bytes
from terraseam.tiles.checksums.png import SIGNATURE, png_fault
from terraseam.tiles.checksums.tiff import Directory, read_directories
from terraseam.tiles.checksums.vrt import SourceWindow, VirtualRaster
from terraseam.tiles.grid.window import Window

MOST_FILES = 64
"""Sources of a virtual raster whose layout is remembered, with the blocks of them that were verified."""
DEEPEST = 32
"""How deep virtual rasters may lie in each other before they are taken for a circle."""


class DamagedBlockError(rasterio.errors.RasterioIOError):
    """A part of a file is not as it was written."""


class _Tiff:
    """A TIFF: its main picture, its mask and its overviews."""

    def __init__(self, directories: list[Directory]) -> None:
        self._main = directories[:1]
        alike = [one for one in directories[1:] if one.shape == directories[0].shape]
        self._masks = [one for one in alike if one.is_mask]
        self._reduced = [one for one in directories[1:] if one.is_reduced]

    def fault(self, file: LocalBytes, wanted: SourceWindow) -> str | None:
        """Look for damage of what is read."""
        chosen = [*self._main]
        chosen += self._masks if wanted.masked else []
        chosen += self._reduced if wanted.reduced else []
        for one in chosen:
            window = _scaled(wanted.window, self._main[0].shape, one.shape)
            if window is not None:
                found = one.verify(file, window, wanted.bands or range(1, one.planes + 1))
                if found is not None:
                    return found
        return None


def _scaled(window: Window | None, shape: tuple[int, int], other: tuple[int, int]) -> Window | None:
    """A window of a picture as one of a picture of another size; the whole of it for None."""
    whole = Window(0, 0, *other)
    if window is None or shape == other:
        return whole if window is None else window.intersection(whole)
    down, across = other[0] / shape[0], other[1] / shape[1]
    row, col = math.floor(window.row_off * down) - 1, math.floor(window.col_off * across) - 1
    end = math.ceil(window.row_end * down) + 1, math.ceil(window.col_end * across) + 1
    return Window(row, col, end[0] - row, end[1] - col).intersection(whole)


class _Png:
    """A PNG, all of which is verified at once."""

    def __init__(self) -> None:
        self._verified = False

    def fault(self, file: LocalBytes, wanted: SourceWindow) -> str | None:  # noqa: ARG002 - as `_Tiff.fault`
        """Look for damage of the file, once."""
        found = None if self._verified else png_fault(file)
        self._verified = found is None
        return found


class FileChecks:
    """Verifies what is read of files, each block once; files are told by their paths.

    Only files on this machine are; of others nothing is known.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Tiff | _Png | VirtualRaster | None] = OrderedDict()

    def verify(self, wanted: SourceWindow, depth: int = 0) -> None:
        """Raise an error if what is read of a file is damaged.

        Raises:
            DamagedBlockError: If it is; it names block and file.
        """
        if not _is_here(wanted.path) or depth > DEEPEST:
            return
        try:
            self._verify(wanted, depth)
        except DamagedBlockError:
            raise
        except (OSError, NotTiffError):
            # What GDAL makes of it, it says itself.
            return

    def verify_virtual(self, virtual: VirtualRaster, wanted: SourceWindow, depth: int = 0) -> None:
        """Raise an error if what a virtual raster reads of its sources is damaged; see `verify`."""
        window = wanted.window or Window(0, 0, *virtual.shape)
        for source in virtual.under(window, wanted.bands or virtual.bands, masked=wanted.masked):
            self.verify(source, depth + 1)

    def _verify(self, wanted: SourceWindow, depth: int) -> None:
        beside = [f"{wanted.path}.msk"] * wanted.masked + [f"{wanted.path}.ovr"] * wanted.reduced
        known = self._layout(wanted.path)
        if isinstance(known, VirtualRaster):
            self.verify_virtual(known, wanted, depth)
        elif known is not None:
            with local_bytes(wanted.path) as file:
                found = known.fault(file, wanted)
            if found is not None:
                raise DamagedBlockError(f"{found} ({wanted.path})")
        for path in beside:
            if Path(path).is_file():
                whole = path.endswith(".ovr")
                self.verify(SourceWindow(path, None if whole else wanted.window, reduced=whole), depth + 1)

    def _layout(self, path: str) -> _Tiff | _Png | VirtualRaster | None:
        """What is known of a file, by its first bytes; None where it carries no checksum that is known here."""
        if path in self._known:
            self._known.move_to_end(path)
            return self._known[path]
        found = _layout(path)
        self._known[path] = found
        if len(self._known) > MOST_FILES:
            self._known.popitem(last=False)
        return found


def _layout(path: str) -> _Tiff | _Png | VirtualRaster | None:
    if path.lstrip().startswith("<VRTDataset"):
        return VirtualRaster(path, "")
    with local_bytes(path) as file:
        head = file.read_at(0, 1024)
        if head[:2] in (b"II", b"MM"):
            directories = read_directories(file)
            return _Tiff(directories) if directories else None
    if head.startswith(SIGNATURE):
        return _Png()
    if b"<VRTDataset" in head:
        try:
            return VirtualRaster(Path(path).read_text("utf-8", "replace"), str(Path(path).parent))
        except ValueError:
            return None
    return None


def _is_here(path: str) -> bool:
    """Whether a path is a file of this machine, or a virtual raster in words."""
    if path.lstrip().startswith("<VRTDataset"):
        return True
    return "://" not in path and not path.startswith("/vsi") and Path(path).is_file()


class VerifiedRaster:
    """An open raster whose blocks are verified before they are read; in all else it is the dataset.

    Args:
        dataset: What GDAL has opened.
        path: What was opened.
        sources: What is there of its sources on servers.
    """

    def __init__(self, dataset: Any, path: str, sources: RemoteSources = NOTHING_REMOTE) -> None:
        self.dataset = dataset
        self.sources = sources
        self._path = path
        self._checks = FileChecks()
        self._virtual = _virtual_words(dataset, path)

    def __getattr__(self, name: str) -> Any:
        with proxied(self.sources.proxy):
            return getattr(self.dataset, name)

    def __enter__(self) -> VerifiedRaster:
        self.dataset.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.dataset.__exit__(*error)

    def read(self, indexes: Any = None, **options: Any) -> Any:
        """Read pixels, as ``rasterio`` does.

        Raises:
            DamagedBlockError: If a block of them is not as it was written.
            rasterio.errors.RasterioIOError: If they cannot be read, or GDAL only warns of what it has made up.
        """
        self._verify(indexes, options, masked=bool(options.get("masked")))
        with self.reading():
            return self.dataset.read(indexes, **options)

    def read_masks(self, indexes: Any = None, **options: Any) -> Any:
        """Read masks, as ``rasterio`` does; see `read`."""
        self._verify(indexes, options, masked=True)
        with self.reading():
            return self.dataset.read_masks(indexes, **options)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Read what is open within the block, and raise an error if something of it could not be read; see `read`."""
        with self.sources.reading(), hearing(JPEG_DAMAGE, LOST_TAGS) as warnings:
            yield
        if warnings:
            raise rasterio.errors.RasterioIOError(warnings[0].partition(";")[0])

    def verify_all(self) -> None:
        """Verify all of the file; see `read`."""
        self._verify(None, {}, masked=True)

    def _verify(self, indexes: Any, options: Mapping[str, Any], *, masked: bool) -> None:
        if not is_verified():
            return
        where = options.get("window")
        window = None
        if where is not None:
            row, col = int(where.row_off), int(where.col_off)
            window = Window(row, col, int(where.height), int(where.width))
        bands = (indexes,) if isinstance(indexes, int) else tuple(indexes or ())
        if masked and bands:
            # A mask may be made of them.
            alphas = [at for at, kind in enumerate(self.dataset.colorinterp, 1) if kind == ColorInterp.alpha]
            bands = (*bands, *alphas)
        wanted = SourceWindow(self._path, window, bands, masked, reduced="out_shape" in options)
        if self._virtual is not None:
            self._checks.verify_virtual(self._virtual, wanted)
        else:
            self._checks.verify(wanted)


def _virtual_words(dataset: Any, path: str) -> VirtualRaster | None:
    """The virtual raster that GDAL has made of a text that is no file, such as a ``vrt://`` address."""
    if dataset.driver != "VRT" or _is_here(path):
        return None
    words = dataset.tags(ns="xml:VRT").get("xml:VRT")
    try:
        return VirtualRaster(words, "") if words else None
    except ValueError:
        return None


class _Switch:
    """Whether checksums are compared in this process."""

    on = True


def verify_blocks(on: bool) -> None:
    """Say whether checksums are compared in this process from now on."""
    _Switch.on = on


def is_verified() -> bool:
    """Whether checksums are compared in this process."""
    return _Switch.on
