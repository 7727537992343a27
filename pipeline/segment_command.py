"""``terraseam segment``: plan, see what is done already, run the rest, say what came of it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipeline.describe import describe_results
from pipeline.done import local_profile, looked_at
from pipeline.errors import PlanError
from pipeline.exits import DONE, IMPOSSIBLE, fail, note_to_user, one_at_a_time, show, tell_run
from pipeline.manifest import end_segment
from pipeline.options import SegmentOptions
from pipeline.plan import Plan, make_plan


def segment(options: SegmentOptions) -> int:
    """Run the command; returns the exit status."""
    try:
        plan = make_plan(options)
    except PlanError as error:
        return fail(str(error), IMPOSSIBLE)
    note_to_user(plan.notes)
    return one_at_a_time(options.work_folder, options.output, lambda: _run(plan))


def _run(plan: Plan) -> int:
    """Run what is not done already; returns the exit status."""
    plan = looked_at(plan, local_profile(plan) if plan.options.runs_here else None)
    if not plan.open_rasters():
        show(describe_results(end_segment(plan, None, [], started=time.time())))
        return DONE

    def run() -> Mapping[str, Any] | None:
        from pipeline.run import run_plan

        return run_plan(plan)

    return tell_run(run, describe_results)
