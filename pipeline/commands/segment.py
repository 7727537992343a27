"""``terraseam segment``: plan, see what is done already, run the rest, say what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.exit_status import IMPOSSIBLE, end_run, fail, report_note, report_run, run_exclusively
from terraseam.pipeline.inputs.left_out import left_out_notes
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.make import make_plan
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.process.optional_imports import leave_out_cloud
from terraseam.pipeline.publish.manifest import end_segment, idle_record
from terraseam.pipeline.publish.summary import describe_results
from terraseam.pipeline.publish.unchanged import fingerprints_now, is_to_do, obstacles_left
from terraseam.pipeline.storage.lock import lock_in


def segment(options: SegmentOptions) -> int:
    """Run the command; returns the exit status."""
    try:
        plan = make_plan(options, writes=False)
    except PlanError as error:
        return fail(str(error), IMPOSSIBLE)
    report_note([*plan.notes, *left_out_notes(plan.left_out)])
    if plan.obstacles:
        plan = fingerprints_now(plan)
        reasons = obstacles_left(plan)
        if reasons:
            return fail(str(PlanError(reasons)), IMPOSSIBLE)
        if not is_to_do(plan):
            # Nothing is written, not even that there was nothing to do.
            return end_run(idle_record(plan, started=time.time()), describe_results)
    return run_exclusively([lock_in(options.output)], lambda: _run(plan))


def _run(plan: Plan) -> int:
    """Run what is not done already; returns the exit status."""
    plan = fingerprints_now(plan)
    if not plan.open_rasters():
        return end_run(end_segment(plan, None, [], started=time.time()), describe_results)

    def run() -> Mapping[str, Any] | None:
        if plan.options.runs_here:
            leave_out_cloud()
        from terraseam.pipeline.run.job import run_plan

        return run_plan(plan)

    return report_run(run, describe_results)
