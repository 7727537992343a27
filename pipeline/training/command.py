"""``terraseam train``: a bundle is made of rasters with labels."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from models.card import CardError
from pipeline.arguments import ArgumentError
from pipeline.errors import TrainError
from pipeline.exits import DONE, FAILED, IMPOSSIBLE, fail
from pipeline.training.arguments import parse_train


def run_train(argv: Sequence[str]) -> int:
    """Run ``terraseam train``; returns the exit status."""
    try:
        options = parse_train(argv)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    from pipeline.training.plan import plan_training
    from pipeline.training.words import notes, plan_words, result_words

    try:
        plan = plan_training(options)
    except TrainError as error:
        return fail(str(error), IMPOSSIBLE)
    for note in notes(plan):
        print(note, file=sys.stderr)
    print(plan_words(plan), flush=True)
    if options.dry_run:
        return DONE
    from models.training.errors import NoStartError, TrainingError
    from pipeline.training.run import run_training
    from tiles.source import RasterReadError

    try:
        card = run_training(plan)
    except (TrainingError, RasterReadError, CardError) as error:
        return fail(str(error), IMPOSSIBLE if isinstance(error, NoStartError) else FAILED)
    except OSError as error:
        return fail(f"{error.filename or 'a file'} cannot be written: {error.strerror or error}", FAILED)
    print(result_words(plan, card))
    return DONE
