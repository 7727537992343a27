"""``terraseam train``: a bundle is made of rasters with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from models.card import CardError
from pipeline.errors import ArgumentError, TrainError
from pipeline.exits import DONE, FAILED, IMPOSSIBLE, fail, fail_on_write, note_to_user, one_at_a_time, show
from pipeline.lock import lock_beside, lock_in
from pipeline.training.arguments import parse_train

if TYPE_CHECKING:
    from pipeline.training.plan import TrainPlan


def run_train(argv: Sequence[str]) -> int:
    """Run ``terraseam train``; returns the exit status."""
    try:
        options = parse_train(argv)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    from pipeline.training.plan import plan_training
    from pipeline.training.words import notes, plan_words

    try:
        plan = plan_training(options)
    except TrainError as error:
        return fail(str(error), IMPOSSIBLE)
    note_to_user(notes(plan))
    show(plan_words(plan))
    if options.dry_run:
        return DONE
    # The state of a training is written all the time, its bundle in the end.
    locks = (lock_in(options.work_folder), lock_beside(options.output))
    return one_at_a_time(locks, lambda: _run(plan))


def _run(plan: TrainPlan) -> int:
    """Train as it was planned; returns the exit status."""
    from models.training.errors import NoStartError, TrainingError
    from pipeline.training.run import run_training
    from pipeline.training.words import result_words
    from tiles.source import RasterReadError

    try:
        card = run_training(plan)
    except RasterReadError as error:
        return fail(
            f"{error}; what was trained is kept in {plan.options.work_folder}: the same command goes on from it, "
            "and with --on-error skip it is left out of a training that begins anew (--restart)",
            FAILED,
        )
    except (TrainingError, CardError) as error:
        return fail(str(error), IMPOSSIBLE if isinstance(error, NoStartError) else FAILED)
    except OSError as error:
        return fail_on_write(error, (plan.options.work_folder, plan.options.output))
    show(result_words(plan, card))
    return DONE
