"""From arguments to files, and from rasters to their ids."""

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
"""Endings of the files of polygons that are taken from a folder."""
TAKEN = frozenset({"manifest.json", "quarantine.geojson", "history"})
"""Names in the folder of the results that are no raster's."""


@dataclass(frozen=True)
class Expanded:
    """What arguments stand for.

    Attributes:
        paths: The rasters, each once and in order of the arguments.
        problems: A sentence for each argument that names no raster.
        unread: Rasters that could not be looked at.
    """

    paths: list[str]
    problems: list[str]
    unread: list[LeftOut]

    @property
    def named(self) -> list[str]:
        """All rasters that are named, also those that could not be looked at."""
        return [*self.paths, *(one.path for one in self.unread)]


def expand(arguments: Iterable[str]) -> Expanded:
    """Raster paths of arguments that are paths, directories or globs."""
    paths: dict[str, str] = {}
    problems: list[str] = []
    unread: dict[str, LeftOut] = {}
    for argument in arguments:
        try:
            for path in _expand_one(argument):
                paths.setdefault(unsigned(_absolute(path)), path)
        except UnreadError as error:
            unread.setdefault(unsigned(_absolute(argument)), LeftOut(argument, (str(error),)))
        except RasterError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{argument} cannot be looked at: {error.strerror}")
    found = list(paths.values())
    return Expanded(found, problems, [one for path, one in unread.items() if path not in paths])


def _expand_one(argument: str) -> list[str]:
    if not is_local(argument):
        return expand_remote(argument)
    path = Path(argument)
    if path.is_dir():
        found = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.is_dir())
        if not found:
            raise RasterError(f"{argument} is a directory without rasters ({', '.join(sorted(SUFFIXES))})")
        return found
    if path.exists():
        return [argument]
    if not glob.has_magic(argument):
        raise RasterError(f"{argument} does not exist")
    matches = glob.glob(argument, recursive=True)  # noqa: PTH207 - Path.glob knows no absolute patterns
    found = sorted(p for p in matches if not Path(p).is_dir())
    if not found:
        raise RasterError(f"no file matches {argument}")
    return found


def expand_files(arguments: Sequence[str], option: str) -> tuple[list[str], list[str]]:
    """Files of paths and globs, each once.

    Returns:
        The files, and a sentence for each argument that names none.
    """
    files, problems = dict[str, None](), []
    for argument in arguments:
        known = not is_local(argument) or Path(argument).exists()
        found = [argument] if known else sorted(glob.glob(argument, recursive=True))  # noqa: PTH207
        if not found:
            problems.append(
                f"no file matches {option} {argument}"
                if glob.has_magic(argument)
                else f"{option} {argument} does not exist"
            )
        files.update(dict.fromkeys(found))
    return list(files), problems


def label_files(paths: Sequence[str]) -> list[str]:
    """Paths, where folders give way to the files of polygons in them, or else to the rasters."""
    found = []
    for path in paths:
        if not Path(path).is_dir():
            found.append(path)
            continue
        suffixes = {*VECTORS, *SUFFIXES}
        inside = sorted(str(file) for file in Path(path).iterdir() if file.suffix.lower() in suffixes)
        vectors = [file for file in inside if Path(file).suffix.lower() in VECTORS]
        found += vectors or inside or [path]
    return found


def raster_ids(
    paths: Sequence[str], names: Sequence[str] | None = None, taken: Iterable[str] = ()
) -> list[str]:
    """An id for each raster, which no other one has on any filesystem: the file's stem, with a hash where it must.

    Args:
        paths: The rasters, each of which is named once.
        names: What they are called by; None for their paths.
        taken: What else is taken in the folder of the results.
    """
    named = list(zip(paths, names or paths, strict=True))
    used = {_folded(name) for name in (*TAKEN, *taken)}
    lengths = [0 if len(_stem(name).encode()) <= LONGEST_ID else _HASHES[0] for _, name in named]
    while True:
        ids = [_id(*one, length) for one, length in zip(named, lengths, strict=True)]
        shared = Counter(_folded(one) for one in ids)
        again = [shared[_folded(one)] > 1 or _folded(one) in used for one in ids]
        longer = [_longer(length) if more else length for length, more in zip(lengths, again, strict=True)]
        if longer == lengths:
            return ids
        lengths = longer


def names_in(output: str, work: str | None) -> list[str]:
    """What is taken in a folder of results by a folder of intermediate files that lies in it."""
    if work is None or not (is_local(output) and is_local(work)):
        return []
    first = os.path.relpath(os.path.realpath(work), os.path.realpath(output)).partition(os.sep)[0]
    return [] if first in {os.curdir, os.pardir} else [first]


LONGEST_ID = 216
"""The longest id, in bytes: files that are called like it take up to 39 more, and most filesystems 255."""

_HASHES = (8, 16, 64)
"""How many digits of a hash stand behind an id: more where fewer do not tell it from another one."""


def _longer(length: int) -> int:
    return next((more for more in _HASHES if more > length), _HASHES[-1])


def _id(path: str, name: str, length: int) -> str:
    """What a raster is called with so many digits of a hash."""
    if not length:
        return _stem(name)
    # Two rasters in one folder may be called like it: longer hashes are those of their own paths.
    digits = _path_hash(name if length == _HASHES[0] else path)[:length]
    return f"{_shortened(_stem(name), LONGEST_ID - 1 - length)}-{digits}"


def _shortened(text: str, most: int) -> str:
    """As much of a text as takes so many bytes."""
    return text.encode()[:most].decode(errors="ignore")


def _folded(name: str) -> str:
    """A name as filesystems see it that know neither case nor how letters are composed."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _stem(path: str) -> str:
    stem = Path(file_name(path)).stem
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in stem).lstrip(".") or "raster"


def _path_hash(path: str) -> str:
    return hashlib.sha256(unsigned(_absolute(path)).encode()).hexdigest()


def _absolute(path: str) -> str:
    """What tells rasters apart: links to one file stay two rasters."""
    return os.path.abspath(path) if is_local(path) else path  # noqa: PTH100 - Path.resolve follows links
