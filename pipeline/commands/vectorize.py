"""``terraseam vectorize``: label rasters in, polygons out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.pipeline.errors import ArgumentError, PlanError
from terraseam.pipeline.exit_status import IMPOSSIBLE, fail, report_note, report_run, run_exclusively
from terraseam.pipeline.inputs.left_out import left_out_notes
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize
from terraseam.pipeline.process.optional_imports import leave_out_cloud
from terraseam.pipeline.storage.lock import lock_in


def vectorize(argv: Sequence[str]) -> int:
    """Run ``terraseam vectorize``; returns the exit status."""
    try:
        options = parse_vectorize(argv)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    from terraseam.pipeline.plan.vectorize import plan_vectorize

    try:
        plan = plan_vectorize(options)
    except PlanError as error:
        return fail(str(error), IMPOSSIBLE)
    report_note([*plan.notes, *left_out_notes(plan.left_out)])
    from terraseam.pipeline.publish.summary import off_earth_notes, results_table

    def run() -> Mapping[str, Any] | None:
        if options.beam.is_direct:
            leave_out_cloud()
        from terraseam.pipeline.run.vectorize import run_vectorize

        return run_vectorize(plan)

    return run_exclusively(
        [lock_in(options.output)],
        lambda: report_run(
            run, lambda manifest: "\n".join([*results_table(manifest), *off_earth_notes(manifest)])
        ),
    )
