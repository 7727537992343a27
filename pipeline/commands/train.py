"""``terraseam train``: a bundle is made of rasters with labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from terraseam.models.errors import CardError
from terraseam.pipeline.errors import ArgumentError, RasterChangedError, TrainError
from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.exit_status import (
    DONE,
    FAILED,
    IMPOSSIBLE,
    fail,
    fail_on_write,
    report_note,
    run_exclusively,
    show,
)
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.storage.lock import lock_in, lock_next_to

if TYPE_CHECKING:
    from terraseam.pipeline.training.plan import TrainPlan


def run_train(argv: Sequence[str]) -> int:
    """Run ``terraseam train``; returns the exit status."""
    try:
        options = parse_train(argv)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    from terraseam.pipeline.training.plan import plan_training
    from terraseam.pipeline.training.report import describe_training, notes

    try:
        plan = plan_training(options)
    except TrainError as error:
        return fail(str(error), IMPOSSIBLE)
    report_note(notes(plan))
    show(describe_training(plan))
    if options.dry_run:
        return DONE
    # The state of a training is written all the time, its bundle in the end.
    locks = (lock_in(options.work_folder), lock_next_to(options.output))
    return run_exclusively(locks, lambda: _run(plan))


def _run(plan: TrainPlan) -> int:
    """Train as it was planned; returns the exit status."""
    from terraseam.models.training.errors import NoStartError, TrainingError
    from terraseam.pipeline.storage.watched_files import moved_notes
    from terraseam.pipeline.training.report import describe_training_result
    from terraseam.pipeline.training.run import run_training
    from terraseam.tiles.raster.source import RasterReadError

    try:
        card = run_training(plan)
    except (RasterChangedError, RasterReadError) as error:
        return fail(describe_raster_order(plan, error), FAILED)
    except (TrainingError, CardError) as error:
        return fail(str(error), IMPOSSIBLE if isinstance(error, NoStartError) else FAILED)
    except OSError as error:
        return fail_on_write(error, (plan.options.work_folder, plan.options.output))
    EVENTS.send_result(
        {"bundle": plan.options.output, "work": plan.options.work_folder, "card": card.to_json()}
    )
    report_note(moved_notes(plan.watched, "trained on", "train again with --restart"))
    show(describe_training_result(plan, card))
    return DONE


def describe_raster_order(plan: TrainPlan, error: Exception) -> str:
    """Say why a training ended with a raster: one that is being written to may not be readable."""
    from terraseam.pipeline.training.data import check_data

    try:
        check_data(plan)
    except RasterChangedError as changed:
        return str(changed)
    if isinstance(error, RasterChangedError):
        return str(error)
    return (
        f"{error}; the training so far is kept in {plan.options.work_folder}: run the same command again to continue "
        "from it, or start over without this raster with --on-error skip --restart"
    )
