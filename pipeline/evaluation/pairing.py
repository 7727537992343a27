"""Which truth is of which raster: by name, the rest by overlap."""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely

from tiles.georef import Georef
from tiles.inspect import inspect_raster, is_local
from tiles.truth.placing import place_polygons
from tiles.truth.vectors import PolygonFile, is_vector, read_bounds


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


def pair_by_name(names: Sequence[str], files: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Give each raster the files that are called like it.

    A lone ``labels.tif`` or ``polygons.geojson`` is called like its folder.

    Returns:
        The files of each raster, and those that are called like none.
    """
    paired: dict[str, list[str]] = {name: [] for name in names}
    left = []
    for file in files:
        path = Path(file)
        name = next((name for name in (path.stem, path.parent.name) if name in paired), None)
        left.append(file) if name is None else paired[name].append(file)
    return paired, left


def pair_by_overlap(grids: Mapping[str, Georef], files: Sequence[str]) -> dict[str, list[str]]:
    """Give each raster the files whose bounds overlap it.

    Args:
        grids: Where each raster lies.
        files: Label rasters and files of polygons.

    Raises:
        RasterError, VectorError: If one of the files cannot be read.
    """
    outlines = [(file, outline) for file in files if (outline := bounds_of(file)) is not None]
    return {
        name: [file for file, outline in outlines if len(place_polygons(outline, georef).polygons)]
        for name, georef in grids.items()
    }


def bounds_of(file: str) -> PolygonFile | None:
    """The bounds of a file as a polygon; None where it has no features."""
    if is_vector(file):
        crs, bounds = read_bounds(file)
        return None if bounds is None else _outline(file, crs, shapely.box(*_with_area(bounds)))
    georef = inspect_raster(file).georef
    corners = np.array([[0, 0], [georef.width, 0], [georef.width, georef.height], [0, georef.height]])
    return _outline(file, georef.crs, shapely.Polygon(georef.to_map(corners)))


def _with_area(bounds: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    left, bottom, right, top = bounds
    hair = 1e-9 * max(1.0, *map(abs, bounds))
    return left - hair, bottom - hair, right + hair, top + hair


def _outline(file: str, crs: str, polygon: shapely.Geometry) -> PolygonFile:
    return PolygonFile(file, crs, np.array([polygon], object), (None,))
