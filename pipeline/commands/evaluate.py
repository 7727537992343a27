"""``terraseam evaluate``: predictions are measured against the truth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from terraseam.pipeline.errors import ArgumentError, EvaluateError
from terraseam.pipeline.events import EVENTS
from terraseam.pipeline.exit_status import (
    DONE,
    IMPOSSIBLE,
    QUARANTINED,
    fail,
    fail_on_file,
    report_error,
    report_note,
    show,
)
from terraseam.pipeline.inputs.left_out import LeftOut, all_reasons, describe_left_out
from terraseam.pipeline.options.evaluate import EvaluateOptions
from terraseam.pipeline.options.evaluate_arguments import parse_evaluate
from terraseam.tiles.access.special_files import special_reason

if TYPE_CHECKING:
    import numpy as np

    from terraseam.pipeline.evaluation.measure import RasterCounts
    from terraseam.pipeline.evaluation.plan import Evaluation
    from terraseam.pipeline.evaluation.subjects import Subject


def run_evaluate(argv: Sequence[str]) -> int:
    """Run ``terraseam evaluate``; returns the exit status."""
    try:
        options = parse_evaluate(argv)
        check_picture(options)
    except ArgumentError as error:
        return fail(str(error), IMPOSSIBLE)
    try:
        return _evaluate(options)
    except EvaluateError as error:
        if options.json:
            show(json.dumps({"reasons": error.reasons}, indent=2))
        return fail(str(error), IMPOSSIBLE)
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
    if options.picture is not None and (special := special_reason(options.picture)):
        raise ArgumentError(f"--picture {special}")


def _evaluate(options: EvaluateOptions) -> int:
    from terraseam.pipeline.evaluation.figures import evaluation_json
    from terraseam.pipeline.evaluation.plan import plan_evaluation
    from terraseam.pipeline.evaluation.report import describe_evaluation
    from terraseam.pipeline.run.watchdog import Watchdog
    from terraseam.pipeline.storage.watched_files import moved_notes

    plan = plan_evaluation(options)
    with Watchdog("run the same command again to start over", "file, block or class").watching():
        measured, unmeasured = _measured(plan, options)
    left_out = [*plan.left_out, *unmeasured]
    watched = [files for counts in measured for files in counts.subject.watched]
    moved = moved_notes(watched, "measured", "run the same command again")
    notes = [*plan.notes, *_remarks(measured), *moved]
    result = evaluation_json(measured, plan.classes, options, notes, left_out)
    if options.picture is not None:
        _draw([counts.picture for counts in measured if counts.picture is not None], options.picture)
    EVENTS.send_result(result)
    report_note(notes)
    show(json.dumps(result, indent=2, ensure_ascii=False) if options.json else describe_evaluation(result))
    if left_out:
        report_error(describe_left_out([raster.to_json() for raster in left_out]))
    return QUARANTINED if left_out else DONE


def _measured(plan: Evaluation, options: EvaluateOptions) -> tuple[list[RasterCounts], list[LeftOut]]:
    """Measure the rasters of a plan, and say which could not be.

    Raises:
        EvaluateError: If none could be, or one could not and that ends the command.
    """
    from terraseam.pipeline.evaluation.measure import measure
    from terraseam.pipeline.evaluation.plan import UNUSABLE

    size = _picture_size(options, len(plan.subjects)) if options.picture is not None else None
    measured, left_out = [], []
    for subject in plan.subjects:
        try:
            measured.append(_measured_whole(subject, partial(measure, subject, plan.classes, options, size)))
        except UNUSABLE as error:
            left_out.append(subject.left_out(error))
            if options.on_error == "fail":
                raise EvaluateError(left_out[0].reasons) from error
    if not measured:
        raise EvaluateError(list(all_reasons([*plan.left_out, *left_out])))
    return measured, left_out


def _measured_whole(subject: Subject, measure: Callable[[], RasterCounts]) -> RasterCounts:
    """Measure a raster of which no file changes meanwhile.

    Raises:
        RasterChangedError: If one does.
    """
    from terraseam.pipeline.storage.watched_files import THEN_AGAIN, check_unchanged

    check = partial(check_unchanged, subject.watched, "measured", THEN_AGAIN)
    try:
        counts = measure()
    except Exception:
        check()  # A file that is being written to may not be readable.
        raise
    check()
    return counts


def _picture_size(options: EvaluateOptions, rasters: int) -> int:
    """Return the longest side of the picture of each of several rasters, in pixels."""
    from terraseam.tiles.raster.picture import GAP

    columns = math.ceil(math.sqrt(rasters))
    gaps = GAP * (columns + 1) if columns > 1 else 0
    return max(1, (options.picture_size - gaps) // columns)


def _remarks(measured: Sequence[RasterCounts]) -> list[str]:
    """Return sentences on what was not measured, and why."""
    remarks = []
    if all(counts.polygons is None for counts in measured):
        raster = any(not counts.subject.truth_is_polygons for counts in measured)
        remarks.append(
            "no polygons are measured: the truth is a label raster"
            if raster
            else "no polygons are measured: the prediction is only a label map"
        )
    if all(counts.pixels is None for counts in measured):
        remarks.append(
            "neither pixels nor sizes are measured: there are only polygons; pass --images with the rasters "
            "that were segmented"
        )
    return remarks


def _draw(chips: Sequence[np.ndarray], path: str) -> None:
    """Write the picture of errors: of several rasters, one beside the other."""
    from terraseam.tiles.measures.errors import WORDS
    from terraseam.tiles.raster.picture import sheet_of_chips, write_png

    columns = math.ceil(math.sqrt(len(chips)))
    rows = [chips[start : start + columns] for start in range(0, len(chips), columns)]
    write_png(Path(path), chips[0] if len(chips) == 1 else sheet_of_chips(rows))
    report_note([f"{path}: {WORDS}"])
