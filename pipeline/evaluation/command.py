"""``terraseam evaluate``: predictions are measured against the truth."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ArgumentError, EvaluateError
from pipeline.evaluation.arguments import parse_evaluate
from pipeline.evaluation.options import EvaluateOptions
from pipeline.exits import DONE, FAILED, IMPOSSIBLE, fail, fail_on_file, note_to_user, show

if TYPE_CHECKING:
    from pipeline.evaluation.measure import Measured


def run_evaluate(argv: Sequence[str]) -> int:
    """Run ``terraseam evaluate``; returns the exit status."""
    try:
        options = parse_evaluate(argv)
        check_picture(options)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    from tiles.inspect import RasterError
    from tiles.source import RasterReadError
    from tiles.truth.label_raster import LabelRasterError
    from tiles.truth.vectors import VectorError

    try:
        return _evaluate(options)
    except EvaluateError as error:
        if options.json:
            show(json.dumps({"reasons": error.reasons}, indent=2))
        return fail(str(error), IMPOSSIBLE)
    except (LabelRasterError, RasterError, VectorError) as error:
        return fail(str(error), IMPOSSIBLE)
    except RasterReadError as error:
        return fail(str(error), FAILED)
    except OSError as error:
        return fail_on_file(error)


def check_picture(options: EvaluateOptions) -> None:
    """Check that a picture can be written where it is wanted.

    Raises:
        ArgumentError: If not.
    """
    if options.picture is not None and Path(options.picture).suffix.lower() != ".png":
        raise ArgumentError(f"--picture {options.picture} must end in .png: the picture is a PNG")
    if options.picture is not None and Path(options.picture).is_dir():
        raise ArgumentError(f"--picture {options.picture} is a folder; name a file")


def _evaluate(options: EvaluateOptions) -> int:
    from pipeline.evaluation.figures import evaluation_json
    from pipeline.evaluation.measure import measure
    from pipeline.evaluation.plan import plan_evaluation
    from pipeline.evaluation.words import evaluation_words

    plan = plan_evaluation(options)
    measured = [measure(subject, plan.classes, options) for subject in plan.subjects]
    notes = [*plan.notes, *_remarks(measured)]
    result = evaluation_json(measured, plan.classes, options, notes)
    if options.picture is not None:
        _draw(measured, plan.classes.background, options)
    note_to_user(notes)
    show(json.dumps(result, indent=2, ensure_ascii=False) if options.json else evaluation_words(result))
    return DONE


def _remarks(measured: Sequence[Measured]) -> list[str]:
    """What was not measured, and why."""
    remarks = []
    if all(one.polygons is None for one in measured):
        raster = any(not one.subject.truth_is_polygons for one in measured)
        remarks.append(
            "no polygons are measured: the truth is a label raster"
            if raster
            else "no polygons are measured: the prediction is a label map alone"
        )
    if all(one.pixels is None for one in measured):
        remarks.append(
            "no pixels are measured, nor sizes: there are polygons alone; give --images, the rasters that were segmented"
        )
    return remarks


def _draw(measured: Sequence[Measured], background: int | None, options: EvaluateOptions) -> None:
    """Write the picture of errors: of several rasters, one beside the other."""
    from tiles.measures.errors import WORDS, error_picture
    from tiles.picture import GAP, sheet_of_chips, write_png

    columns = math.ceil(math.sqrt(len(measured)))
    gaps = GAP * (columns + 1) if columns > 1 else 0
    size = max(1, (options.picture_size - gaps) // columns)
    chips = [error_picture(one.maps, background, size, one.subject.image) for one in measured]
    rows = [chips[start : start + columns] for start in range(0, len(chips), columns)]
    picture = chips[0] if len(chips) == 1 else sheet_of_chips(rows)
    write_png(Path(str(options.picture)), picture)
    print(f"{options.picture}: {WORDS}", file=sys.stderr)
