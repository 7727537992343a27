"""Plan ``terraseam vectorize``, and collect every reason why it cannot succeed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.inputs.expand import expand, names_in, raster_ids
from terraseam.pipeline.inputs.left_out import all_reasons
from terraseam.pipeline.inputs.remote_rasters import hidden_notes, inspect_all
from terraseam.pipeline.options.vectorize import VectorizeOptions
from terraseam.pipeline.plan.label_names import class_names, name_reasons, selected_labels, undecoded_notes
from terraseam.pipeline.plan.polygons import (
    LabelledRaster,
    PolygonPlan,
    VectorizePlan,
    sight_reasons,
    simplify_reasons,
    unknown_class_reasons,
)
from terraseam.pipeline.plan.reasons import folder_reason, result_reasons
from terraseam.pipeline.plan.runner_reasons import remote_reasons
from terraseam.pipeline.plan.storage_reasons import writing_reasons
from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.pipeline.storage.servers import prepare
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.labels.label_raster import LabelRasterInfo, inspect_label_raster
from terraseam.tiles.raster.georef import Georef

OURS = "labels"
"""Stem of the label maps that Terraseam writes, each into a folder named after its raster."""


@dataclass(frozen=True)
class VectorizeDraft:
    """The plan of a vectorize run before it is checked.

    Attributes:
        no_rasters: A sentence for each argument that matches no raster.
        infos: The label rasters that can be read.
        labels: The label of each selected class; None if there is no such class.
        area_reasons: Why the area of interest cannot be used, one sentence each.
        plan: The plan.
    """

    no_rasters: Sequence[str]
    infos: Sequence[LabelRasterInfo]
    labels: Mapping[str, int | None]
    area_reasons: Sequence[str]
    plan: VectorizePlan


def plan_vectorize(options: VectorizeOptions) -> VectorizePlan:
    """Plan a vectorize run.

    Raises:
        PlanError: If the run cannot succeed, with every reason.
    """
    draft = _draft(options)
    reasons = _draft_reasons(draft) or writing_reasons(options.output, options.work)
    if reasons:
        raise PlanError(reasons)
    return draft.plan


def _draft(options: VectorizeOptions) -> VectorizeDraft:
    """Inspect the label rasters, name their labels, and lay out the run."""
    allow_sources(options.allow_sources)
    verify_blocks(options.verify)
    prepare((*options.rasters, options.aoi, options.output, options.work_folder), options.beam)
    expanded = expand(options.rasters)
    infos, broken = inspect_all(
        expanded.paths, partial(inspect_label_raster, in_pixels=options.pixel_coordinates)
    )
    ids = _ids(options, expanded.named)
    left_out = tuple(replace(entry, id=ids[entry.path]) for entry in (*broken, *expanded.unread))
    names = class_names(options, infos)
    labels = selected_labels(options.classes, names)
    selected = None if options.classes is None else tuple(sorted(x for x in labels.values() if x is not None))
    rasters = tuple(
        LabelledRaster(ids[info.path], info.path, info.ground, files=info.files) for info in infos
    )
    polygons = PolygonPlan(
        options.polygons, rasters, names, selected, options.sheet, options.output, scored=False
    )
    notes, area_reasons = [*hidden_notes(infos), *undecoded_notes(infos, names)], list[str]()
    if options.aoi is not None and not options.pixel_coordinates:
        polygons = _within(polygons, options.aoi, area_reasons, notes)
    plan = VectorizePlan(options, polygons, tuple(notes), left_out)
    return VectorizeDraft(expanded.problems, infos, labels, area_reasons, plan)


def _draft_reasons(draft: VectorizeDraft) -> list[str]:
    """Return every reason why a run cannot succeed, one sentence each."""
    options, polygons, infos = draft.plan.options, draft.plan.polygons, draft.infos
    grounds = [(info.path, info.ground) for info in infos]
    reasons = [
        *draft.no_rasters,
        *remote_reasons(options),
        *_folder_reasons(options),
        *name_reasons(options, polygons.class_names, infos),
        *_class_reasons(draft),
        *draft.area_reasons,
        *simplify_reasons(options.simplify, grounds, options.sheet),
        *sight_reasons(options.polygons, grounds, options.sheet),
        *_pixel_reasons(options),
        *result_reasons(f"{options.output.rstrip('/')}/{raster.id}" for raster in polygons.rasters),
    ]
    if reasons or options.on_error == "fail" or not infos:
        reasons += all_reasons(draft.plan.left_out)
    return reasons


def _folder_reasons(options: VectorizeOptions) -> list[str]:
    """Return why the folders of results and of intermediate files cannot be written."""
    folders = (("--output", options.output), ("--work", options.work))
    reasons = [folder_reason(option, folder) for option, folder in folders if folder is not None]
    return [reason for reason in reasons if reason is not None]


def _class_reasons(draft: VectorizeDraft) -> list[str]:
    """Return a reason for each selected class that no label raster has."""
    if not draft.infos:
        return []
    names = draft.plan.polygons.class_names
    unknown = [name for name, label in draft.labels.items() if label is None]
    known = [*names.values(), "the numbers of other labels"] if names else ["numbers only, no names"]
    return unknown_class_reasons(unknown, known, draft.infos[0].path)


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


def _ids(options: VectorizeOptions, paths: Sequence[str]) -> dict[str, str]:
    """Return the id of each raster by its path, whether it can be used or not."""
    ids = raster_ids(paths, list(map(name_of, paths)), names_in(options.output, options.work))
    return dict(zip(paths, ids, strict=True))


def name_of(path: str) -> str:
    """Return the name of a label raster: the folder of a ``labels.tif``, else the path of the file."""
    return str(Path(path).absolute().parent) if Path(path).stem == OURS else path
