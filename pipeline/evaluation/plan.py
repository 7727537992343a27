"""Plan an evaluation: pair predictions with ground truth, or raise every reason why that is impossible."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from terraseam.pipeline.errors import EvaluateError, RasterChangedError
from terraseam.pipeline.evaluation.classes import ClassList, are_values, class_list, names_of_polygons
from terraseam.pipeline.evaluation.polygons import CLASS, read_area, read_file, with_property
from terraseam.pipeline.evaluation.predicted import earlier_notes, find_predicted
from terraseam.pipeline.evaluation.subjects import (
    ComparedFiles,
    Subject,
    SubjectDraft,
    make_subjects,
    reasons_of,
)
from terraseam.pipeline.inputs.expand import expand_files
from terraseam.pipeline.inputs.left_out import LeftOut, all_reasons
from terraseam.pipeline.inputs.remote_rasters import hidden_notes, inspect_with_sidecars
from terraseam.pipeline.options.evaluate import EvaluateOptions
from terraseam.pipeline.storage.servers import prepare
from terraseam.pipeline.units import count
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.measures.label_map import LabelMapFile
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.source import RasterReadError
from terraseam.tiles.truth.label_raster import LabelRasterError
from terraseam.tiles.truth.pairs import outline_of
from terraseam.tiles.vectors.read import PolygonFile, VectorError, is_vector, listed_reasons

T = TypeVar("T")
UNUSABLE = (
    EvaluateError,
    LabelRasterError,
    OSError,
    RasterChangedError,
    RasterError,
    RasterReadError,
    VectorError,
)
"""Errors that make a single raster or one of its files unusable, while others can be measured."""


@dataclass(frozen=True)
class Evaluation:
    """The plan of an evaluation.

    Attributes:
        subjects: The rasters to measure.
        classes: The classes.
        notes: Notes for the user, one sentence each.
        left_out: Rasters that cannot be measured.
    """

    subjects: tuple[Subject, ...]
    classes: ClassList
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = ()


def plan_evaluation(options: EvaluateOptions) -> Evaluation:
    """Plan an evaluation.

    Raises:
        EvaluateError: With every reason why nothing can be measured.
    """
    allow_sources(options.allow_sources)
    verify_blocks(options.verify)
    prepare((*options.truth, *options.images, options.aoi))
    draft = _paired(options)
    _check_left_out(draft, options)
    if options.aoi is not None:
        draft.notes += _keep_inside(draft.subjects, options.aoi)
    classes = class_list(_class_names(draft, options), options)
    _check_truth(draft.subjects, classes, options)
    _check_left_out(draft, options)
    return Evaluation(tuple(draft.subjects), classes, tuple(draft.notes), tuple(draft.left_out))


def _check_left_out(draft: SubjectDraft, options: EvaluateOptions) -> None:
    """Raise an error if rasters are left out although ``--on-error`` is ``fail``, or if none remains."""
    if draft.left_out and (options.on_error == "fail" or not draft.subjects):
        raise EvaluateError(list(all_reasons(draft.left_out)))


def _paired(options: EvaluateOptions) -> SubjectDraft:
    """Pair the files given by the user.

    Raises:
        EvaluateError: If arguments match no files, or no files pair.
    """
    refused: list[str] = []
    truth, problems = expand_files(options.truth, "--truth")
    images, more = expand_files(options.images, "--images")
    refused += [*problems, *more]
    inspector = _FileInspector(options)
    outlines = {file: inspector.inspect(file, inspector.truth) for file in truth}
    grounds = {file: inspector.inspect(file, inspector.raster) for file in images}
    if options.aoi is not None and not is_vector(options.aoi):
        refused.append(f"--aoi {options.aoi} is a raster; give a file of polygons")
    elif options.aoi is not None:
        try:
            read_file(options.aoi)
        except VectorError as error:
            refused.append(str(error))
    try:
        predicted, missing = find_predicted(options.predicted)
    except EvaluateError as error:
        refused += error.reasons
        predicted, missing = [], []
    labels = {prediction.name: inspector.inspect(prediction.labels, LabelMapFile) for prediction in predicted}
    for prediction in predicted:
        inspector.inspect(prediction.polygons, partial(with_property, name=CLASS))
    broken = [reason for reasons in inspector.broken.values() for reason in reasons]
    if refused or not predicted:
        empty = [] if refused or missing else [f"--predicted {options.predicted} names no raster"]
        raise EvaluateError([*refused, *empty, *all_reasons(missing), *broken])
    draft = make_subjects(ComparedFiles(predicted, labels, outlines, grounds, inspector.broken))
    draft.left_out[:0] = missing
    named = [prediction.name for prediction in predicted] + [raster.id for raster in missing]
    draft.notes[:0] = [*inspector.notes, *earlier_notes(options.predicted, named)]
    return draft


@dataclass
class _FileInspector:
    """A check of the files given by the user, which collects its findings.

    Attributes:
        options: The options of the evaluation.
        notes: Notes for the user, one sentence each.
        broken: Why files cannot be used, by file.
    """

    options: EvaluateOptions
    notes: list[str] = field(default_factory=list)
    broken: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def inspect(self, path: str | None, check: Callable[[str], T]) -> T | None:
        """Apply a check to a file; return None if there is no file, or it cannot be used."""
        if path is None:
            return None
        try:
            return check(path)
        except UNUSABLE as error:
            self.broken[path] = reasons_of(error)
            return None

    def raster(self, path: str) -> PolygonFile | None:
        """Check a raster, and return its bounds."""
        self.notes += hidden_notes([inspect_with_sidecars(path, inspect_raster)])
        return outline_of(path)

    def truth(self, path: str) -> PolygonFile | None:
        """Check a file of ground truth, and return its bounds."""
        if not is_vector(path):
            LabelMapFile(path)
            return self.raster(path)
        class_property = self.options.class_property
        file = read_file(path, class_property)
        unnamed = sum(value is None for value in file.values) if class_property is not None else 0
        notes = [f"{count(file.mended, 'invalid polygon')} repaired"] * bool(file.mended)
        notes += [f"features skipped: {listed_reasons(file.reasons)}"] * bool(file.reasons)
        notes += [f"{count(unnamed, 'polygon')} without a class: the area they cover is ignored"] * bool(
            unnamed
        )
        self.notes += [f"{path}: {note}" for note in notes]
        return outline_of(path)


def _keep_inside(subjects: list[Subject], aoi: str) -> list[str]:
    """Keep the subjects that the area of interest overlaps; return notes on the others.

    Raises:
        EvaluateError: If there are none.
    """
    outside = [subject for subject in subjects if not len(read_area(aoi, subject.georef))]
    if len(outside) == len(subjects):
        raise EvaluateError([f"--aoi {aoi} overlaps no prediction; check its CRS"])
    subjects[:] = [subject for subject in subjects if subject not in outside]
    return [f"{subject.name} lies outside --aoi and is skipped" for subject in outside]


def _class_names(draft: SubjectDraft, options: EvaluateOptions) -> tuple[str, ...]:
    """Return the class names: from label maps, else from the options, else from polygons.

    Raises:
        EvaluateError: If label maps differ in their classes, or there are no names for their labels.
    """
    subjects = draft.subjects
    maps = [subject.labels for subject in subjects if subject.labels is not None]
    named = {label_map.names: label_map.path for label_map in maps if label_map.names is not None}
    if len(named) > 1:
        first, second = list(named.items())[:2]
        raise EvaluateError(
            [
                f"{first[1]} has the classes {', '.join(first[0])}, but {second[1]} has {', '.join(second[0])}; "
                "evaluate the predictions of different networks separately"
            ]
        )
    if named:
        return next(iter(named))
    if maps and options.classes is None:
        named_how = (
            "names classes in an encoding that is not UTF-8" if maps[0].undecoded else "names no classes"
        )
        raise EvaluateError(
            [
                f"{maps[0].path} {named_how}; name its labels 0, 1, ... in order "
                "with --classes, such as --classes background,building"
            ]
        )
    if maps and options.classes is not None:
        called_by_values = options.label_values is None and are_values(options.classes)
        return _numbers_to(max(map(int, options.classes))) if called_by_values else options.classes
    values: list[str | None] = []
    for subject in subjects:
        predicted = subject.predicted.polygons
        values += () if predicted is None else with_property(predicted, CLASS)[0].values
        if options.class_property is not None and subject.truth_is_polygons:
            values += [
                value for path in subject.truth for value in read_file(path, options.class_property).values
            ]
    return _names_of_values(draft, values, options) or names_of_polygons(values, options)


def _numbers_to(last: int) -> tuple[str, ...]:
    return tuple(map(str, range(last + 1)))


def _names_of_values(
    draft: SubjectDraft, values: Sequence[str | None], options: EvaluateOptions
) -> tuple[str, ...] | None:
    """Return the values of true label rasters as class names if polygons use these as classes; else None."""
    rasters = [subject for subject in draft.subjects if not subject.truth_is_polygons]
    names = {value for value in (*values, *(options.classes or ())) if value is not None}
    background = () if options.background in (None, "none") else (str(options.background),)
    if not rasters or not names or options.label_values is not None or not are_values([*names, *background]):
        return None
    numbers = {int(name) for name in [*names, *background]} | ({0} if options.background is None else set())
    for subject in rasters:
        labels = LabelMapFile(subject.truth[0])
        if labels.names is not None:
            return None
        try:
            numbers |= labels.values()
        except RasterReadError as error:
            draft.leave_out(subject, error)
    return tuple(map(str, sorted(numbers)))


def _check_truth(subjects: Sequence[Subject], classes: ClassList, options: EvaluateOptions) -> None:
    """Check that polygons have known classes, and that label values match the classes.

    Raises:
        EvaluateError: With every reason why they do not.
    """
    reasons = []
    values = options.label_values
    if values is not None and all(subject.truth_is_polygons for subject in subjects):
        reasons.append("--label-values is for label rasters, but the ground truth is polygons; leave it out")
    elif values is not None and len(values) != len(classes.names):
        reasons.append(
            f"--label-values has {len(values)} values, but there are {len(classes.names)} classes: "
            f"{', '.join(classes.names)}"
        )
    if options.class_property is not None and not any(subject.truth_is_polygons for subject in subjects):
        reasons.append(
            "--class-property is for polygons, but the ground truth is label rasters; leave it out"
        )
    for subject in subjects:
        try:
            for path in subject.truth if subject.truth_is_polygons else ():
                file = read_file(path, options.class_property)
                classes.labels_of(file, has_values=options.class_property is not None)
            if subject.predicted.polygons is not None and subject.truth_is_polygons:
                file, named = with_property(subject.predicted.polygons, CLASS)
                classes.labels_of(file, has_values=named)
        except VectorError as error:
            reasons.append(str(error))
        except EvaluateError as error:
            reasons += error.reasons
    if reasons:
        raise EvaluateError(reasons)
