"""Collect every reason why a run cannot succeed, in one pass over a draft of its plan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from terraseam.pipeline.inputs.left_out import all_reasons
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.inputs import PlannedRasters
from terraseam.pipeline.plan.networks import Networks
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.reasons import (
    border_reasons,
    disk_reasons,
    network_reasons,
    place_reasons,
    resource_reasons,
    unwritable_reasons,
)
from terraseam.pipeline.plan.runner_reasons import segment_reasons
from terraseam.pipeline.storage import files
from terraseam.tiles.raster.georef import Georef


@dataclass(frozen=True)
class PlanDraft:
    """The inputs of a plan, before they are checked.

    Attributes:
        options: The options of the run.
        no_rasters: A sentence for each argument that matches no raster.
        bundle_reasons: Why bundles cannot be used, one sentence each.
        networks: The networks to run; None if any bundle cannot be used.
        inputs: The rasters to read.
        grids: Path and grid of each raster whose borders are simplified.
        plan: The plan; None if there is no raster or no network.
    """

    options: SegmentOptions
    no_rasters: Sequence[str]
    bundle_reasons: Sequence[str]
    networks: Networks | None
    inputs: PlannedRasters
    grids: Sequence[tuple[str, Georef]]
    plan: Plan | None


def draft_reasons(draft: PlanDraft) -> list[str]:
    """Return every reason why a run cannot succeed, one sentence each."""
    options, plan = draft.options, draft.plan
    folders = [files.join(options.output, raster.id) for raster in draft.inputs.rasters]
    reasons = [
        *draft.no_rasters,
        *segment_reasons(options),
        *draft.bundle_reasons,
        *(network_reasons(options, draft.networks.card) if draft.networks else ()),
        *draft.inputs.reasons,
        *place_reasons(options, folders),
        *border_reasons(options, draft.grids),
    ]
    if reasons or plan is None or options.on_error == "fail":
        reasons += all_reasons(draft.inputs.left_out)
    if plan is not None:
        reasons += resource_reasons(plan)
    if reasons and draft.networks is not None:
        reasons += unwritable_reasons(options, folders)
    if reasons and plan is not None:
        reasons += disk_reasons(plan)
    return reasons
