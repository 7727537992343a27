"""Read, infer and stitch: the half of the pipeline that runs on accelerators.

One DoFn does all three for a sheet, so that pixels and logits never leave it on any runner; what
leaves it is the key under which the prediction store has the sheet's label map.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np

# TensorFlow brings an SQLite without R-trees, and GDAL uses whichever is loaded first: GeoPackages would lack their index.
import pyogrio  # noqa: F401
from apache_beam.metrics import Metrics

from models.engines.engine import Engine
from models.engines.ensemble import Ensemble, shared_ensemble
from models.engines.profile import Profile, execution_profile
from models.engines.workplace import Workplace
from pipeline import files
from pipeline.bundles import bundle_folder
from pipeline.infer import calls_at_once, infer_tiles
from pipeline.keys import plan_recipe, sheet_key
from pipeline.known_sheets import KnownSheets
from pipeline.layout import RunFolder, converted_folder, prediction_store
from pipeline.plan import Plan
from pipeline.remote import prepare
from pipeline.retries import GaveUpError, persistently
from pipeline.signatures import without_signatures
from pipeline.store import Entry, entry_key, nothing_measured
from pipeline.troubles import (
    NotANumberError,
    is_out_of_memory,
    is_unreadable,
    is_worth_another_call,
    one_line,
)
from tiles.instances import SheetInstances, TileInstance, tile_instances
from tiles.source import Chip, RasterSource
from tiles.stitch import LabelMap, stitch_ring, stitcher

Sheet = tuple[int, int, int]
"""Number of the raster in the plan, row and column of the sheet."""


@dataclass(frozen=True)
class SheetRecord:
    """What became of one sheet in the first half.

    Attributes:
        raster: Number of the raster in the plan.
        row: Row of the sheet.
        col: Column of the sheet.
        key: Content key under which the store has it.
        reused: Whether the store had it before.
        tiles: Tiles that the network ran on.
        seconds: Time by stage: read, infer, stitch.
        profile: The execution profile.
        attempts: How often it was tried.
        failure: Why it could not be segmented, in a sentence; then it is nodata. Empty where it could.
    """

    raster: int
    row: int
    col: int
    key: str
    reused: bool
    tiles: int
    seconds: dict[str, float]
    profile: dict[str, Any]
    attempts: int = 1
    failure: str = ""

    @property
    def fate(self) -> str:
        """What became of it: ``quarantined``, ``reused``, ``inferred``, or ``skipped`` where nothing is measured."""
        if self.failure:
            return "quarantined"
        if self.reused:
            return "reused"
        return "inferred" if self.tiles else "skipped"


class SegmentSheets(beam.DoFn):
    """Sheets in, records out; the label maps go to the prediction store.

    Args:
        plan: The run.
        run_folder: Where records of finished sheets are left, for progress.
        workers: Processes that share this machine.
    """

    def __init__(self, plan: Plan, run_folder: RunFolder, workers: int) -> None:
        self._plan = plan
        self._run_folder = run_folder
        self._workers = workers
        self._timers = {stage: Metrics.distribution("terraseam", f"{stage}_ms") for stage in STAGES}

    def setup(self) -> None:
        """Open nothing yet: rasters and network are opened by the first sheet that needs them."""
        plan, options = self._plan, self._plan.options
        prepare(options.beam, (*plan.bundles, *(raster.path for raster in plan.rasters), options.work_folder))
        self._use(execution_profile(options.batch_size, plan.engine, options.precision))
        self._store = prediction_store(plan)
        self._sources: dict[int, RasterSource] = {}

    def process(self, element: Sheet) -> Iterator[SheetRecord]:
        """Segment one sheet, unless the store has it."""
        clock = Clock()
        try:
            record = self._known_record(element) or self._segment(element, clock)
        except GaveUpError as given_up:
            if self._plan.options.on_error == "fail":
                raise (given_up.__cause__ or given_up) from given_up
            record = self._leave_out(element, clock, given_up)
        self._count(record)
        files.write_bytes(self._run_folder.sheet_done(*element), json.dumps(asdict(record)).encode())
        yield record

    def _use(self, profile: Profile) -> None:
        self._profile = profile
        self._recipe = plan_recipe(self._plan, profile)

    def _known_record(self, element: Sheet) -> SheetRecord | None:
        """The record of a sheet of an unchanged raster that the store has; None for others."""
        key = None if self._plan.options.force else self._known(element[0]).get(*element[1:])
        if key is None or not self._store.intact(key):
            return None
        return SheetRecord(*element, key, True, 0, Clock().seconds, self._profile.to_json())

    def _segment(self, element: Sheet, clock: Clock) -> SheetRecord:
        """Read a sheet, and run the network on it unless the store has what it would say.

        Raises:
            GaveUpError: If that failed again and again.
        """
        chip, reads = persistently(
            lambda: self._read(element, clock), is_unreadable, between=self._sources.clear
        )
        (key, reused, tiles), calls = persistently(
            lambda: self._predict(chip, element, clock), is_worth_another_call
        )
        self._known(element[0]).put(*element[1:], key)
        attempts = max(reads, calls)
        return SheetRecord(*element, key, reused, tiles, clock.seconds, self._profile.to_json(), attempts)

    def _read(self, element: Sheet, clock: Clock) -> Chip:
        with clock.time("read"):
            return self._source(element[0]).read(self._read_window(element))

    def _predict(self, chip: Chip, element: Sheet, clock: Clock) -> tuple[str, bool, int]:
        """Content key of a sheet, whether the store had it, and tiles that the network ran on."""
        lattice = self._plan.lattice(element[0])
        things = self._plan.card.task == "instances"
        key = sheet_key(self._recipe, chip, lattice, element[1:], self._plan.stitch, placed=things)
        if not self._plan.options.force and self._store.intact(key):
            return key, True, 0
        try:
            entry, tiles = self._entry(chip, element, clock)
        except Exception as error:
            if not is_out_of_memory(error) or self._profile.samples == 1:
                raise
            # Another profile: its results are kept under other keys.
            self._use(replace(self._profile, samples=self._profile.samples // 2))
            return self._predict(chip, element, clock)
        self._store.put(key, entry)
        return key, False, tiles

    def _leave_out(self, element: Sheet, clock: Clock, given_up: GaveUpError) -> SheetRecord:
        """Let a sheet be nodata."""
        raster, row, col = element
        shape = self._plan.lattice(raster).sheet_window(row, col).shape
        entry = nothing_measured(shape, things=self._plan.card.task == "instances")
        key = entry_key(entry)
        self._store.put(key, entry)
        profile = self._profile.to_json()
        cause = without_signatures(one_line(given_up.__cause__ or given_up))
        return SheetRecord(*element, key, False, 0, clock.seconds, profile, given_up.attempts, cause)

    def _known(self, raster: int) -> KnownSheets:
        return KnownSheets(self._plan, raster, self._recipe)

    def _read_window(self, element: Sheet) -> Any:
        raster, row, col = element
        return self._plan.lattice(raster).sheet_read_window(row, col, stitch_ring(self._plan.stitch))

    def _source(self, raster: int) -> RasterSource:
        if raster not in self._sources:
            # One raster at a time keeps the number of open files bounded over thousands of rasters.
            self._sources.clear()
            planned = self._plan.rasters[raster]
            self._sources[raster] = RasterSource(
                planned.path, planned.bands, self._plan.card.fill, planned.regrid
            )
        return self._sources[raster]

    def _entry(self, chip: Chip, element: Sheet, clock: Clock) -> tuple[Entry, int]:
        """What the store keeps of a sheet, and how many tiles it took."""
        if self._plan.card.task == "instances":
            return self._find(chip, element, clock)
        return self._label(chip, element, clock)

    def _label(self, chip: Chip, element: Sheet, clock: Clock) -> tuple[LabelMap, int]:
        """The label map of a sheet, and how many tiles it took."""
        raster, row, col = element
        lattice = self._plan.lattice(raster)
        stitch = stitcher(self._plan.stitch, lattice, (row, col), len(self._plan.card.classes))
        valid = chip.valid[lattice.sheet_window(row, col).within(chip.window)]
        ring = stitch_ring(self._plan.stitch)
        tiles = [tile for tile in lattice.sheet_tiles(row, col, ring) if stitch.needs(tile, valid)]
        if tiles:
            for tile, logits in self._infer(self._engine().logits, chip, element, tiles, clock):
                if np.isnan(logits).any():
                    raise NotANumberError(f"{self._plan.card.name} answers NaN for tile {tile}")
                with clock.time("stitch"):
                    stitch.add(tile, logits)
        with clock.time("stitch"):
            return stitch.label_map(np.ascontiguousarray(valid)), len(tiles)

    def _find(self, chip: Chip, element: Sheet, clock: Clock) -> tuple[SheetInstances, int]:
        """What the tiles of a sheet find, and how many tiles it took."""
        raster, row, col = element
        lattice = self._plan.lattice(raster)
        instances: list[TileInstance] = []
        full = 0
        tiles = [
            tile
            for tile in lattice.sheet_tiles(row, col)
            if chip.valid[lattice.core_window(*tile).within(chip.window)].any()
        ]
        if tiles:
            for tile, answer in self._infer(self._detector().instances, chip, element, tiles, clock):
                with clock.time("stitch"):
                    valid = chip.valid[lattice.read_window(*tile).within(chip.window)]
                    instances.extend(tile_instances(answer.instances, lattice, tile, valid))
                    full += answer.full
        valid = chip.valid[lattice.sheet_window(row, col).within(chip.window)]
        return SheetInstances(np.ascontiguousarray(valid), tuple(instances), full), len(tiles)

    def _infer(
        self,
        ask: Callable[[np.ndarray], Iterable[Any]],
        chip: Chip,
        element: Sheet,
        tiles: list[tuple[int, int]],
        clock: Clock,
    ) -> Iterator[tuple[tuple[int, int], Any]]:
        """What the network says of tiles, one after another."""
        samples = self._profile.samples
        at_once = GPU_CALLS
        if self._profile.device == "cpu":
            at_once = calls_at_once(self._plan.chip_memory() * samples, self._workers)
        with clock.time("infer"):
            answers = infer_tiles(ask, chip, self._plan.lattice(element[0]), tiles, samples, at_once)
        while True:
            with clock.time("infer"):
                answer = next(answers, None)
            if answer is None:
                return
            yield answer

    def _engine(self) -> Engine | Ensemble:
        plan = self._plan
        calls = calls_at_once(plan.chip_memory() * self._profile.samples, self._workers)
        workplace = Workplace(converted_folder(plan), calls)
        bundles = [bundle_folder(*each) for each in zip(plan.bundles, plan.cards, strict=True)]
        return shared_ensemble(bundles, self._profile, workplace, plan.options.augment)

    def _detector(self) -> Engine:
        engine = self._engine()
        if not isinstance(engine, Engine):
            raise TypeError("what detectors find cannot be averaged; the plan refuses that")
        return engine

    def _count(self, record: SheetRecord) -> None:
        Metrics.counter("terraseam", f"sheets_{record.fate}").inc()
        if record.attempts > 1:
            Metrics.counter("terraseam", "retries").inc(record.attempts - 1)
        Metrics.counter("terraseam", "tiles_inferred").inc(record.tiles)
        for stage, seconds in record.seconds.items():
            self._timers[stage].update(round(seconds * 1000))


GPU_CALLS = 2
"""Calls in flight on a GPU: one that runs, and one that waits with its chips ready."""

STAGES = ("read", "infer", "stitch")


class Clock:
    """Wall time by stage."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def time(self, stage: str) -> Iterator[None]:
        """Add the time that a block takes to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start
