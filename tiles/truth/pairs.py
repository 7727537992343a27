"""Match images with their label files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.vectors.placing import footprint, polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile, VectorError, is_vector, read_bounds


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images and the label files that belong to them.

    Attributes:
        pairs: Each image that has labels, with their files, in the given order.
        images: Images without labels.
        labels: Label files without an image.
        broken: Files that could not be read, each with the reason in one sentence.
        by_name: Whether images and labels were matched by name; otherwise by footprint.
    """

    pairs: tuple[tuple[str, tuple[str, ...]], ...]
    images: tuple[str, ...]
    labels: tuple[str, ...]
    broken: tuple[tuple[str, str], ...] = ()
    by_name: bool = True


def pair(images: Sequence[str], labels: Sequence[str]) -> Pairs:
    """Match images with their label files.

    If any label file has the stem of an image, only names decide: labels belong to the images with the same stem and,
    if there are several, to those whose folder has the same name, if any. Otherwise footprints decide: labels belong
    to every image that their bounds overlap, and only the bounds of the files are read.

    Args:
        images: Paths of rasters.
        labels: Paths of label rasters and vector files.
    """
    images, labels = list(dict.fromkeys(images)), list(dict.fromkeys(labels))
    if {_stem(image) for image in images} & {_stem(label) for label in labels}:
        chosen = {
            image: [label for label in labels if image in _namesakes(label, images)] for image in images
        }
        return _pairs(chosen, labels, {})
    return _by_footprint(images, labels)


def _stem(path: str) -> str:
    return Path(path).stem


def _namesakes(label: str, images: Sequence[str]) -> list[str]:
    same = [image for image in images if _stem(image) == _stem(label)]
    nearer = [image for image in same if Path(image).parent.name == Path(label).parent.name]
    return nearer or same


def _by_footprint(images: Sequence[str], labels: Sequence[str]) -> Pairs:
    broken: dict[str, str] = {}
    places: dict[str, Georef] = {}
    outlines: dict[str, PolygonFile | None] = {}
    for image in images:
        try:
            places[image] = inspect_raster(image).georef
        except RasterError as error:
            broken[image] = str(error)
    for label in labels:
        try:
            outlines[label] = outline_of(label)
        except (RasterError, VectorError) as error:
            broken[label] = str(error)
    return _pairs(overlapping(places, outlines), labels, broken, by_name=False)


def overlapping(
    places: Mapping[str, Georef], outlines: Mapping[str, PolygonFile | None]
) -> dict[str, list[str]]:
    """Return for each image the label files whose bounds overlap it.

    Args:
        places: The georeferencing of each image.
        outlines: The bounds of each file; see `outline_of`.
    """
    return {
        image: [
            label
            for label, outline in outlines.items()
            if outline is not None and len(polygons_to_pixels(outline, georef).polygons)
        ]
        for image, georef in places.items()
    }


def outline_of(path: str) -> PolygonFile | None:
    """Return the bounds of a label file as a single polygon; None if the file has no features.

    Raises:
        RasterError, VectorError: If it cannot be read.
    """
    if is_vector(path):
        crs, bounds = read_bounds(path)
        if bounds is None:
            return None
        left, bottom, right, top = bounds
        hair = 1e-9 * max(1.0, *map(abs, bounds))
        outline = shapely.box(left - hair, bottom - hair, right + hair, top + hair)
        return PolygonFile(path, crs, np.array([outline], object), (None,))
    return footprint(path, inspect_raster(path).georef)


def _pairs(
    chosen: dict[str, list[str]], labels: Sequence[str], broken: dict[str, str], by_name: bool = True
) -> Pairs:
    used = {label for files in chosen.values() for label in files}
    return Pairs(
        tuple((image, tuple(files)) for image, files in chosen.items() if files),
        tuple(image for image, files in chosen.items() if not files),
        tuple(label for label in labels if label not in used and label not in broken),
        tuple(broken.items()),
        by_name,
    )
