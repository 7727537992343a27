"""Describe plans as text and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from terraseam.pipeline.inputs.left_out import left_out_notes
from terraseam.pipeline.plan.memory import planned_calls, process_memory, run_memory
from terraseam.pipeline.plan.plan import Plan, SheetForecast, reach_of
from terraseam.pipeline.plan.rasters import RasterPlan
from terraseam.pipeline.plan.workers import infer_kind, infer_machine, infer_memory
from terraseam.pipeline.units import count, format_bytes, format_gsd, format_pixels
from terraseam.tiles.grid.lattice import Halo
from terraseam.tiles.raster.georef import Georef

SHOWN = 10
"""Number of rasters listed by name; the rest is only counted."""


def describe_plan(plan: Plan, forecast: SheetForecast | None = None) -> str:
    """Return the plan as text for the terminal."""
    lines = [
        f"{raster.id}: {_raster_line(plan, number)}" for number, raster in enumerate(plan.rasters[:SHOWN])
    ]
    if len(plan.rasters) > SHOWN:
        lines.append(f"and {count(len(plan.rasters) - SHOWN, 'more raster')}")
    lines += left_out_notes(plan.left_out)
    lines += [
        "",
        f"network   {plan.card.name} {plan.card.version} ({_architecture(plan)}), "
        f"classes {', '.join(info.name for info in plan.card.classes)}",
        f"engine    {_engine(plan)}",
        f"work      {format_pixels(plan.pixels())} in {count(plan.sheet_count(), 'sheet')}, "
        f"{count(plan.tile_count(), 'tile')}",
        *([f"sheets    {_describe_forecast(forecast)}"] if forecast else []),
        f"tiles     core {plan.core} px, halo {plan.halo}, {_chips(plan)}: "
        f"{plan.computed_share():,.2f} pixels computed for each pixel of the rasters",
        f"exact     {exactness(plan)}",
    ]
    cheaper = _cheaper(plan)
    if cheaper:
        lines.append(f"cheaper   {cheaper}")
    lines += [
        f"memory    {_memory(plan)}",
        f"disk      about {format_bytes(plan.disk())} in {plan.options.work_folder} and {plan.options.output}; "
        "polygons of noisy label maps take more",
    ]
    return "\n".join([*lines, *_notes(plan)])


def _chips(plan: Plan) -> str:
    """Return the size of the largest chips, and whether others may be smaller."""
    shapes = (plan.lattice(number).chip_shape for number in range(len(plan.rasters)))
    height, width = max(shapes, key=math.prod)
    return f"read {'up to ' * (plan.cut is not None)}{height} x {width} px"


def _memory(plan: Plan) -> str:
    """Return a line on the memory a run needs, on this machine or on remote workers."""
    if plan.options.beam.is_dataflow:
        need = format_bytes(infer_memory(plan, infer_machine(plan)))
        return f"about {need} per inference worker, which runs on {infer_kind(plan)}"
    processes = plan.options.processes
    at_once = planned_calls(plan)
    here, each = plan.options.runs_here, format_bytes(_bytes_a_process(plan))
    calls = f"with {count(at_once, 'call')} of {format_bytes(plan.call_memory())} at once"
    if processes == 1 or not here:
        return f"about {each} per process on this machine, {calls}"
    whole = format_bytes(run_memory(plan, processes, at_once))
    return f"about {each} for each of {processes} workers, {calls}: {whole} including the driver"


def _bytes_a_process(plan: Plan) -> float:
    """Return the memory of each process that calls the network if the run is local, in bytes."""
    return process_memory(plan, plan.options.processes, planned_calls(plan))


def _describe_forecast(forecast: SheetForecast) -> str:
    """Return a line on how many sheets are known from an earlier run."""
    return f"{forecast.known} known, not read again; {forecast.changed} changed; {forecast.new} new"


def exactness(plan: Plan) -> str:
    """Return a sentence on how the label map relates to inference on the whole raster."""
    if plan.exact:
        sure = SURE[plan.card.reach_source]
        return f"yes: labels equal inference on the whole mirrored raster, whatever tile and sheet size{sure}"
    if plan.card.task == "instances":
        return "no: instances depend on --tile and --halo, never on sheets or workers; each appears once and whole"
    if plan.card.reach is None:
        return "no: the network has no finite reach; labels depend on --tile and --halo, never on sheets or workers"
    return "no: labels depend on --tile and --halo, never on sheets or workers"


SURE = {
    "graph": "",
    "measured": ", provided that the network's reach is right: it was measured, not derived from its graph",
    "declared": ", provided that the network's reach is right: it was declared, not derived from its graph",
}
"""The assumption behind an exact result, by the source of the reach."""


def plan_json(plan: Plan, forecast: SheetForecast | None = None) -> dict[str, Any]:
    """Return the plan as values for JSON."""
    return {
        "model": {"name": plan.card.name, "version": plan.card.version, "bundles": plan.bundles},
        "engine": plan.engine,
        "engine_why": plan.engine_why or None,
        "precision": plan.options.precision,
        "augment": plan.options.augment,
        "aoi": plan.options.aoi,
        "resample": plan.options.resample,
        "rasters": [
            {
                "id": raster.id,
                "path": raster.path,
                "height": raster.georef.height,
                "width": raster.georef.width,
                "gsd_m": raster.georef.gsd(),
                "resampled_from": resampled_from(raster),
                "bands": raster.bands,
                "sheets": list(plan.lattice(number).sheet_shape),
                "sheets_in_aoi": None if raster.sheets is None else len(raster.sheets),
                "tiles": list(plan.lattice(number).shape),
            }
            for number, raster in enumerate(plan.rasters)
        ],
        "left_out": [entry.to_json() for entry in plan.left_out],
        "pixels": plan.pixels(),
        "sheets": plan.sheet_count(),
        "sheets_ahead": asdict(forecast) if forecast else None,
        "tiles": plan.tile_count(),
        "core_px": plan.core,
        "halo_px": dict(zip(("top", "bottom", "left", "right"), plan.halo.sides, strict=True)),
        "cut_px": plan.cut,
        "sheet_px": plan.lattice(0).sheet_side,
        "stitch": plan.stitch,
        "exact": plan.exact,
        "exactness": exactness(plan),
        "reach_px": asdict(plan.card.reach) if plan.card.reach else None,
        "reach_source": plan.card.reach_source,
        "computed_share": plan.computed_share(),
        "tile_memory_bytes": plan.chip_memory(),
        "memory_bytes": round(_bytes_a_process(plan)),
        "workers": plan.options.processes if plan.options.runs_here else None,
        "disk_bytes": plan.disk(),
        "notes": list(plan.notes),
    }


def _raster_line(plan: Plan, number: int) -> str:
    raster = plan.rasters[number]
    rows, cols = plan.lattice(number).sheet_shape
    bands = ", ".join(map(str, raster.bands))
    sheets = count(rows * cols, "sheet")
    if raster.sheets is not None:
        sheets = f"{len(raster.sheets):,} of {sheets} in --aoi"
    came_from = f"resampled from {_grid(raster.regrid.old)}, " if raster.regrid else ""
    return f"{_grid(raster.georef)}, {came_from}bands {bands}, {sheets} ({raster.path})"


def _grid(georef: Georef) -> str:
    return f"{georef.width} x {georef.height} px, {format_gsd(georef.gsd())}"


def resampled_from(raster: RasterPlan) -> dict[str, Any] | None:
    """Return the grid of a raster before resampling; None if it is not resampled."""
    if raster.regrid is None:
        return None
    old = raster.regrid.old
    return {"height": old.height, "width": old.width, "gsd_m": old.gsd()}


def _architecture(plan: Plan) -> str:
    encoder = f" on {plan.card.encoder}" if plan.card.encoder else ""
    return f"{plan.card.architecture}{encoder}, stride {plan.card.stride}"


def _engine(plan: Plan) -> str:
    """Return a line on the engine, its precision and what scores are averaged over."""
    averaged = [count(len(plan.cards), "network")] * (len(plan.cards) > 1)
    averaged += ["the 8 symmetries of each tile"] * plan.options.augment
    mean = f"; scores averaged over {' and '.join(averaged)}" if averaged else ""
    why = f" ({plan.engine_why})" if plan.engine_why else ""
    return f"{plan.engine}{why}, {plan.options.precision}{mean}"


def _cheaper(plan: Plan) -> str | None:
    """Suggest a cheaper halo, or None: the smallest exact one if the halo is larger, else an inexact one."""
    reach = reach_of(plan.card)
    if not plan.exact or reach is None:
        return None
    needed = reach.rounded_up(plan.card.stride)
    if needed != plan.halo:
        share = replace(plan, halo=needed).computed_share()
        return f"--halo auto computes {share:,.2f} pixels for each, and is as exact"
    side = max(plan.halo.sides) // 2 // plan.card.stride * plan.card.stride
    # A run that is not exact does not cut tiles, see `cut_step`.
    share = replace(plan, halo=Halo(side, side, side, side), cut=None).computed_share()
    if share > 0.98 * plan.computed_share():
        return None
    return (
        f"--halo {side} computes {share:,.2f} pixels for each, "
        "but labels near seams between tiles may differ from the whole raster's"
    )


def _notes(plan: Plan) -> list[str]:
    return [""] * bool(plan.notes) + list(plan.notes)
