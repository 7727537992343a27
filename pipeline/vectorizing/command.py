"""``terraseam vectorize``: label rasters in, polygons out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pipeline.arguments import ArgumentError
from pipeline.errors import PlanError
from pipeline.exits import DONE, FAILED, IMPOSSIBLE, fail
from pipeline.vectorizing.arguments import parse_vectorize


def vectorize(argv: Sequence[str]) -> int:
    """Run ``terraseam vectorize``; returns the exit status."""
    try:
        options = parse_vectorize(argv)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    from pipeline.vectorizing.plan import plan_vectorize

    try:
        plan = plan_vectorize(options)
    except PlanError as error:
        return fail(str(error), IMPOSSIBLE)
    # Beam warns of what it was installed without, and repeats our sentences with their tracebacks.
    logging.basicConfig(level=logging.CRITICAL)
    from pipeline.describe import results_table
    from pipeline.run import BeamOptionError, RunError
    from pipeline.vectorizing.run import run_vectorize

    try:
        manifest = run_vectorize(plan)
    except BeamOptionError as error:
        return fail(str(error), IMPOSSIBLE)
    except RunError as error:
        return fail(str(error), FAILED)
    if manifest is not None:
        print("\n".join(results_table(manifest)))
    return DONE
