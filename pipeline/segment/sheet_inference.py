"""Run the network on a sheet's pixels, and assemble its entry for the prediction store."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from terraseam.models.engines.engine import Engine
from terraseam.models.engines.ensemble import Ensemble, shared_ensemble
from terraseam.models.engines.profile import Profile
from terraseam.models.engines.workplace import Workplace
from terraseam.pipeline.inputs.bundles import bundle_folder
from terraseam.pipeline.plan.memory import calls_at_once, room_for_calls
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.segment.failures import NotANumberError, OutdatedError
from terraseam.pipeline.segment.infer import Tile, infer_tiles
from terraseam.pipeline.segment.prediction_store import Entry
from terraseam.pipeline.segment.sheets import Clock, Sheet
from terraseam.pipeline.storage import files
from terraseam.tiles.instances.instances import SheetInstances, TileInstance, tile_instances
from terraseam.tiles.labels.stitch import LabelMap, stitch_ring, stitcher
from terraseam.tiles.raster.inspect import is_local
from terraseam.tiles.raster.source import Chip

GPU_CALLS = 2
"""Calls in flight on a GPU: one that runs, and one that waits with its chips ready."""


@dataclass(frozen=True)
class ReadSheet:
    """A sheet whose pixels have been read.

    Attributes:
        sheet: The sheet.
        chip: The pixels of its read window.
        profile: Execution profile of the network.
        clock: Clock that measures the time spent on it.
    """

    sheet: Sheet
    chip: Chip
    profile: Profile
    clock: Clock


class SheetInference:
    """The network, applied to one sheet after another; it may be called from several threads.

    Args:
        plan: The run.
        workers: Processes that share this machine.
        is_at_hand: Returns whether a profile is still current; called before every tile. It may raise an error to
            abort the sheet.
    """

    def __init__(self, plan: Plan, workers: int, is_at_hand: Callable[[Profile], bool]) -> None:
        self._plan = plan
        self._workers = workers
        self._is_at_hand = is_at_hand
        self._turn = threading.Lock()

    def load(self, profile: Profile) -> None:
        """Load the network ahead of the first sheet, which meets the same error if it cannot be loaded."""
        with contextlib.suppress(Exception):
            self._engine(profile)

    def entry(self, read: ReadSheet) -> tuple[Entry, int]:
        """Compute the stored prediction of a sheet, and the number of tiles inferred.

        Raises:
            NotANumberError: If the network's output contains NaN.
            OutdatedError: If the sheet's profile is no longer current.
        """
        return self._find(read) if self._plan.card.task == "instances" else self._label(read)

    def _label(self, read: ReadSheet) -> tuple[LabelMap, int]:
        """Compute the label map of a sheet, and the number of tiles inferred."""
        raster, row, col = read.sheet
        lattice = self._plan.lattice(raster)
        stitch = stitcher(self._plan.stitch, lattice, (row, col), len(self._plan.card.classes))
        valid = read.chip.valid[lattice.sheet_window(row, col).within(read.chip.window)]
        ring = stitch_ring(self._plan.stitch)
        tiles = [tile for tile in lattice.sheet_tiles(row, col, ring) if stitch.needs(tile, valid)]
        if tiles:
            with closing(self._infer_tiles(self._engine(read.profile).logits, read, tiles)) as outputs:
                for tile, logits in outputs:
                    if np.isnan(logits).any():
                        raise NotANumberError(f"{self._plan.card.name} returned NaN for tile {tile}")
                    with read.clock.time("stitch"):
                        stitch.add(tile, logits)
        with read.clock.time("stitch"):
            return stitch.label_map(np.ascontiguousarray(valid)), len(tiles)

    def _find(self, read: ReadSheet) -> tuple[SheetInstances, int]:
        """Detect the instances in the tiles of a sheet, and count the tiles inferred."""
        raster, row, col = read.sheet
        lattice, chip = self._plan.lattice(raster), read.chip
        instances: list[TileInstance] = []
        full = 0
        tiles = [
            tile
            for tile in lattice.sheet_tiles(row, col)
            if chip.valid[lattice.core_window(*tile).within(chip.window)].any()
        ]
        if tiles:
            with closing(self._infer_tiles(self._detector(read.profile).instances, read, tiles)) as outputs:
                for tile, output in outputs:
                    with read.clock.time("stitch"):
                        valid = chip.valid[lattice.read_window(*tile).within(chip.window)]
                        instances.extend(tile_instances(output.instances, lattice, tile, valid))
                        full += output.full
        valid = chip.valid[lattice.sheet_window(row, col).within(chip.window)]
        return SheetInstances(np.ascontiguousarray(valid), tuple(instances), full), len(tiles)

    def _infer_tiles(
        self, ask: Callable[[np.ndarray], Iterable[Any]], read: ReadSheet, tiles: list[Tile]
    ) -> Generator[tuple[Tile, Any], None, None]:
        """Yield the network's output for each tile; the generator must be closed, or other sheets may wait for it."""
        samples, at_once = read.profile.samples, self.calls_at_once(read.profile)
        reads = self._plan.lattice(read.sheet[0]).read_windows(tiles)
        # If two sheets took turns tile by tile, both would finish late, and no other would be read meanwhile. The next
        # one follows when the last tile has been submitted, so that no call is idle until that has been inferred.
        with ExitStack() as turn:
            turn.enter_context(self._turn)
            outputs = infer_tiles(ask, read.chip, reads, samples, at_once, turn.close)
            while True:
                if not self._is_at_hand(read.profile):
                    raise OutdatedError("sheets are inferred in another way now")
                with read.clock.time("infer"):
                    output = next(outputs, None)
                if output is None:
                    return
                yield output

    def calls_at_once(self, profile: Profile) -> int:
        """Return the number of concurrent calls of the network."""
        return GPU_CALLS if profile.device == "gpu" else self._calls(profile)

    def _calls(self, profile: Profile) -> int:
        room = room_for_calls(self._plan, self._workers)
        return calls_at_once(self._plan.chip_memory() * profile.samples, self._workers, room)

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


def converted_folder(plan: Plan) -> str | None:
    """Return the folder of networks converted for an engine; None if the work folder is remote."""
    work = plan.options.work_folder
    return files.join(work, "converted") if is_local(work) else None
