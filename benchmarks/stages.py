"""CPU seconds of a command of Terraseam, by stage.

    python benchmarks/stages.py JSON segment RASTER --model coast --output OUT

Functions that the stages are made of are wrapped by clocks of the thread that runs them, less what others of them take
inside. What no clock has seen is imports, Beam, and the rest of Python. Only runs in one process can be seen like this.
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
    "load the network": ["models.engines.engine:Engine.__init__"],
    "read": ["tiles.source:RasterSource.read"],
    "hash": ["pipeline.keys:sheet_key"],
    "stitch": ["tiles.stitch:CropStitcher.add", "tiles.stitch:CropStitcher.label_map"],
    "store": [
        "pipeline.store:PredictionStore.put",
        "pipeline.store:PredictionStore.load",
        "pipeline.store:PredictionStore.intact",
    ],
    "trace": ["tiles.trace:trace_sheet"],
    "vectorize, the rest": ["pipeline.vectorize:VectorizeSheets.process"],
    "close": [
        "pipeline.close:unite_seams",
        "pipeline.close:send_fragments",
        "pipeline.close:CloseRegions.process",
    ],
    "features": ["tiles.features:features"],
    "features, packed": ["pipeline.feature_files:write_made"],
    "segment, the rest": ["pipeline.segment:SegmentSheets.process"],
}
"""What each stage is made of, by the modules that define it; of generators every step counts."""

ALONE = {
    "publish labels": ["pipeline.label_files:LabelFiles.__call__"],
    "publish polygons": ["pipeline.polygon_files:write_polygons"],
    "compare with the run before": ["pipeline.changes:compare_polygons"],
    "checksums": ["pipeline.publish:describe_file"],
    "publish, the rest": ["pipeline.publish:PublishRasters.process", "pipeline.manifest:end_segment"],
    "plan": ["pipeline.plan:make_plan", "pipeline.done:looked_at"],
}
"""The same, of what runs while nothing else does: libraries may use threads of their own."""


BESIDE = {"network": ["pipeline.segment:SegmentSheets._label"]}
"""What other threads do while the thread of a stage is in a function, which waits for them: those that call the network,
and TensorFlow's own."""

OURS = ("models", "pipeline", "tiles")


class Stages:
    """CPU seconds by stage.

    Attributes:
        seconds: Those so far.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()
        self._inside = threading.local()

    def clocked(
        self, stage: str, function: Callable[..., Any], clock: Callable[[], float], *, inside: bool = True
    ) -> Any:
        """A function that counts what it takes.

        Args:
            stage: Stage that it counts for.
            function: The function, or a generator function.
            clock: CPU seconds so far.
            inside: Whether what it counts is part of what functions around it count.
        """
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def steps(*arguments: Any, **named: Any) -> Iterator[Any]:
                made = function(*arguments, **named)
                while True:
                    with self._counted(stage, clock, inside):
                        step = next(made, self)
                    if step is self:
                        return
                    yield step

            return steps

        @functools.wraps(function)
        def whole(*arguments: Any, **named: Any) -> Any:
            with self._counted(stage, clock, inside):
                return function(*arguments, **named)

        return whole

    @contextlib.contextmanager
    def _counted(self, stage: str, clock: Callable[[], float], inside: bool) -> Iterator[None]:
        """Count the CPU seconds of a block, less those of blocks inside."""
        stack = self._nested() if inside else []
        stack.append(0.0)
        start = clock()
        try:
            yield
        finally:
            spent = clock() - start
            self.add(stage, spent - stack.pop())
            if stack:
                stack[-1] += spent

    def _nested(self) -> list[float]:
        """Seconds that clocks inside have counted, for every clock that runs in this thread."""
        if not hasattr(self._inside, "stack"):
            self._inside.stack = []
        return self._inside.stack

    def add(self, stage: str, seconds: float) -> None:
        """Count seconds."""
        with self._lock:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


def wrap(stages: Stages) -> None:
    """Put clocks on all that stages are made of."""
    for name in ("segment_command", "run"):
        importlib.import_module(f"pipeline.{name}")
    for table, clock in ((STAGES, time.thread_time), (ALONE, time.process_time)):
        for stage, places in table.items():
            for place in places:
                replace(place, functools.partial(stages.clocked, stage, clock=clock))
    for stage, places in BESIDE.items():
        for place in places:
            replace(place, functools.partial(stages.clocked, stage, clock=other_threads, inside=False))


def other_threads() -> float:
    """CPU seconds of all threads but this one."""
    return time.process_time() - time.thread_time()


def replace(place: str, make: Callable[[Any], Any]) -> None:
    """Put something else in the place of a function or a method, wherever it was imported to."""
    module, _, path = place.partition(":")
    owner, _, name = path.rpartition(".")
    if owner:
        holder = getattr(importlib.import_module(module), owner)
        setattr(holder, name, make(getattr(holder, name)))
        return
    old = getattr(importlib.import_module(module), name)
    new = make(old)
    for known in [one for one in sys.modules.values() if one.__name__.split(".")[0] in OURS]:
        if vars(known).get(name) is old:
            setattr(known, name, new)


def main() -> None:
    target, *argv = sys.argv[1:]
    stages = Stages()
    wrap(stages)
    stages.add("start and imports", time.process_time())
    from pipeline.cli import main as command

    status = command(argv)
    total = time.process_time()
    rest = total - sum(stages.seconds.values())
    told = {"total": total, **stages.seconds, "Beam, imports and the rest": rest}
    Path(target).write_text(json.dumps(told, indent=2) + "\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
