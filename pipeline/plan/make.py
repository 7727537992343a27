"""Make a plan: inspect every raster, read every network, and collect every reason why the run cannot succeed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from terraseam.models.bundle.card import Card
from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.inputs.expand import expand
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.checks import PlanDraft, draft_reasons
from terraseam.pipeline.plan.inputs import PlannedRasters, inspect_rasters, plan_inputs
from terraseam.pipeline.plan.memory import suits_large_tiles
from terraseam.pipeline.plan.model_reasons import model_notes
from terraseam.pipeline.plan.networks import Networks, read_networks
from terraseam.pipeline.plan.plan import Plan, reach_of
from terraseam.pipeline.plan.reasons import obstacles, sample_notes
from terraseam.pipeline.plan.runner_reasons import remote_notes
from terraseam.pipeline.plan.workers import suits_large_tiles_remotely
from terraseam.pipeline.storage.servers import prepare
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.grid.lattice import Halo
from terraseam.tiles.labels.stitch import StitchMethod
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterInfo

LARGE_TILE, LARGE_SHEET_CORES = 2048, 2
"""Side of a core in pixels, and cores along a side of a sheet, that ``--tile auto`` takes if memory suffices."""

UNBOUNDED_HALO = 128
"""Halo of networks without a finite reach if neither the user nor the card gives one, in pixels."""

CUT = 128
"""Tiles at the end of a raster are cut in steps of at least this, in pixels, so that chips have few sizes."""


def make_plan(options: SegmentOptions, *, writes: bool = True) -> Plan:
    """Plan a segmentation.

    Args:
        options: The options of the run.
        writes: Whether the run is certain to write results; if not, obstacles to writing are kept in the plan.

    Raises:
        PlanError: If the run cannot succeed, with every reason.
    """
    draft = _draft(options)
    plan, reasons = draft.plan, draft_reasons(draft)
    if plan is None or reasons:
        raise PlanError(reasons)
    plan = replace(plan, obstacles=tuple(obstacles(plan)))
    if writes and plan.obstacles:
        raise PlanError(plan.obstacles)
    return plan


def _draft(options: SegmentOptions) -> PlanDraft:
    """Inspect the rasters, read the networks, and lay out the run."""
    allow_sources(options.allow_sources)
    verify_blocks(options.verify)
    paths = (*options.rasters, *options.models, options.aoi, options.output, options.work)
    prepare(paths, options.beam)
    named = expand(options.rasters)
    infos, broken = inspect_rasters(named.paths)
    broken += named.unread
    networks, bundle_reasons = read_networks(options)
    if networks is None:
        inputs = PlannedRasters(left_out=broken)
    else:
        inputs = plan_inputs(named.named, infos, broken, networks.cards, options)
    plan = _lay_out(options, networks, inputs) if networks and inputs.rasters else None
    return PlanDraft(
        options, named.problems, bundle_reasons, networks, inputs, _grids(options, inputs, infos), plan
    )


def _grids(
    options: SegmentOptions, inputs: PlannedRasters, infos: Sequence[RasterInfo]
) -> list[tuple[str, Georef]]:
    """Return the path and grid of each raster to read; if there is none, of all that could be opened."""
    if inputs.rasters:
        return [(raster.path, raster.georef) for raster in inputs.rasters]
    return [] if options.resample else [(info.path, info.georef) for info in infos]


def _lay_out(options: SegmentOptions, networks: Networks, inputs: PlannedRasters) -> Plan:
    """Choose core, halo, sheet and stitching, and note their consequences."""
    card, kept = networks.card, networks.kept
    notes = [
        *remote_notes(options),
        *model_notes(options, networks.cards, networks.choice),
        *inputs.notes,
        *sample_notes(inputs.infos, networks.cards),
    ]
    core, sheet_cores = options.core, options.sheet_cores
    if options.sheet is not None and sheet_cores * core != options.sheet:
        notes.append(
            f"--sheet {options.sheet} is rounded to {sheet_cores * core} px: whole tiles of {core} px"
        )
    reach = reach_of(card)
    unrounded = reach or Halo(*[UNBOUNDED_HALO if card.halo is None else card.halo] * 4)
    if options.halo is not None:
        unrounded = Halo(*[options.halo] * 4)
    halo = unrounded.rounded_up(card.stride)
    if options.halo is not None and halo != unrounded:
        notes.append(f"--halo {options.halo} is rounded up to {halo}: whole strides of {card.stride} px")
    crop = reach is not None or card.task == "instances"
    stitch: StitchMethod = options.stitch or ("crop" if crop else "blend")
    exact = reach is not None and stitch == "crop" and halo.covers(reach)
    if reach is None:
        notes.append(_unbounded_note(card, halo))
    elif not exact:
        why = (
            f"the halo of {halo} is below the reach of {reach}"
            if not halo.covers(reach)
            else "blend averages tiles"
        )
        notes.append(
            f"warning: this run is not exact, because {why}: the result depends on --tile; "
            f"--halo auto --stitch crop is exact"
        )

    plan = Plan(
        options=options,
        bundles=networks.bundles,
        cards=networks.cards,
        card=card,
        engine=networks.choice.engine,
        engine_why=networks.choice.why,
        rasters=tuple(inputs.rasters),
        core=core,
        halo=halo,
        sheet_cores=sheet_cores,
        stitch=stitch,
        exact=exact,
        notes=tuple(notes),
        cut=cut_step(card.stride) if exact and (kept is None or kept.cuts) else None,
        kept=kept,
        aoi=inputs.aoi,
        left_out=tuple(inputs.left_out),
    )
    plan = _tiled(plan)
    return replace(plan, rasters=inputs.with_sheets(plan.lattice_of, in_parts=card.task == "instances"))


def _tiled(plan: Plan) -> Plan:
    """Return a plan with the tiling that earlier runs in its work folder had, or that suits memory best."""
    if not plan.options.tiles_itself or not plan.exact:
        return plan
    if plan.kept is not None:
        return replace(plan, core=plan.kept.core_px, sheet_cores=plan.kept.sheet_cores)
    large = replace(plan, core=LARGE_TILE, sheet_cores=LARGE_SHEET_CORES)
    fits = suits_large_tiles if plan.options.runs_here else suits_large_tiles_remotely
    return large if fits(plan, large) else plan


def cut_step(stride: int) -> int:
    """Return the step, in pixels, at which exact runs cut the tiles at the end of a raster.

    Only their labels do not depend on the size of the chip.
    """
    return -(-CUT // stride) * stride


def _unbounded_note(card: Card, halo: Halo) -> str:
    """Return the note on the consequences of an unbounded reach."""
    if card.task == "instances":
        return (
            f"{card.name} finds instances on the whole chip: what it finds depends on --tile and --halo, though not on "
            f"sheets, workers or order; instances larger than the halo of {halo} are merged from several tiles"
        )
    return (
        f"{card.name} sees the whole chip (its reach is not finite): the result depends on --tile and --halo, "
        "though not on sheets, workers or order"
    )
