"""From arguments to files, and from rasters to their ids."""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.remote_errors import file_name
from pipeline.remote_rasters import expand_remote
from pipeline.signatures import unsigned
from tiles.inspect import SUFFIXES, RasterError, is_local

VECTORS = frozenset({".geojson", ".json", ".gpkg", ".fgb", ".shp", ".parquet", ".geoparquet"})
"""Endings of the files of polygons that are taken from a folder."""
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
                paths.setdefault(unsigned(_absolute(path)), path)
        except RasterError as error:
            problems.append(str(error))
        except OSError as error:
            problems.append(f"{argument} cannot be looked at: {error.strerror}")
    return list(paths.values()), problems


def _expand_one(argument: str) -> list[str]:
    if not is_local(argument):
        return expand_remote(argument)
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


def raster_ids(paths: Sequence[str]) -> list[str]:
    """An id for each raster: the file's stem, with a hash of the path where two share one."""
    stems = [_stem(path) for path in paths]
    shared = Counter(stem.lower() for stem in stems)
    return [
        stem if shared[stem.lower()] == 1 and stem.lower() not in TAKEN else f"{stem}-{_path_hash(path)}"
        for stem, path in zip(stems, paths, strict=True)
    ]


def _stem(path: str) -> str:
    stem = Path(file_name(path)).stem
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in stem).lstrip(".") or "raster"


def _path_hash(path: str) -> str:
    return hashlib.sha256(unsigned(_absolute(path)).encode()).hexdigest()[:8]


def _absolute(path: str) -> str:
    """What tells rasters apart: links to one file stay two rasters."""
    return os.path.abspath(path) if is_local(path) else path  # noqa: PTH100 - Path.resolve follows links
