"""Pair the prediction of each raster with its ground truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from terraseam.pipeline.errors import EvaluateError
from terraseam.pipeline.evaluation.plane import plane_of
from terraseam.pipeline.evaluation.polygons import CLASS, read_file, with_property
from terraseam.pipeline.evaluation.predicted import Predicted
from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.storage.watched_files import WatchedFiles
from terraseam.tiles.measures.label_map import LabelMapFile
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.truth.pairs import overlapping
from terraseam.tiles.vectors.read import PolygonFile, is_vector


@dataclass(frozen=True)
class Subject:
    """A raster with its prediction and its ground truth.

    Attributes:
        predicted: Files of the prediction.
        labels: Its label map; None if there is none.
        truth: Paths of polygon files, or of one label raster.
        georef: Grid on which both are compared.
        in_pixels: Whether the grid is that of a raster.
        image: Path of the raster itself; None if not given.
        watched: All of these files.
    """

    predicted: Predicted
    labels: LabelMapFile | None
    truth: tuple[str, ...]
    georef: Georef
    in_pixels: bool
    image: str | None = None
    watched: tuple[WatchedFiles, ...] = ()

    @property
    def name(self) -> str:
        """Name of the raster."""
        return self.predicted.name

    @property
    def truth_is_polygons(self) -> bool:
        """Whether its ground truth is polygons."""
        return is_vector(self.truth[0])

    def left_out(self, error: Exception) -> LeftOut:
        """Return the record that the raster is left out because of an error."""
        return LeftOut(self.predicted.path, reasons_of(error), self.georef, self.name)


def reasons_of(error: Exception) -> tuple[str, ...]:
    """Return why a file cannot be used, one sentence each."""
    if isinstance(error, EvaluateError):
        return error.reasons
    if isinstance(error, OSError) and error.strerror and error.filename:
        return (f"{error.filename} cannot be read: {error.strerror}",)
    return (str(error),)


@dataclass(frozen=True)
class ComparedFiles:
    """The files to compare, after a first check.

    Attributes:
        predicted: The predictions.
        labels: The label map of each, by its name; None if there is none.
        truth: Bounds of the ground truth files, see `outline_of`; None for empty or unreadable ones.
        images: Bounds of the segmented rasters, likewise.
        broken: Why files cannot be read, by file.
    """

    predicted: Sequence[Predicted]
    labels: Mapping[str, LabelMapFile | None]
    truth: Mapping[str, PolygonFile | None]
    images: Mapping[str, PolygonFile | None]
    broken: Mapping[str, tuple[str, ...]]


@dataclass
class SubjectDraft:
    """A plan of comparisons while it is put together.

    Attributes:
        subjects: The rasters to measure.
        left_out: Rasters that cannot be measured, and unreadable files that belong to none.
        notes: Notes for the user, one sentence each.
    """

    subjects: list[Subject] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, subject: Subject, error: Exception) -> None:
        """Leave out a raster because of an error."""
        self.subjects.remove(subject)
        self.left_out.append(subject.left_out(error))


def make_subjects(inputs: ComparedFiles) -> SubjectDraft:
    """Pair predictions with their ground truth and their rasters.

    Rasters with unreadable or mismatched files are left out.

    Raises:
        EvaluateError: If nothing pairs.
    """
    broken, labels = inputs.broken, inputs.labels
    own = {
        prediction.name: [reason for file in prediction.files for reason in broken.get(file, ())]
        for prediction in inputs.predicted
    }
    grids = {
        prediction.name: None if own[prediction.name] else _own_grid(prediction, labels[prediction.name])
        for prediction in inputs.predicted
    }
    images, idle = _paired(grids, inputs.images)
    for name in grids:
        if labels[name] is None and images[name] and images[name][0] not in broken:
            grids[name] = inspect_raster(images[name][0]).georef
    truths, unused = _paired(grids, inputs.truth)
    draft = SubjectDraft()
    for prediction in inputs.predicted:
        image, truth = images[prediction.name][:1], truths[prediction.name]
        wrong = [
            *own[prediction.name],
            *(reason for file in (*image, *truth) for reason in broken.get(file, ())),
        ]
        if wrong:
            draft.left_out.append(
                LeftOut(prediction.path, tuple(dict.fromkeys(wrong)), grids[prediction.name], prediction.name)
            )
        elif not truth:
            draft.notes.append(f"{prediction.name} has no ground truth and is skipped")
        else:
            try:
                of = {file: inputs.truth[file] for file in truth}
                subject = _subject(prediction, labels[prediction.name], of, image, inputs.images)
                watched = tuple(map(_watched, (*prediction.files, *truth, *image)))
                draft.subjects.append(replace(subject, watched=watched))
            except (EvaluateError, RasterError) as error:
                draft.left_out.append(
                    LeftOut(prediction.path, reasons_of(error), grids[prediction.name], prediction.name)
                )
    _report_unpaired(inputs, draft, unused, idle)
    return draft


def _report_unpaired(
    inputs: ComparedFiles, draft: SubjectDraft, unused: Sequence[str], idle: Sequence[str]
) -> None:
    """Report files that belong to no prediction.

    Raises:
        EvaluateError: If no ground truth belongs to any prediction.
    """
    draft.left_out += [
        LeftOut(file, inputs.broken[file]) for file in (*unused, *idle) if file in inputs.broken
    ]
    if not (draft.subjects or draft.left_out):
        names = [prediction.name for prediction in inputs.predicted]
        raise EvaluateError(
            [
                f"no ground truth matches the predictions: {', '.join(list(inputs.truth)[:3])} and "
                f"{', '.join(names[:3])} share neither a name nor an area; check the CRS of both"
            ]
        )
    whole = [file for file in unused if file not in inputs.broken]
    draft.notes += [f"{file} matches no prediction" for file in whole]
    draft.notes += [f"{file} of --images matches no prediction" for file in idle if file not in inputs.broken]


def _own_grid(prediction: Predicted, labels: LabelMapFile | None) -> Georef | None:
    """Return the grid of a prediction, as far as its own files define it."""
    if labels is not None:
        return labels.georef
    return None if prediction.polygons is None else plane_of([with_property(prediction.polygons, CLASS)[0]])


def _paired(
    grids: Mapping[str, Georef | None], outlines: Mapping[str, PolygonFile | None]
) -> tuple[dict[str, list[str]], list[str]]:
    """Return the files of each raster, paired by name or else by overlap, and the unpaired files."""
    paired, left = _by_name(list(grids), list(outlines))
    lacking = {name: grid for name, grid in grids.items() if not paired[name]}
    known = {name: grid for name, grid in lacking.items() if grid is not None}
    paired |= overlapping(known, {file: outlines[file] for file in left})
    if len(grids) == 1 and not known:
        # Nothing was predicted at all: the whole ground truth was missed.
        paired |= dict.fromkeys(lacking, left)
    used = {file for group in paired.values() for file in group}
    return paired, [file for file in outlines if file not in used]


def _by_name(names: Sequence[str], files: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Pair files with the rasters they are named after.

    A file may also be in a folder with the name of the raster, such as ``NAME/labels.tif``.

    Returns:
        The files of each raster, and the unpaired files.
    """
    paired: dict[str, list[str]] = {name: [] for name in names}
    left = []
    for file in files:
        path = Path(file)
        name = next((name for name in (path.stem, path.parent.name) if name in paired), None)
        left.append(file) if name is None else paired[name].append(file)
    return paired, left


def _subject(
    prediction: Predicted,
    labels: LabelMapFile | None,
    outlines: Mapping[str, PolygonFile | None],
    image: Sequence[str],
    grounds: Mapping[str, PolygonFile | None],
) -> Subject:
    """Return a raster with its ground truth and image, after checking that they overlap.

    Raises:
        EvaluateError: If the files are ambiguous, hold no polygons, or do not overlap.
    """
    truth = tuple(outlines)
    rasters = [path for path in truth if not is_vector(path)]
    if rasters and len(truth) > 1:
        raise EvaluateError(
            [
                f"{prediction.name} has several ground truth files ({', '.join(truth)}); give one label raster, "
                "or only polygons"
            ]
        )
    georef = labels.georef if labels is not None else _grid_of(next(iter([*image, *rasters]), None))
    if georef is None:
        plane = plane_of([read_file(path) for path in (*truth, prediction.polygons) if path is not None])
        if plane is None:
            raise EvaluateError([f"{', '.join(truth)} and {prediction.polygons} hold no polygons"])
        return Subject(prediction, None, truth, plane, in_pixels=False)
    if image and not _meet(prediction.name, georef, {image[0]: grounds[image[0]]}):
        raise EvaluateError(
            [
                f"{image[0]} does not overlap the prediction {prediction.name}; give the raster that was segmented"
            ]
        )
    empty = all(outline is None for outline in outlines.values())
    if not (empty or _meet(prediction.name, georef, outlines)):
        raise EvaluateError(
            [f"{', '.join(truth)} and {prediction.name} do not overlap; check the CRS of both"]
        )
    return Subject(prediction, labels, truth, georef, in_pixels=True, image=next(iter(image), None))


def _watched(path: str) -> WatchedFiles:
    """Return a file and the files read with it, to be checked for changes.

    Raises:
        RasterError: If the file can no longer be read.
    """
    return WatchedFiles.now(path, (path,) if is_vector(path) else inspect_raster(path).files)


def _meet(name: str, georef: Georef, outlines: Mapping[str, PolygonFile | None]) -> bool:
    """Return whether any of the files overlaps a raster."""
    return bool(overlapping({name: georef}, outlines)[name])


def _grid_of(path: str | None) -> Georef | None:
    return None if path is None else inspect_raster(path).georef
