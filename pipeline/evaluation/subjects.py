"""One raster with its predictions and its truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import EvaluateError
from pipeline.evaluation.plane import plane_of
from pipeline.evaluation.polygons import CLASS, read_file, with_property
from pipeline.evaluation.predicted import Predicted
from tiles.georef import Georef
from tiles.inspect import inspect_raster
from tiles.measures.label_map import LabelMapFile
from tiles.truth.pairs import outline_of, overlapping
from tiles.truth.vectors import PolygonFile, is_vector


@dataclass(frozen=True)
class Subject:
    """One raster, what was predicted of it and what is true.

    Attributes:
        predicted: Files of the prediction.
        labels: Its label map; None where there is none.
        truth: Files of polygons, or one label raster.
        georef: Grid on which both are compared.
        in_pixels: Whether the grid is that of a raster.
        image: The raster itself; None where it was not given.
    """

    predicted: Predicted
    labels: LabelMapFile | None
    truth: tuple[str, ...]
    georef: Georef
    in_pixels: bool
    image: str | None = None

    @property
    def name(self) -> str:
        """Name of the raster."""
        return self.predicted.name

    @property
    def truth_is_polygons(self) -> bool:
        """Whether its truth is polygons."""
        return is_vector(self.truth[0])


def make_subjects(
    predicted: Sequence[Predicted],
    labels: Mapping[str, LabelMapFile | None],
    truth: Sequence[str],
    images: Sequence[str],
) -> tuple[list[Subject], list[str]]:
    """Pair predictions with their truth and their rasters.

    Returns:
        The subjects, and notes on predictions without truth, and on truth and rasters without predictions.

    Raises:
        EvaluateError: If nothing pairs, or what pairs does not fit.
    """
    grids = {one.name: _own_grid(one, labels[one.name]) for one in predicted}
    grounds, idle = _paired(grids, {file: outline_of(file) for file in images})
    for name in grids:
        if labels[name] is None and grounds[name]:
            grids[name] = inspect_raster(grounds[name][0]).georef
    outlines = {file: outline_of(file) for file in truth}
    truths, unused = _paired(grids, outlines)
    if not any(truths.values()):
        raise EvaluateError(
            [
                f"no truth belongs to what was predicted: {', '.join(truth[:3])} and "
                f"{', '.join(list(grids)[:3])} share neither a name nor an area; check the CRS of both"
            ]
        )
    notes = [f"{name} has no truth and is left out" for name, files in truths.items() if not files]
    notes += [f"{file} is the truth of nothing that was predicted" for file in unused]
    notes += [f"{file} of --images is the raster of nothing that was predicted" for file in idle]
    reasons: list[str] = []
    subjects = []
    for one in predicted:
        if truths[one.name]:
            ground = grounds[one.name][0] if grounds[one.name] else None
            try:
                of = {file: outlines[file] for file in truths[one.name]}
                subjects.append(_subject(one, labels[one.name], of, ground))
            except EvaluateError as error:
                reasons += error.reasons
    if reasons:
        raise EvaluateError(reasons)
    return subjects, notes


def _own_grid(one: Predicted, labels: LabelMapFile | None) -> Georef | None:
    """Where a prediction lies, as far as it says that itself."""
    if labels is not None:
        return labels.georef
    return None if one.polygons is None else plane_of([with_property(one.polygons, CLASS)[0]])


def _paired(
    grids: Mapping[str, Georef | None], outlines: Mapping[str, PolygonFile | None]
) -> tuple[dict[str, list[str]], list[str]]:
    """Files of each raster, by name or else by overlap, and the files of none."""
    paired, left = _by_name(list(grids), list(outlines))
    lacking = {name: grid for name, grid in grids.items() if not paired[name]}
    known = {name: grid for name, grid in lacking.items() if grid is not None}
    paired |= overlapping(known, {file: outlines[file] for file in left})
    if len(grids) == 1 and not known:
        # Nothing was predicted at all: what is true was missed.
        paired |= dict.fromkeys(lacking, left)
    used = {file for some in paired.values() for file in some}
    return paired, [file for file in outlines if file not in used]


def _by_name(names: Sequence[str], files: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
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


def _subject(
    one: Predicted, labels: LabelMapFile | None, outlines: Mapping[str, PolygonFile | None], image: str | None
) -> Subject:
    """One raster with the files of its truth, whose bounds are known."""
    truth = tuple(outlines)
    rasters = [path for path in truth if not is_vector(path)]
    if rasters and len(truth) > 1:
        raise EvaluateError(
            [f"{one.name} has several truths ({', '.join(truth)}); give one label raster, or polygons alone"]
        )
    georef = labels.georef if labels is not None else _grid_of(image or next(iter(rasters), None))
    if georef is None:
        plane = plane_of([read_file(path) for path in (*truth, one.polygons) if path is not None])
        if plane is None:
            raise EvaluateError([f"{', '.join(truth)} and {one.polygons} hold no polygons"])
        return Subject(one, None, truth, plane, in_pixels=False)
    if image is not None and labels is not None:
        _check_ground(one.name, georef, image)
    empty = all(outline is None for outline in outlines.values())
    if not (empty or overlapping({one.name: georef}, outlines)[one.name]):
        raise EvaluateError([f"{', '.join(truth)} and {one.name} have no common area; check the CRS of both"])
    return Subject(one, labels, truth, georef, in_pixels=True, image=image)


def _grid_of(path: str | None) -> Georef | None:
    return None if path is None else inspect_raster(path).georef


def _check_ground(name: str, grid: Georef, image: str) -> None:
    other = inspect_raster(image).georef
    same_shape = (grid.height, grid.width) == (other.height, other.width)
    if not (same_shape and np.allclose(grid.transform, other.transform)):
        raise EvaluateError(
            [f"{image} has another grid than the label map of {name}; give the raster that was segmented"]
        )
