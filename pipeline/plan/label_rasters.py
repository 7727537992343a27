"""Plan ``terraseam vectorize``, and collect every reason why it cannot succeed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from terraseam.models.texts import steering_characters
from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.inputs.expand import expand, names_in, raster_ids
from terraseam.pipeline.inputs.left_out import LeftOut, all_reasons
from terraseam.pipeline.inputs.remote_rasters import hidden_notes, inspect_all
from terraseam.pipeline.options.segment import DEFAULT_SHEET
from terraseam.pipeline.options.vectorize import VectorizeOptions
from terraseam.pipeline.plan.polygons import (
    LabelledRaster,
    PolygonPlan,
    sight_reasons,
    simplify_reasons,
    unknown_class_reasons,
)
from terraseam.pipeline.plan.reasons import folder_reason, result_reasons
from terraseam.pipeline.plan.runner_reasons import remote_reasons
from terraseam.pipeline.plan.storage_reasons import writing_reasons
from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.pipeline.storage.servers import prepare
from terraseam.pipeline.units import listed
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_raster import LabelRaster, LabelRasterInfo, inspect_label_raster
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.source import RasterReadError

OURS = "labels"
"""Stem of the label maps that Terraseam writes, each into a folder named after its raster."""


@dataclass(frozen=True)
class VectorizePlan:
    """The plan of a vectorize run.

    Attributes:
        options: The options of the run.
        polygons: How label maps become polygons.
        notes: Notes for the user before the run, one sentence each.
        left_out: Rasters that cannot be used.
    """

    options: VectorizeOptions
    polygons: PolygonPlan
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()


def plan_vectorize(options: VectorizeOptions) -> VectorizePlan:
    """Plan a vectorize run.

    Raises:
        PlanError: If the run cannot succeed, with every reason.
    """
    allow_sources(options.allow_sources)
    verify_blocks(options.verify)
    prepare((*options.rasters, options.aoi, options.output, options.work_folder), options.beam)
    expanded = expand(options.rasters)
    infos, broken = inspect_all(
        expanded.paths, partial(inspect_label_raster, in_pixels=options.pixel_coordinates)
    )
    ids = _ids(options, expanded.named)
    left_out = tuple(replace(entry, id=ids[entry.path]) for entry in (*broken, *expanded.unread))
    reasons = [*expanded.problems, *remote_reasons(options)]
    for option, folder in (("--output", options.output), ("--work", options.work)):
        reason = folder_reason(option, folder) if folder is not None else None
        reasons += [reason] if reason else []
    names = class_names(options, infos)
    reasons += [] if options.class_names else _name_reasons(infos)
    reasons += _twice_reasons(names) or _number_reasons(names, infos)
    labels = selected_labels(options.classes, names)
    unknown = [name for name, label in labels.items() if label is None]
    known = [*names.values(), "the numbers of other labels"] if names else ["numbers only, no names"]
    reasons += unknown_class_reasons(unknown, known, infos[0].path) if infos else []
    rasters = tuple(
        LabelledRaster(ids[info.path], info.path, info.ground, files=info.files) for info in infos
    )
    selected = None if options.classes is None else tuple(sorted(x for x in labels.values() if x is not None))
    plan = PolygonPlan(
        options.polygons, rasters, names, selected, options.sheet, options.output, scored=False
    )
    notes = [*hidden_notes(infos), *_undecoded_notes(infos, names)]
    if options.aoi is not None and not options.pixel_coordinates:
        plan = _within(plan, options.aoi, reasons, notes)
    grounds = [(info.path, info.ground) for info in infos]
    reasons += simplify_reasons(options.simplify, grounds, options.sheet)
    reasons += sight_reasons(options.polygons, grounds, options.sheet)
    reasons += _pixel_reasons(options)
    reasons += result_reasons(f"{options.output.rstrip('/')}/{raster.id}" for raster in plan.rasters)
    if reasons or options.on_error == "fail" or not infos:
        reasons += all_reasons(left_out)
    reasons = reasons or writing_reasons(options.output, options.work)
    if reasons:
        raise PlanError(reasons)
    return VectorizePlan(options, plan, tuple(notes), left_out)


def _pixel_reasons(options: VectorizeOptions) -> list[str]:
    """Return the options that need map coordinates, if polygons are in pixel coordinates."""
    of_earth = [name for name in options.formats if not FORMATS[name].in_pixels]
    chosen = (
        *((f"--format {name} needs map coordinates", "choose other formats", True) for name in of_earth),
        ("--aoi needs map coordinates", "leave it out", options.aoi is not None),
    )
    return [
        f"{conflict}, but --pixel-coordinates writes none; {hint}"
        for conflict, hint, is_set in chosen
        if is_set and options.pixel_coordinates
    ]


def _within(plan: PolygonPlan, path: str, reasons: list[str], notes: list[str]) -> PolygonPlan:
    """Restrict a plan to the sheets inside an area of interest; return it unchanged if that cannot be read."""
    from terraseam.pipeline.plan.aoi import areas_on, read_aoi
    from terraseam.tiles.vectors.aoi import sheets_in

    aoi = read_aoi(path, reasons, notes)
    if aoi is None or not plan.rasters:
        return plan
    placed = [(raster.path, raster.ground) for raster in plan.rasters if isinstance(raster.ground, Georef)]
    areas = areas_on(aoi, placed, reasons, notes)
    rasters = tuple(
        replace(raster, sheets=tuple(sheets_in(area, plan.lattice(number))))
        for number, (raster, area) in enumerate(zip(plan.rasters, areas, strict=True))
        if area is not None
    )
    return replace(plan, rasters=rasters, aoi=aoi)


def class_names(options: VectorizeOptions, infos: Sequence[LabelRasterInfo]) -> dict[int, str]:
    """Return the names of labels: from ``--class-names`` if given, else from the rasters."""
    if options.class_names:
        return dict(options.class_names)
    names = {label: name for info in reversed(infos) for label, name in info.names.items()}
    return dict(sorted(names.items()))


def _undecoded_notes(infos: Sequence[LabelRasterInfo], names: Mapping[int, str]) -> list[str]:
    """Return notes on labels whose names are ignored because they are not UTF-8."""
    notes = []
    for info in infos:
        lost = [label for label in info.undecoded if label not in names]
        if lost:
            example = ",".join(f"{label}=NAME" for label in lost)
            notes.append(
                f"{info.path} names the labels {listed(map(str, lost))} in an encoding that is not UTF-8, which is not "
                f"read; name them with --class-names {example}"
            )
    return notes


def selected_labels(classes: Sequence[str] | None, names: Mapping[int, str]) -> dict[str, int | None]:
    """Return the label of each selected class, by name, or by number if unnamed; None if there is no such class."""
    by_name = {name: label for label, name in names.items()}
    labels = {}
    for name in classes or ():
        number = _number(name)
        labels[name] = by_name.get(name, None if number in names else number)
    return labels


def _number(name: str) -> int | None:
    """Return the label that a name spells as a number; None for other names."""
    return int(name) if re.fullmatch(r"0|-?[1-9][0-9]*", name) else None


def _twice_reasons(names: Mapping[int, str]) -> list[str]:
    """Return a reason for each label that shares its name with another."""
    reasons, first = [], dict[str, int]()
    for label, name in names.items():
        twin = first.setdefault(name, label)
        if twin != label:
            reasons.append(
                f"the labels {twin} and {label} are both called {name}; give each a unique name with --class-names"
            )
    return reasons


def _number_reasons(names: Mapping[int, str], infos: Sequence[LabelRasterInfo]) -> list[str]:
    """Return a reason for each label named like another, unnamed label that occurs; reads rasters to find out."""
    numbers = {number: label for label, name in names.items() if (number := _number(name)) is not None}
    doubtful = [number for number, label in numbers.items() if number != label and number not in names]
    reasons = []
    for info in infos if doubtful else ():
        for number in _occurring(info, doubtful):
            doubtful.remove(number)
            label = numbers[number]
            reasons.append(
                f"the labels {number} and {label} are both called {number} in {info.path}; give each a unique name with "
                "--class-names"
            )
    return reasons


def _occurring(info: LabelRasterInfo, labels: Sequence[int]) -> list[int]:
    """Return which of some labels occur in a raster; none if it is unreadable, which the run itself reports."""
    raster, occurring = LabelRaster(info.path, info.files), set[int]()
    height, width = info.ground.height, info.ground.width
    try:
        for row in range(0, height, DEFAULT_SHEET):
            for col in range(0, width, DEFAULT_SHEET):
                coded = raster.read(Window(row, col, DEFAULT_SHEET, DEFAULT_SHEET))
                known = set(coded.table[np.unique(coded.codes)].tolist())
                occurring |= known.intersection(labels)
    except RasterReadError:
        return []
    return [label for label in labels if label in occurring]


def _name_reasons(infos: Sequence[LabelRasterInfo]) -> list[str]:
    """Return a reason for each label that rasters name differently, or whose name has control characters."""
    reasons, first = [], dict[int, tuple[str, str]]()
    for info in infos:
        for label, name in info.names.items():
            if steering := steering_characters(name):
                reasons.append(
                    f"{info.path} calls the label {label} {name!r}, which has {', '.join(steering)} in it; name the labels "
                    "with --class-names"
                )
            other, path = first.setdefault(label, (name, info.path))
            if other != name:
                reasons.append(
                    f"{info.path} calls the label {label} {name}, and {path} calls it {other}; vectorize them "
                    "separately, or "
                    "name the labels with --class-names"
                )
    return reasons


def _ids(options: VectorizeOptions, paths: Sequence[str]) -> dict[str, str]:
    """Return the id of each raster by its path, whether it can be used or not."""
    ids = raster_ids(paths, list(map(name_of, paths)), names_in(options.output, options.work))
    return dict(zip(paths, ids, strict=True))


def name_of(path: str) -> str:
    """Return the name of a label raster: the folder of a ``labels.tif``, else the path of the file."""
    return str(Path(path).absolute().parent) if Path(path).stem == OURS else path
