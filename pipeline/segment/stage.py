"""Segment sheets (read, infer, stitch): the half of the pipeline that runs on accelerators.

One DoFn does all three for a sheet, so that pixels and logits never leave it on any runner; it outputs only the key
of the sheet's label map in the prediction store.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from typing import Any

import apache_beam as beam

# TensorFlow bundles an SQLite without R-trees, and GDAL uses the one loaded first: GeoPackages would lack an index.
import pyogrio  # noqa: F401
from apache_beam.metrics import Metrics
from apache_beam.transforms.window import GlobalWindows

from terraseam.models.engines.profile import Profile, execution_profile
from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.errors import RasterChangedError
from terraseam.pipeline.plan.memory import SPARE_SHEETS, batches_a_sheet, full_sheets_at_once
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.rasters import watched
from terraseam.pipeline.secrets import without_secrets
from terraseam.pipeline.segment.content_keys import plan_recipe, sheet_key
from terraseam.pipeline.segment.failures import (
    OutdatedError,
    StoppedError,
    describe_error,
    is_out_of_memory,
    is_unreadable,
    is_worth_another_call,
)
from terraseam.pipeline.segment.known_sheets import KnownSheets
from terraseam.pipeline.segment.prediction_store import entry_key, nothing_measured, prediction_store
from terraseam.pipeline.segment.prefetch import KeyedLock, OrderedPool
from terraseam.pipeline.segment.sheet_inference import ReadSheet, SheetInference
from terraseam.pipeline.segment.sheets import STAGES, Clock, Sheet, SheetRecord
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.retries import GaveUpError, with_retries
from terraseam.pipeline.storage.run_paths import RunFolder
from terraseam.pipeline.storage.servers import prepare
from terraseam.pipeline.storage.watched_files import RasterState, describe_change, state_after_sheet
from terraseam.tiles.access.sources import allow_sources
from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.labels.stitch import stitch_ring
from terraseam.tiles.raster.inspect import is_local
from terraseam.tiles.raster.source import Chip, RasterReadError, RasterSource

KNOWN_AT_ONCE = 16
"""Rasters whose `KnownSheets` are cached, so that their digest is computed once and not for every sheet."""


@dataclass(frozen=True)
class Execution:
    """The execution profile of sheets, and the recipe digest that follows from it.

    Attributes:
        profile: Execution profile of the network.
        recipe: Digest of everything except pixels that labels depend on.
    """

    profile: Profile
    recipe: str


class SegmentSheets(beam.DoFn):
    """A DoFn from sheets to their records; it writes the label maps to the prediction store.

    Args:
        plan: The run.
        run_folder: Folder for records of finished sheets, to report progress.
        workers: Processes that share this machine.
    """

    def __init__(self, plan: Plan, run_folder: RunFolder, workers: int) -> None:
        self._plan = plan
        self._run_folder = run_folder
        self._workers = workers
        self._timers = {stage: Metrics.distribution("terraseam", f"{stage}_ms") for stage in STAGES}

    def setup(self) -> None:
        """Prepare the worker; rasters and network are opened by the first sheet that needs them."""
        plan, options = self._plan, self._plan.options
        allow_sources(options.allow_sources)
        verify_blocks(options.verify)
        prepare((*plan.bundles, *(raster.path for raster in plan.rasters), options.work_folder), options.beam)
        self._execution = self._execution_of(
            execution_profile(options.batch_size, plan.engine, options.precision, converted=plan.converted())
        )
        self._changing = threading.Lock()
        self._known = lru_cache(KNOWN_AT_ONCE)(partial(KnownSheets, plan))
        self._keys = KeyedLock()
        self._store = prediction_store(plan)
        self._sources: dict[int, RasterSource] = {}
        # One thread reads for all, so that the blocks it has decoded are reused for the next sheet.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._inference = SheetInference(plan, self._workers, self._is_at_hand)
        self._prefetch = self._sheet_pool()
        # While TensorFlow is imported, what other threads write to standard error would be lost.
        self._loads_ahead = (
            plan.engine != "tensorflow"
            and options.runs_here
            and is_local(self._store.folder)
            and not files.names(self._store.folder)
        )

    def _sheet_pool(self) -> OrderedPool[Sheet, SheetRecord]:
        """Return the pool of sheets in progress: a few full ones, or more smaller ones that take no more memory."""
        plan, profile = self._plan, self._execution.profile
        if not plan.options.runs_here:
            # Remote workers have one Beam thread per core, each with its own sheets.
            return OrderedPool(self._segment_or_leave_out, 1)
        calls = self._inference.calls_at_once(profile)
        room = full_sheets_at_once(calls, batches_a_sheet(plan, profile.samples)) * plan.full_sheet_pixels()
        return OrderedPool(self._segment_or_leave_out, calls + SPARE_SHEETS, self._read_pixels, room)

    def process(self, element: Sheet) -> Iterator[SheetRecord]:
        """Segment one sheet, unless the store has it; records come in order, the last ones from `finish_bundle`."""
        for record in self._prefetch.put(element):
            self._count(record)
            yield record

    def finish_bundle(self) -> Iterator[Any]:
        """Yield the records of the last sheets."""
        for record in self._prefetch.rest():
            self._count(record)
            yield GlobalWindows.windowed_value(record)

    def teardown(self) -> None:
        """Stop the threads."""
        self._reader.shutdown(wait=False)
        self._prefetch.end()

    def _segment_or_leave_out(self, element: Sheet) -> SheetRecord:
        """Segment a sheet, and return its record."""
        clock = Clock()
        try:
            record = self._known_record(element) or self._segment(element, clock)
        except RasterChangedError as error:
            if self._plan.options.on_error == "fail":
                raise
            record = replace(self._leave_out(element, clock, error), changed=True)
        except GaveUpError as failure:
            if self._plan.options.on_error == "fail":
                raise (failure.__cause__ or failure) from failure
            record = self._leave_out(element, clock, failure.__cause__ or failure, failure.attempts)
        files.write_bytes(self._run_folder.sheet_record(*element), json.dumps(asdict(record)).encode())
        return record

    def _is_at_hand(self, profile: Profile) -> bool:
        """Return whether a profile is still current; another sheet may have run out of memory with it.

        Raises:
            StoppedError: If the run has failed at another sheet.
        """
        if self._prefetch.stopped.is_set():
            raise StoppedError("another sheet has ended the run")
        return profile == self._execution.profile

    def _execution_of(self, profile: Profile) -> Execution:
        return Execution(profile, plan_recipe(self._plan, profile))

    def _known_record(self, element: Sheet) -> SheetRecord | None:
        """Return the record of a sheet of an unchanged raster that is in the store; None for others."""
        execution = self._execution
        key = (
            None if self._plan.options.force else self._known(element[0], execution.recipe).get(*element[1:])
        )
        if key is None or not self._store.intact(key, self._shape(element)):
            return None
        return SheetRecord(*element, key, True, 0, Clock().seconds, execution.profile.to_json())

    def _segment(self, element: Sheet, clock: Clock) -> SheetRecord:
        """Read a sheet, and run the network on it unless the store has its prediction.

        Raises:
            GaveUpError: If every attempt failed.
            RasterChangedError: If the raster changed in the meantime.
        """
        self._load_ahead()
        chip, reads = with_retries(
            lambda: self._read(element, clock), is_unreadable, between=self._sources.clear
        )
        state = self._state(element)
        (record, execution), calls = with_retries(
            lambda: self._predict(chip, element, clock), is_worth_another_call
        )
        if not state.moved:
            self._known(element[0], execution.recipe).put(*element[1:], record.key)
        return replace(record, attempts=max(reads, calls), moved=state.moved)

    def _load_ahead(self) -> None:
        """Load the network while the first sheet is read, if the store is empty, so that none can be found there."""
        with self._changing:
            begins, self._loads_ahead = self._loads_ahead, False
        if begins:
            load = partial(self._inference.load, self._execution.profile)
            threading.Thread(target=load, name="load", daemon=True).start()

    def _state(self, element: Sheet) -> RasterState:
        """Compare the files of a sheet's raster with their state in the plan.

        Raises:
            RasterChangedError: If they changed.
        """
        planned = self._plan.rasters[element[0]]
        state = state_after_sheet(watched(planned))
        if state.changed:
            self._sources.pop(element[0], None)
            raise RasterChangedError(describe_change(planned.path))
        return state

    def _read(self, element: Sheet, clock: Clock) -> Chip:
        def read() -> Chip:
            with clock.time("read"), ACTIVITY.operation():
                try:
                    return self._source(element[0]).read(self._read_window(element))
                except RasterReadError:
                    self._state(element)  # A raster that is being written may be unreadable.
                    raise

        return self._reader.submit(read).result()

    def _predict(self, chip: Chip, element: Sheet, clock: Clock) -> tuple[SheetRecord, Execution]:
        """Run the network on a sheet's pixels unless the store has the result; return its record and execution."""
        execution, lattice = self._execution, self._plan.lattice(element[0])
        has_instances = self._plan.card.task == "instances"
        key = sheet_key(
            execution.recipe, chip, lattice, element[1:], self._plan.stitch, with_position=has_instances
        )
        profile = execution.profile.to_json()
        # A sheet of the same pixels waits, and then finds the entry in the store.
        with self._keys.alone(key):
            if not self._plan.options.force and self._store.intact(key, self._shape(element)):
                return SheetRecord(*element, key, True, 0, clock.seconds, profile), execution
            try:
                entry, tiles = self._inference.entry(ReadSheet(element, chip, execution.profile, clock))
            except OutdatedError:
                return self._predict(chip, element, clock)
            except Exception as error:
                if not is_out_of_memory(error) or execution.profile.samples == 1:
                    raise
                self._ask_for_less(execution)
                return self._predict(chip, element, clock)
            self._store.put(key, entry)
        return SheetRecord(*element, key, False, tiles, clock.seconds, profile), execution

    def _ask_for_less(self, execution: Execution) -> None:
        """Halve the batch size, unless another sheet has done so; results of other profiles have other keys."""
        with self._changing:
            if self._execution is execution:
                self._execution = self._execution_of(
                    replace(execution.profile, samples=execution.profile.samples // 2)
                )

    def _leave_out(
        self, element: Sheet, clock: Clock, error: BaseException, attempts: int = 1
    ) -> SheetRecord:
        """Store a failed sheet as nodata, and return its record."""
        entry = nothing_measured(self._shape(element), instances=self._plan.card.task == "instances")
        key = entry_key(entry)
        self._store.put(key, entry)
        profile = self._execution.profile.to_json()
        cause = without_secrets(describe_error(error))
        return SheetRecord(*element, key, False, 0, clock.seconds, profile, attempts, cause)

    def _shape(self, element: Sheet) -> tuple[int, int]:
        """Return the height and width of a sheet, in pixels."""
        raster, row, col = element
        return self._plan.lattice(raster).sheet_window(row, col).shape

    def _read_pixels(self, element: Sheet) -> int:
        """Return the number of pixels that are read for a sheet."""
        return int(self._read_window(element).pixels)

    def _read_window(self, element: Sheet) -> Any:
        raster, row, col = element
        return self._plan.lattice(raster).sheet_read_window(row, col, stitch_ring(self._plan.stitch))

    def _source(self, raster: int) -> RasterSource:
        source = self._sources.get(raster)
        if source is None:
            # One raster at a time keeps the number of open files bounded over thousands of rasters.
            self._sources.clear()
            planned = self._plan.rasters[raster]
            source = RasterSource(
                planned.path, planned.bands, self._plan.card.fill, planned.regrid, files=planned.files or None
            )
            self._sources[raster] = source
        return source

    def _count(self, record: SheetRecord) -> None:
        Metrics.counter("terraseam", f"sheets_{record.fate}").inc()
        if record.attempts > 1:
            Metrics.counter("terraseam", "retries").inc(record.attempts - 1)
        Metrics.counter("terraseam", "tiles_inferred").inc(record.tiles)
        for stage, seconds in record.seconds.items():
            self._timers[stage].update(round(seconds * 1000))
