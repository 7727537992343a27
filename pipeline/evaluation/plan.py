"""What is compared with what, or every reason why nothing can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from pipeline.errors import EvaluateError
from pipeline.evaluation.classes import ClassList, are_values, class_list, names_of_polygons
from pipeline.evaluation.options import EvaluateOptions
from pipeline.evaluation.polygons import CLASS, place_area, read_file, with_property
from pipeline.evaluation.predicted import Predicted, earlier_notes, find_predicted
from pipeline.evaluation.subjects import Subject, make_subjects
from pipeline.rasters import expand_files
from pipeline.remote import prepare
from pipeline.units import count
from tiles.checksums.dataset import verify_blocks
from tiles.inspect import RasterError, inspect_raster
from tiles.measures.label_map import LabelMapFile
from tiles.sources import allow_sources
from tiles.truth.vectors import VectorError, is_vector, listed_reasons

T = TypeVar("T")


@dataclass(frozen=True)
class Evaluation:
    """All that is compared.

    Attributes:
        subjects: The rasters.
        classes: The classes.
        notes: What was left out, and why.
    """

    subjects: tuple[Subject, ...]
    classes: ClassList
    notes: tuple[str, ...]


def plan_evaluation(options: EvaluateOptions) -> Evaluation:
    """Find what is compared with what.

    Raises:
        EvaluateError: With every reason why nothing can be measured.
    """
    reasons: list[str] = []
    allow_sources(options.allow_sources)
    verify_blocks(options.verify)
    prepare((), (*options.truth, *options.images, options.aoi))
    truth, images, notes = _files(options, reasons)
    predicted: list[Predicted] = []
    try:
        predicted = find_predicted(options.predicted)
    except EvaluateError as error:
        reasons += error.reasons
    labels = {one.name: _tried(reasons, LabelMapFile, one.labels) for one in predicted}
    for one in predicted:
        _tried(reasons, lambda path: with_property(path, CLASS), one.polygons)
    if reasons:
        raise EvaluateError(reasons)
    subjects, unpaired = make_subjects(predicted, labels, truth, images)
    notes += [*earlier_notes(options.predicted, predicted), *unpaired]
    if options.aoi is not None:
        subjects, left_out = _in_area(subjects, options.aoi)
        notes += left_out
    classes = class_list(_class_names(subjects, options), options)
    _check_truth(subjects, classes, options)
    return Evaluation(tuple(subjects), classes, tuple(notes))


def _files(options: EvaluateOptions, reasons: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The files of truth and the rasters, all of which were looked at, and what is to be said of the truth."""
    notes: list[str] = []
    truth, problems = expand_files(options.truth, "--truth")
    reasons += problems
    images, problems = expand_files(options.images, "--images")
    reasons += problems
    for path in truth:
        notes += _tried(reasons, partial(_look_at, options.class_property), path) or []
    for path in images:
        _tried(reasons, inspect_raster, path)
    if options.aoi is not None and not is_vector(options.aoi):
        reasons.append(f"--aoi {options.aoi} is a raster; give a file of polygons")
    elif options.aoi is not None:
        _tried(reasons, read_file, options.aoi)
    return truth, images, notes


def _look_at(class_property: str | None, path: str) -> list[str]:
    """What is to be said of a file of truth."""
    if not is_vector(path):
        inspect_raster(path)
        return []
    file = read_file(path, class_property)
    unnamed = sum(value is None for value in file.values) if class_property is not None else 0
    notes = [f"{count(file.mended, 'invalid polygon')} mended"] * bool(file.mended)
    notes += [f"features left out: {listed_reasons(file.reasons)}"] * bool(file.reasons)
    notes += [f"{count(unnamed, 'polygon')} of no class: what they cover is left out"] * bool(unnamed)
    return [f"{path}: {note}" for note in notes]


def _tried(reasons: list[str], make: Callable[[str], T], path: str | None) -> T | None:
    try:
        return None if path is None else make(path)
    except (RasterError, VectorError) as error:
        reasons.append(str(error))
        return None


def _in_area(subjects: Sequence[Subject], aoi: str) -> tuple[list[Subject], list[str]]:
    """The subjects that share something with the area of interest, and notes on the others."""
    inside = [subject for subject in subjects if len(place_area(aoi, subject.georef))]
    if not inside:
        raise EvaluateError([f"--aoi {aoi} overlaps nothing that was predicted; check its CRS"])
    return inside, [f"{one.name} lies outside --aoi and is left out" for one in subjects if one not in inside]


def _class_names(subjects: Sequence[Subject], options: EvaluateOptions) -> tuple[str, ...]:
    """Names of the classes: of the label maps, else what was said, else what the polygons say they are."""
    maps = [subject.labels for subject in subjects if subject.labels is not None]
    named = {one.names: one.path for one in maps if one.names is not None}
    if len(named) > 1:
        first, second = list(named.items())[:2]
        raise EvaluateError(
            [
                f"{first[1]} has the classes {', '.join(first[0])}, but {second[1]} has {', '.join(second[0])}; "
                "measure what different networks predicted one by one"
            ]
        )
    if named:
        return next(iter(named))
    if maps and options.classes is None:
        raise EvaluateError(
            [
                f"{maps[0].path} names no classes; name its labels 0, 1, ... in order "
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
    return _names_of_values(subjects, values, options) or names_of_polygons(values, options)


def _numbers_to(last: int) -> tuple[str, ...]:
    return tuple(map(str, range(last + 1)))


def _names_of_values(
    subjects: Sequence[Subject], values: Sequence[str | None], options: EvaluateOptions
) -> tuple[str, ...] | None:
    """Classes of polygons that are called by the values of true label rasters; None where they are not."""
    rasters = [subject.truth[0] for subject in subjects if not subject.truth_is_polygons]
    said = {value for value in (*values, *(options.classes or ())) if value is not None}
    background = () if options.background in (None, "none") else (str(options.background),)
    if not rasters or not said or options.label_values is not None or not are_values([*said, *background]):
        return None
    numbers = {int(name) for name in [*said, *background]} | ({0} if options.background is None else set())
    for path in rasters:
        if LabelMapFile(path).names is not None:
            return None
        numbers |= LabelMapFile(path).values()
    return tuple(map(str, sorted(numbers)))


def _check_truth(subjects: Sequence[Subject], classes: ClassList, options: EvaluateOptions) -> None:
    """Check that polygons are of classes, and that there are as many values as classes."""
    reasons = []
    values = options.label_values
    if values is not None and all(subject.truth_is_polygons for subject in subjects):
        reasons.append("--label-values is for true label rasters, but the truth is polygons; leave it out")
    elif values is not None and len(values) != len(classes.names):
        reasons.append(
            f"--label-values has {len(values)} values, but there are {len(classes.names)} classes: "
            f"{', '.join(classes.names)}"
        )
    if options.class_property is not None and not any(subject.truth_is_polygons for subject in subjects):
        reasons.append("--class-property is for true polygons, but the truth is rasters; leave it out")
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
