"""The network on sheets: from the pixels of one to what the prediction store keeps of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.engines.engine import Engine
from models.engines.ensemble import Ensemble, shared_ensemble
from models.engines.profile import Profile
from models.engines.workplace import Workplace
from pipeline.bundles import bundle_folder
from pipeline.infer import Tile, calls_at_once, infer_tiles
from pipeline.layout import converted_folder
from pipeline.plan import Plan
from pipeline.sheets import Clock, Sheet
from pipeline.store import Entry
from pipeline.troubles import NotANumberError, StoppedError
from tiles.instances import SheetInstances, TileInstance, tile_instances
from tiles.source import Chip
from tiles.stitch import LabelMap, stitch_ring, stitcher

GPU_CALLS = 2
"""Calls in flight on a GPU: one that runs, and one that waits with its chips ready."""


@dataclass(frozen=True)
class Job:
    """A sheet that is inferred.

    Attributes:
        sheet: Which one.
        chip: Its read window.
        profile: How the network is called.
        clock: Counts the time that it takes.
    """

    sheet: Sheet
    chip: Chip
    profile: Profile
    clock: Clock


class SheetInference:
    """Runs the network on sheets; several threads may ask, and the network works on the tiles of one after another.

    Args:
        plan: The run.
        workers: Processes that share this machine.
        stopped: When set, sheets are given up at their next tile.
    """

    def __init__(self, plan: Plan, workers: int, stopped: threading.Event) -> None:
        self._plan = plan
        self._workers = workers
        self._stopped = stopped
        self._turn = threading.Lock()

    def entry(self, job: Job) -> tuple[Entry, int]:
        """What the store keeps of a sheet, and how many tiles it took.

        Raises:
            NotANumberError: If the network answers NaN.
            StoppedError: If the run has failed elsewhere.
        """
        return self._find(job) if self._plan.card.task == "instances" else self._label(job)

    def _label(self, job: Job) -> tuple[LabelMap, int]:
        """The label map of a sheet, and how many tiles it took."""
        raster, row, col = job.sheet
        lattice = self._plan.lattice(raster)
        stitch = stitcher(self._plan.stitch, lattice, (row, col), len(self._plan.card.classes))
        valid = job.chip.valid[lattice.sheet_window(row, col).within(job.chip.window)]
        ring = stitch_ring(self._plan.stitch)
        tiles = [tile for tile in lattice.sheet_tiles(row, col, ring) if stitch.needs(tile, valid)]
        if tiles:
            with closing(self._answers(self._engine(job.profile).logits, job, tiles)) as answers:
                for tile, logits in answers:
                    if np.isnan(logits).any():
                        raise NotANumberError(f"{self._plan.card.name} answers NaN for tile {tile}")
                    with job.clock.time("stitch"):
                        stitch.add(tile, logits)
        with job.clock.time("stitch"):
            return stitch.label_map(np.ascontiguousarray(valid)), len(tiles)

    def _find(self, job: Job) -> tuple[SheetInstances, int]:
        """What the tiles of a sheet find, and how many tiles it took."""
        raster, row, col = job.sheet
        lattice, chip = self._plan.lattice(raster), job.chip
        instances: list[TileInstance] = []
        full = 0
        tiles = [
            tile
            for tile in lattice.sheet_tiles(row, col)
            if chip.valid[lattice.core_window(*tile).within(chip.window)].any()
        ]
        if tiles:
            with closing(self._answers(self._detector(job.profile).instances, job, tiles)) as answers:
                for tile, answer in answers:
                    with job.clock.time("stitch"):
                        valid = chip.valid[lattice.read_window(*tile).within(chip.window)]
                        instances.extend(tile_instances(answer.instances, lattice, tile, valid))
                        full += answer.full
        valid = chip.valid[lattice.sheet_window(row, col).within(chip.window)]
        return SheetInstances(np.ascontiguousarray(valid), tuple(instances), full), len(tiles)

    def _answers(
        self, ask: Callable[[np.ndarray], Iterable[Any]], job: Job, tiles: list[Tile]
    ) -> Generator[tuple[Tile, Any], None, None]:
        """What the network says of tiles, one after another; the generator must be closed for others to have their turn."""
        samples = job.profile.samples
        at_once = GPU_CALLS if job.profile.device == "gpu" else self._calls(job.profile)
        lattice = self._plan.lattice(job.sheet[0])
        # Of two sheets that take turns tile by tile both would end late, and none be read meanwhile.
        with self._turn:
            answers = infer_tiles(ask, job.chip, lattice, tiles, samples, at_once)
            while True:
                if self._stopped.is_set():
                    raise StoppedError("another sheet has ended the run")
                with job.clock.time("infer"):
                    answer = next(answers, None)
                if answer is None:
                    return
                yield answer

    def _calls(self, profile: Profile) -> int:
        return calls_at_once(self._plan.chip_memory() * profile.samples, self._workers)

    def _engine(self, profile: Profile) -> Engine | Ensemble:
        plan = self._plan
        workplace = Workplace(converted_folder(plan), self._calls(profile))
        bundles = [bundle_folder(*each) for each in zip(plan.bundles, plan.cards, strict=True)]
        return shared_ensemble(bundles, profile, workplace, plan.options.augment)

    def _detector(self, profile: Profile) -> Engine:
        engine = self._engine(profile)
        if not isinstance(engine, Engine):
            raise TypeError("what detectors find cannot be averaged; the plan refuses that")
        return engine
