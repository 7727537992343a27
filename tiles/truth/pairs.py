"""Which labels are of which image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.vectors.placing import footprint, place_polygons
from terraseam.tiles.vectors.read import PolygonFile, VectorError, is_vector, read_bounds


@dataclass(frozen=True, slots=True)
class Pairs:
    """Images and the files of labels that are of them.

    Attributes:
        pairs: Each image that has labels, with their files, in the order in which they were given.
        images: Images without labels.
        labels: Files of labels without an image.
        broken: Files that could not be looked at, and why, in a sentence.
        by_name: Whether names told which labels are of which image; footprints did otherwise.
    """

    pairs: tuple[tuple[str, tuple[str, ...]], ...]
    images: tuple[str, ...]
    labels: tuple[str, ...]
    broken: tuple[tuple[str, str], ...] = ()
    by_name: bool = True


def pair(images: Sequence[str], labels: Sequence[str]) -> Pairs:
    """Tell which labels are of which image.

    Where any file of labels has the stem of an image, names alone decide: labels are of the images whose stem they
    have and, where several have it, of those among them whose folder is called like theirs, if there are any.
    Otherwise footprints decide: labels are of every image that their bounds overlap, and nothing but the bounds
    of the files is read.

    Args:
        images: Paths of rasters.
        labels: Paths of label rasters and of files of polygons.
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
    """Give each image the files of labels whose bounds overlap it.

    Args:
        places: Where each image lies.
        outlines: The bounds of each file; see `outline_of`.
    """
    return {
        image: [
            label
            for label, outline in outlines.items()
            if outline is not None and len(place_polygons(outline, georef).polygons)
        ]
        for image, georef in places.items()
    }


def outline_of(path: str) -> PolygonFile | None:
    """The bounds of a file of labels as its only polygon; None where the file has no features.

    Raises:
        RasterError, VectorError: If it cannot be looked at.
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
