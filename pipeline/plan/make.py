"""Plans are made: every raster is inspected, every network read, and every reason why a run cannot succeed found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from terraseam.models.bundle.card import Card, check_weights
from terraseam.models.bundle.combined import combined_card
from terraseam.models.engines.choice import chosen_engine
from terraseam.models.errors import CardError, RefusedError
from terraseam.models.saved_models.facts import SAVED_MODEL, check_saved_model
from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.inputs.bundles import bundle_folder, known_as
from terraseam.pipeline.inputs.expand import expand
from terraseam.pipeline.inputs.left_out import all_reasons
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.inputs import PlannedRasters, inspect_rasters, plan_inputs
from terraseam.pipeline.plan.model_reasons import model_notes, model_reasons
from terraseam.pipeline.plan.plan import Plan, reach_of
from terraseam.pipeline.plan.reasons import (
    border_reasons,
    disk_reasons,
    network_reasons,
    obstacles,
    place_reasons,
    resource_reasons,
    sample_notes,
    unwritable_reasons,
)
from terraseam.pipeline.plan.runner_reasons import remote_notes, segment_reasons
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.servers import prepare
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.labels.stitch import StitchMethod
from terraseam.tiles.raster.georef import Georef

UNBOUNDED_HALO = 128
"""The halo of networks without finite reach, where neither user nor card says one, in pixels."""


def make_plan(options: SegmentOptions, *, writes: bool = True) -> Plan:
    """Plan a run.

    Args:
        options: What the user asked for.
        writes: Whether it is certain that something is to be written; else the plan knows what is in the way of that.

    Raises:
        PlanError: If the run cannot succeed, with every reason.
    """
    allow_sources(options.allow_sources)
    verify_blocks(options.verify)
    prepare(options.beam, (*options.rasters, *options.models, options.aoi, options.output, options.work))
    given = expand(options.rasters)
    infos, broken = inspect_rasters(given.paths)
    broken += given.unread
    reasons = [*given.problems, *segment_reasons(options)]
    placed = [] if options.resample else [(info.path, info.georef) for info in infos]
    early = [*all_reasons(broken), *border_reasons(options, placed)]
    networks = _read_networks(options, [*reasons, *early, *place_reasons(options, ())])
    reasons += network_reasons(options, networks.card)
    inputs = plan_inputs(given.named, infos, broken, networks.cards, options)
    reasons += inputs.reasons
    folders = [files.join(options.output, raster.id) for raster in inputs.rasters]
    reasons += place_reasons(options, folders)
    if not inputs.rasters:
        unusable = [*all_reasons(inputs.left_out), *early]
        raise PlanError([*reasons, *unusable, *unwritable_reasons(options, folders)])
    reasons += border_reasons(options, [(raster.path, raster.georef) for raster in inputs.rasters])
    if reasons or options.on_error == "fail":
        reasons += all_reasons(inputs.left_out)
    notes = [
        *remote_notes(options),
        *model_notes(options, networks.cards),
        *inputs.notes,
        *sample_notes(inputs.infos, networks.cards),
    ]
    plan = _lay_out(options, networks, inputs, notes)
    reasons += resource_reasons(plan)
    if reasons:
        raise PlanError([*reasons, *unwritable_reasons(options, folders), *disk_reasons(plan)])
    plan = replace(plan, obstacles=tuple(obstacles(plan)))
    if writes and plan.obstacles:
        raise PlanError(plan.obstacles)
    return plan


@dataclass(frozen=True)
class _Networks:
    """What runs: see `Plan`."""

    bundles: tuple[str, ...]
    cards: tuple[Card, ...]
    card: Card
    engine: str


def _read_networks(options: SegmentOptions, reasons: list[str]) -> _Networks:
    """Read the cards of all bundles.

    Raises:
        PlanError: If one cannot be read or they do not go together, with `reasons` and every reason for that.
    """
    bundles: dict[str, Path] = {}
    cards: list[Card] = []
    wrong: list[str] = []
    for name in options.models:
        try:
            bundle = bundle_folder(name)
            card = Card.read(bundle)
            check_weights(bundle, card)
            if card.network.name == SAVED_MODEL:
                check_saved_model(bundle / SAVED_MODEL)
        except (CardError, RefusedError) as error:
            wrong.append(str(error))
            continue
        if any(bundle.samefile(other) for other in bundles.values()):
            wrong.append(f"--model {name} is given twice; give each bundle once")
        bundles[known_as(name, bundle)] = bundle
        cards.append(card)
    if not wrong:
        engine = chosen_engine(options.engine, [card.network.name for card in cards])
        wrong = model_reasons(options, cards, engine)
    if wrong:
        raise PlanError([*reasons, *wrong])
    return _Networks(tuple(bundles), tuple(cards), combined_card(cards, options.augment), engine)


def _lay_out(options: SegmentOptions, networks: _Networks, inputs: PlannedRasters, notes: list[str]) -> Plan:
    """Choose core, halo, sheet and stitching, and say what follows from them."""
    card = networks.card
    core, sheet_cores = options.core, options.sheet_cores
    if sheet_cores * core != options.sheet:
        notes.append(
            f"--sheet {options.sheet} is rounded to {sheet_cores * core} px: whole tiles of {core} px"
        )
    reach = reach_of(card)
    asked = reach or Halo(*[UNBOUNDED_HALO if card.halo is None else card.halo] * 4)
    if options.halo is not None:
        asked = Halo(*[options.halo] * 4)
    halo = asked.rounded_up(card.stride)
    if options.halo is not None and halo != asked:
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

    def lattice(georef: Georef) -> Lattice:
        return Lattice(georef.height, georef.width, core, halo, sheet_cores)

    return Plan(
        options=options,
        **vars(networks),
        rasters=inputs.with_sheets(lattice, in_parts=card.task == "instances"),
        core=core,
        halo=halo,
        sheet_cores=sheet_cores,
        stitch=stitch,
        exact=exact,
        notes=tuple(notes),
        aoi=inputs.aoi,
        left_out=tuple(inputs.left_out),
    )


def _unbounded_note(card: Card, halo: Halo) -> str:
    """What follows from a reach that is not finite."""
    if card.task == "instances":
        return (
            f"{card.name} finds instances on the whole chip: what it finds depends on --tile and --halo, though not on "
            f"sheets, workers or order; things larger than the halo of {halo} are put together from several tiles"
        )
    return (
        f"{card.name} sees the whole chip (its reach is not finite): the result depends on --tile and --halo, "
        "though not on sheets, workers or order"
    )
