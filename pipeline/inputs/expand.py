"""Expand arguments to files, and derive ids for rasters."""

from __future__ import annotations

import glob
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.inputs.remote_rasters import UnreadError, expand_remote
from terraseam.pipeline.secrets import unsigned
from terraseam.pipeline.storage.errors import file_name
from terraseam.tiles.raster.inspect import SUFFIXES, RasterError, is_local

VECTORS = frozenset({".geojson", ".json", ".gpkg", ".fgb", ".shp", ".parquet", ".geoparquet"})
"""Suffixes of the polygon files that are read from a folder."""
TAKEN = frozenset({"manifest.json", "quarantine.geojson", "history"})
"""Reserved names in the output folder."""


@dataclass(frozen=True)
class Expanded:
    """The rasters that arguments expand to.

    Attributes:
        paths: Paths of the rasters, without duplicates, in order of the arguments.
        problems: A sentence for each argument that matches no raster.
        unread: Remote rasters that could not be checked.
    """

    paths: list[str]
    problems: list[str]
    unread: list[LeftOut]

    @property
    def named(self) -> list[str]:
        """Paths of all rasters, including those that could not be checked."""
        return [*self.paths, *(raster.path for raster in self.unread)]


def expand(arguments: Iterable[str]) -> Expanded:
    """Expand paths, directories, globs and addresses to rasters."""
    paths: dict[str, str] = {}
    problems: list[str] = []
    unread: dict[str, LeftOut] = {}
    for argument in arguments:
        try:
            for path in _expand_argument(argument):
                paths.setdefault(unsigned(_absolute(path)), path)
        except UnreadError as error:
            unread.setdefault(unsigned(_absolute(argument)), LeftOut(argument, (str(error),)))
        except RasterError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{argument} cannot be accessed: {error.strerror}")
    raster_paths = list(paths.values())
    return Expanded(raster_paths, problems, [raster for path, raster in unread.items() if path not in paths])


def _expand_argument(argument: str) -> list[str]:
    if not is_local(argument):
        return expand_remote(argument)
    path = Path(argument)
    if path.is_dir():
        rasters = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.is_dir())
        if not rasters:
            raise RasterError(f"{argument} is a directory without rasters ({', '.join(sorted(SUFFIXES))})")
        return rasters
    if path.exists():
        return [argument]
    if not glob.has_magic(argument):
        raise RasterError(f"{argument} does not exist")
    matches = glob.glob(argument, recursive=True)  # noqa: PTH207 - Path.glob knows no absolute patterns
    rasters = sorted(p for p in matches if not Path(p).is_dir())
    if not rasters:
        raise RasterError(f"no file matches {argument}")
    return rasters


def expand_files(arguments: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """Expand paths and globs to files, without duplicates.

    Returns:
        The files, and a sentence for each argument that matches none.
    """
    files, problems = dict[str, None](), []
    for argument in arguments:
        known = not is_local(argument) or Path(argument).exists()
        matches = [argument] if known else sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
        if not matches:
            problems.append(
                f"no file matches {option} {argument}"
                if glob.has_magic(argument)
                else f"{option} {argument} does not exist"
            )
        files.update(dict.fromkeys(matches))
    return list(files), problems


def label_files(paths: Sequence[str]) -> list[str]:
    """Replace folders by the polygon files in them, or by the rasters if there are none."""
    label_paths = []
    for path in paths:
        if not Path(path).is_dir():
            label_paths.append(path)
            continue
        suffixes = {*VECTORS, *SUFFIXES}
        inside = sorted(str(file) for file in Path(path).iterdir() if file.suffix.lower() in suffixes)
        vectors = [file for file in inside if Path(file).suffix.lower() in VECTORS]
        label_paths += vectors or inside or [path]
    return label_paths


def raster_ids(
    paths: Sequence[str], names: Sequence[str] | None = None, taken: Iterable[str] = ()
) -> list[str]:
    """Return an id for each raster, unique on any filesystem: the file's stem, with a hash only if needed.

    Args:
        paths: Paths of the rasters, without duplicates.
        names: Paths that ids are derived from; None for `paths`.
        taken: Further reserved names in the output folder.
    """
    named = list(zip(paths, names or paths, strict=True))
    used = {_folded(name) for name in (*TAKEN, *taken)}
    lengths = [0 if len(_stem(name).encode()) <= LONGEST_ID else _HASHES[0] for _, name in named]
    while True:
        ids = [_id(*pair, length) for pair, length in zip(named, lengths, strict=True)]
        shared = Counter(_folded(raster_id) for raster_id in ids)
        again = [shared[_folded(raster_id)] > 1 or _folded(raster_id) in used for raster_id in ids]
        longer = [_longer(length) if more else length for length, more in zip(lengths, again, strict=True)]
        if longer == lengths:
            return ids
        lengths = longer


def names_in(output: str, work: str | None) -> list[str]:
    """Return the name that a work folder inside the output folder reserves there, if any."""
    if work is None or not (is_local(output) and is_local(work)):
        return []
    first = os.path.relpath(os.path.realpath(work), os.path.realpath(output)).partition(os.sep)[0]
    return [] if first in {os.curdir, os.pardir} else [first]


LONGEST_ID = 216
"""Longest id, in bytes: file names add up to 39 to it, and most filesystems allow 255."""

_HASHES = (8, 16, 64)
"""Number of hash digits appended to an id; more if fewer are not unique."""


def _longer(length: int) -> int:
    return next((more for more in _HASHES if more > length), _HASHES[-1])


def _id(path: str, name: str, length: int) -> str:
    """Return the id of a raster with `length` digits of a hash."""
    if not length:
        return _stem(name)
    # Two rasters in one folder may both be named after it: longer hashes are those of their own paths.
    digits = _path_hash(name if length == _HASHES[0] else path)[:length]
    return f"{_shortened(_stem(name), LONGEST_ID - 1 - length)}-{digits}"


def _shortened(text: str, most: int) -> str:
    """Truncate a text to at most `most` bytes of UTF-8."""
    return text.encode()[:most].decode(errors="ignore")


def _folded(name: str) -> str:
    """Normalize a name as case-insensitive, Unicode-normalizing filesystems do."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(path: str) -> str:
    stem = Path(file_name(path)).stem
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in stem).lstrip(".") or "raster"


def _path_hash(path: str) -> str:
    return hashlib.sha256(unsigned(_absolute(path)).encode()).hexdigest()


def _absolute(path: str) -> str:
    """Return the absolute path; links are not followed, so that two links to one file stay two rasters."""
    return os.path.abspath(path) if is_local(path) else path  # noqa: PTH100 - Path.resolve follows links
