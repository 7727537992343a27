"""The plan of ``terraseam vectorize``: what would be done, and every reason why it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.errors import PlanError
from pipeline.polygon_plan import LabelledRaster, PolygonPlan, polygon_reasons, unknown_class_reasons
from pipeline.rasters import expand, raster_ids
from pipeline.reasons import folder_reason, result_reasons
from pipeline.vectorizing.options import VectorizeOptions
from tiles.inspect import RasterError
from tiles.label_raster import MOST, LabelRasterInfo, inspect_label_raster

OURS = "labels"
"""Stem of the label maps that Terraseam writes, each into a folder that is called like its raster."""


@dataclass(frozen=True)
class VectorizePlan:
    """What a run will do.

    Attributes:
        options: What the user asked for.
        polygons: How label maps become polygons.
        notes: What the user should know before the run, one sentence each.
    """

    options: VectorizeOptions
    polygons: PolygonPlan
    notes: tuple[str, ...] = ()


def plan_vectorize(options: VectorizeOptions) -> VectorizePlan:
    """Plan a run.

    Raises:
        PlanError: If the run cannot succeed, with every reason.
    """
    paths, reasons = expand(options.rasters)
    infos = []
    for path in paths:
        try:
            infos.append(inspect_label_raster(path))
        except RasterError as error:
            reasons.append(str(error))
    for what, folder in (("--output", options.output), ("--work", options.work)):
        reason = folder_reason(what, folder) if folder is not None else None
        reasons += [reason] if reason else []
    names = class_names(options, infos)
    reasons += [] if options.class_names else _name_reasons(infos)
    if options.class_names and len(set(names)) < len(names):
        reasons.append("--class-names names a class twice; each label has a name of its own")
    unknown = [name for name in options.classes or () if name not in names]
    reasons += unknown_class_reasons(unknown, _in_words(names), infos[0].path) if infos else []
    rasters = tuple(
        LabelledRaster(name, info.path, info.georef)
        for name, info in zip(raster_ids([name_of(info.path) for info in infos]), infos, strict=True)
    )
    wanted = options.classes
    labels = tuple(label for label, name in enumerate(names) if wanted is None or name in wanted)
    plan = PolygonPlan(options.polygons, rasters, names, labels, options.sheet, options.output, scored=False)
    notes: list[str] = []
    if options.aoi is not None:
        plan = _within(plan, options.aoi, reasons, notes)
    reasons += polygon_reasons(plan)
    reasons += result_reasons(f"{options.output.rstrip('/')}/{raster.id}" for raster in plan.rasters)
    if reasons:
        raise PlanError(reasons)
    return VectorizePlan(options, plan, tuple(notes))


def _within(plan: PolygonPlan, path: str, reasons: list[str], notes: list[str]) -> PolygonPlan:
    """A plan of the sheets that lie in an area of interest alone; as it was where that cannot be read."""
    from pipeline.aoi import areas_on, read_aoi
    from tiles.aoi import sheets_in

    aoi = read_aoi(path, reasons, notes)
    if aoi is None or not plan.rasters:
        return plan
    areas = areas_on(aoi, [(raster.path, raster.georef) for raster in plan.rasters], reasons, notes)
    rasters = tuple(
        replace(raster, sheets=tuple(sheets_in(area, plan.lattice(number))))
        for number, (raster, area) in enumerate(zip(plan.rasters, areas, strict=True))
        if area is not None
    )
    return replace(plan, rasters=rasters, aoi=aoi)


def class_names(options: VectorizeOptions, infos: Sequence[LabelRasterInfo]) -> tuple[str, ...]:
    """Names of all labels: those that were given, those that the first raster with names has, else their numbers."""
    found = next((info.names for info in infos if info.names), {})
    if options.class_names:
        found = dict(enumerate(options.class_names))
    return tuple(found.get(label, str(label)) for label in range(MOST + 1))


def _in_words(names: Sequence[str]) -> list[str]:
    """Names of labels, of which the last that are but numbers are told as a range."""
    last = MOST
    while last >= 0 and names[last] == str(last):
        last -= 1
    return [*names[: last + 1], *([f"{last + 1} to {MOST}"] if last < MOST else [])]


def _name_reasons(infos: Sequence[LabelRasterInfo]) -> list[str]:
    """Rasters that name a label otherwise than another one."""
    reasons, first = [], dict[int, tuple[str, str]]()
    for info in infos:
        for label, name in info.names.items():
            other, path = first.setdefault(label, (name, info.path))
            if other != name:
                reasons.append(
                    f"{info.path} calls the label {label} {name}, and {path} calls it {other}; vectorize them apart, or "
                    "name the labels with --class-names"
                )
    return reasons


def name_of(path: str) -> str:
    """What a label raster is called: a ``labels.tif`` like its folder, any other by its file."""
    return str(Path(path).absolute().parent) if Path(path).stem == OURS else path
