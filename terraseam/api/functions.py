"""`segment`, `plan`, `vectorize`, `train` and `evaluate`: the commands as functions.

Each runs in a process of its own. All raise `TerraseamError` with the sentence of the command line where that would exit
with another status than 0 or 3, and TypeError where an option does not exist. ``progress=print`` shows notes and progress.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from terraseam.api.child_process import DONE, Ended, Progress, run_command
from terraseam.api.options import (
    EvaluateKeywords,
    Paths,
    SegmentKeywords,
    TrainKeywords,
    VectorizeKeywords,
    check_names,
)
from terraseam.api.rasters import raster_results
from terraseam.api.results import EvaluateResult, PlanResult, SegmentResult, TrainResult, VectorizeResult


def segment(
    rasters: Paths = (), *, progress: Progress | None = None, **options: Unpack[SegmentKeywords]
) -> SegmentResult:
    """Segment rasters into label maps and polygons, as ``terraseam segment`` does.

    Args:
        rasters: Paths, directories, globs or addresses; none where a job file names them.
        progress: Receives what the command reports while it runs, a line each.
        options: The long options of ``terraseam segment`` with underscores, such as ``model="coast", output="out"``;
            ``beam`` takes Apache Beam's, as a dictionary.

    Raises:
        RefusedError: If an option is wrong or the plan cannot succeed.
        FailedError: If the run fails or its process dies.
    """
    ended = _call("segment", {"rasters": rasters, **options}, progress)
    results = raster_results(ended.value, "segmented") if ended.value is not None else ()
    return SegmentResult(ended.text, ended.notes, ended.status == DONE, results, ended.value)


def plan(
    rasters: Paths = (), *, progress: Progress | None = None, **options: Unpack[SegmentKeywords]
) -> PlanResult:
    """Return what `segment` would do with the same arguments, how exact it would be and what it takes.

    Args:
        rasters: As for `segment`.
        progress: As for `segment`.
        options: As for `segment`.

    Raises:
        RefusedError: If an option is wrong or the plan cannot succeed, with every reason.
    """
    ended = _call("plan", {"rasters": rasters, **options}, progress)
    figures = ended.value or {}
    return PlanResult(ended.text, tuple(figures["notes"]), figures)


def vectorize(
    rasters: Paths = (), *, progress: Progress | None = None, **options: Unpack[VectorizeKeywords]
) -> VectorizeResult:
    """Make polygons of label rasters, as ``terraseam vectorize`` does.

    Args:
        rasters: Paths, directories, globs or addresses of label rasters; none where a job file names them.
        progress: Receives what the command reports while it runs, a line each.
        options: The long options of ``terraseam vectorize`` with underscores, such as ``output="polygons", simplify=2``.

    Raises:
        RefusedError: If an option is wrong or no raster can be used.
        FailedError: If the run fails or its process dies.
    """
    ended = _call("vectorize", {"rasters": rasters, **options}, progress)
    results = raster_results(ended.value, "vectorized") if ended.value is not None else ()
    return VectorizeResult(ended.text, ended.notes, ended.status == DONE, results, ended.value)


def train(*, progress: Progress | None = None, **options: Unpack[TrainKeywords]) -> TrainResult:
    """Train a network on rasters with labels and write a bundle, as ``terraseam train`` does.

    Args:
        progress: Receives what the command reports while it runs, a line each: epochs among them.
        options: The long options of ``terraseam train`` with underscores, such as ``images="train/*.tif"``.

    Raises:
        RefusedError: If an option is wrong, or nothing can be trained on.
        FailedError: If the training fails or its process dies.
    """
    ended = _call("train", options, progress)
    outcome = ended.value or {"bundle": None, "work": None, "card": {}}
    return TrainResult(ended.text, ended.notes, outcome["bundle"], outcome["work"], outcome["card"])


def evaluate(*, progress: Progress | None = None, **options: Unpack[EvaluateKeywords]) -> EvaluateResult:
    """Measure label maps and polygons against the truth, as ``terraseam evaluate`` does.

    Args:
        progress: Receives what the command reports while it runs, a line each.
        options: The long options of ``terraseam evaluate`` with underscores, such as
            ``predicted="out", truth="truth/*.geojson"``.

    Raises:
        RefusedError: If an option is wrong, or nothing can be measured.
        FailedError: If the process dies.
    """
    ended = _call("evaluate", options, progress)
    return EvaluateResult(ended.text, ended.notes, ended.status == DONE, ended.value or {})


def _call(command: str, options: Mapping[str, Any], progress: Progress | None) -> Ended:
    check_names(command, [name for name in options if name != "rasters"])
    return run_command(command, options, progress)
