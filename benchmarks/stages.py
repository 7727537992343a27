"""Measure the CPU seconds of a Terraseam command, by stage.

    python benchmarks/stages.py JSON segment RASTER --model coast --output OUT

Functions of the stages are wrapped with clocks of the thread that runs them, minus the time of wrapped functions
inside. The rest of the main thread is imports, Beam, and other Python code; the rest of all other threads is the
network: threads that call it, and TensorFlow's own. This only works for runs in one process.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STAGES = {
    "load the network": ["terraseam.models.engines.engine:Engine.__init__"],
    "read": ["terraseam.tiles.raster.source:RasterSource.read"],
    "hash": ["terraseam.pipeline.segment.content_keys:sheet_key"],
    "stitch": [
        "terraseam.tiles.labels.stitch:CropStitcher.add",
        "terraseam.tiles.labels.stitch:CropStitcher.label_map",
    ],
    "store": [
        "terraseam.pipeline.segment.prediction_store:PredictionStore.put",
        "terraseam.pipeline.segment.prediction_store:PredictionStore.load",
        "terraseam.pipeline.segment.prediction_store:PredictionStore.intact",
    ],
    "trace": [
        f"terraseam.tiles.regions.trace:{name}" for name in ("number_regions", "trace_open", "trace_closed")
    ],
    "vectorize, the rest": ["terraseam.pipeline.vectorize.stage:VectorizeSheets.process"],
    "close": [
        "terraseam.pipeline.vectorize.close:merge_seams_of_raster",
        "terraseam.pipeline.vectorize.close:send_fragments",
        "terraseam.pipeline.vectorize.close:CloseRegions.process",
    ],
    "features": ["terraseam.tiles.features.features:features"],
    "features, packed": ["terraseam.pipeline.vectorize.trace_cache:make_features"],
    "segment, the rest": [
        f"terraseam.pipeline.segment.stage:SegmentSheets.{name}"
        for name in ("process", "_segment_or_leave_out")
    ],
}
"""Functions of each stage, by the modules that define them; generators count with every step."""

ALONE = {
    "publish labels": ["terraseam.pipeline.publish.label_map:LabelFiles.__call__"],
    "publish polygons": ["terraseam.pipeline.publish.polygons:write_polygons"],
    "compare with the run before": ["terraseam.pipeline.publish.changes:compare_polygons"],
    "checksums": ["terraseam.pipeline.publish.stage:describe_file"],
    "publish, the rest": [
        "terraseam.pipeline.publish.stage:PublishRasters.process",
        "terraseam.pipeline.publish.manifest:end_segment",
    ],
    "plan": [
        "terraseam.pipeline.plan.make:make_plan",
        "terraseam.pipeline.publish.unchanged:with_fingerprints",
    ],
}
"""The same for functions that run alone: libraries may use their own threads."""

OURS = "terraseam"


class Stages:
    """CPU seconds by stage.

    Attributes:
        seconds: CPU seconds so far.
        elsewhere: Those of them outside the main thread.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.elsewhere = 0.0
        self._lock = threading.Lock()
        self._inside = threading.local()

    def clocked(
        self,
        stage: str,
        function: Callable[..., Any],
        clock: Callable[[], float],
        elsewhere: Callable[[], float] = lambda: 0.0,
    ) -> Any:
        """Wrap a function so that it counts its CPU seconds.

        Args:
            stage: Stage to count for.
            function: The function, or a generator function.
            clock: Returns CPU seconds so far.
            elsewhere: Returns those of them outside the main thread.
        """
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*arguments: Any, **named: Any) -> Iterator[Any]:
                made = function(*arguments, **named)
                while True:
                    with self._counted(stage, clock, elsewhere):
                        step = next(made, self)
                    if step is self:
                        return
                    yield step

            return steps

        @functools.wraps(function)
        def whole(*arguments: Any, **named: Any) -> Any:
            with self._counted(stage, clock, elsewhere):
                return function(*arguments, **named)

        return whole

    @contextlib.contextmanager
    def _counted(
        self, stage: str, clock: Callable[[], float], elsewhere: Callable[[], float]
    ) -> Iterator[None]:
        """Count the CPU seconds of a block, minus those of nested blocks."""
        stack = self._nested()
        stack.append(0.0)
        start, start_elsewhere = clock(), elsewhere()
        try:
            yield
        finally:
            spent = clock() - start
            inside = stack.pop()
            if stack:
                stack[-1] += spent
            self.add(stage, spent - inside, 0.0 if stack else elsewhere() - start_elsewhere)

    def _nested(self) -> list[float]:
        """Return the seconds counted by nested clocks, for every clock running in this thread."""
        if not hasattr(self._inside, "stack"):
            self._inside.stack = []
        return self._inside.stack

    def add(self, stage: str, seconds: float, elsewhere: float = 0.0) -> None:
        """Add seconds to a stage, and to those outside the main thread."""
        with self._lock:
            self.elsewhere += elsewhere
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def wrap(stages: Stages) -> None:
    """Wrap all functions of the stages with clocks."""
    for name in ("commands.segment", "run.job"):
        importlib.import_module(f"terraseam.pipeline.{name}")
    tables = ((STAGES, time.thread_time, helper_time), (ALONE, time.process_time, other_threads))
    for table, clock, elsewhere in tables:
        for stage, places in table.items():
            for place in places:
                replace(place, functools.partial(stages.clocked, stage, clock=clock, elsewhere=elsewhere))


def helper_time() -> float:
    """Return the CPU seconds of this thread, unless it is the main one."""
    return 0.0 if threading.current_thread() is threading.main_thread() else time.thread_time()


def other_threads() -> float:
    """Return the CPU seconds of all threads but this one."""
    return time.process_time() - time.thread_time()


def replace(place: str, make: Callable[[Any], Any]) -> None:
    """Replace a function or a method, wherever it has been imported."""
    module, _, path = place.partition(":")
    owner, _, name = path.rpartition(".")
    if owner:
        holder = getattr(importlib.import_module(module), owner)
        setattr(holder, name, make(getattr(holder, name)))
        return
    old = getattr(importlib.import_module(module), name)
    new = make(old)
    for known in [one for one in sys.modules.values() if one.__name__.split(".")[0] == OURS]:
        if vars(known).get(name) is old:
            setattr(known, name, new)


def main() -> None:
    target, *argv = sys.argv[1:]
    stages = Stages()
    wrap(stages)
    stages.add("start and imports", time.process_time(), other_threads())
    from terraseam.pipeline.cli import main as command

    status = command(argv)
    total, main_thread = time.process_time(), time.thread_time()
    network = total - main_thread - stages.elsewhere
    rest = total - network - sum(stages.seconds.values())
    told = {"total": total, "network": network, **stages.seconds, "Beam, imports and the rest": rest}
    Path(target).write_text(json.dumps(told, indent=2) + "\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
