"""From raster arguments to rasters with ids."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from tiles.inspect import SUFFIXES, RasterError, is_local

TAKEN = frozenset({"manifest.json"})
"""Names in the folder of the results that are no raster's."""


def expand(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """Raster paths of arguments that are paths, directories or globs.

    Returns:
        The paths, each once and in order of the arguments, and a sentence for each argument that
        names no raster.
    """
    paths: dict[str, str] = {}
    problems: list[str] = []
    for argument in arguments:
        try:
            for path in _expand_one(argument):
                paths.setdefault(_absolute(path), path)
        except RasterError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{argument} cannot be looked at: {error.strerror}")
    return list(paths.values()), problems


def _expand_one(argument: str) -> list[str]:
    if not is_local(argument):
        return [argument]
    path = Path(argument)
    if path.is_dir():
        found = sorted(str(p) for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
        if not found:
            raise RasterError(f"{argument} is a directory without rasters ({', '.join(sorted(SUFFIXES))})")
        return found
    if path.exists() or not glob.has_magic(argument):
        return [argument]
    matches = glob.glob(argument, recursive=True)  # noqa: PTH207 - Path.glob knows no absolute patterns
    found = sorted(p for p in matches if Path(p).is_file())
    if not found:
        raise RasterError(f"no file matches {argument}")
    return found


def raster_ids(paths: Sequence[str]) -> list[str]:
    """An id for each raster: the file's stem, with a hash of the path where two share one."""
    stems = [_stem(path) for path in paths]
    shared = Counter(stem.lower() for stem in stems)
    return [
        stem if shared[stem.lower()] == 1 and stem.lower() not in TAKEN else f"{stem}-{_path_hash(path)}"
        for stem, path in zip(stems, paths, strict=True)
    ]


def _stem(path: str) -> str:
    stem = Path(path).stem
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in stem).lstrip(".") or "raster"


def _path_hash(path: str) -> str:
    return hashlib.sha256(_absolute(path).encode()).hexdigest()[:8]


def _absolute(path: str) -> str:
    """What tells rasters apart: links to one file stay two rasters."""
    return os.path.abspath(path) if is_local(path) else path  # noqa: PTH100 - Path.resolve follows links
