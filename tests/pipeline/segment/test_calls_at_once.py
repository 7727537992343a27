"""All calls of the network are in flight at once, however few tiles a sheet has."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import nets
import numpy as np
import pytest
from plan_cases import planner
from segment_cases import manifest, segment

from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import execution_profile
from terraseam.pipeline.plan.memory import calls_at_once
from terraseam.pipeline.segment.failures import StoppedError
from terraseam.pipeline.segment.sheet_inference import ReadSheet, SheetInference
from terraseam.pipeline.segment.sheets import Clock
from terraseam.tiles.raster.source import RasterSource

WAIT = 60
"""Seconds after which calls that are not in flight at once break the barrier."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.brightest_band())


class Inference(SheetInference):
    """Inference with three calls at once, by an engine that is given."""

    def __init__(self, plan, engine, is_at_hand=lambda _: True):
        super().__init__(plan, 1, is_at_hand)
        self.engine = engine

    def calls_at_once(self, _):
        return 3

    def _engine(self, _):
        return self.engine


class Meeting:
    """An engine whose calls only return when three of them are in flight."""

    def __init__(self, fails=()):
        self.barrier = threading.Barrier(3)
        self.fails = list(fails)

    def logits(self, chips):
        self.barrier.wait(WAIT)
        if self.fails:
            raise self.fails.pop()
        return np.where(chips[..., :3] == chips.max(-1, keepdims=True), 1, 0).astype(np.float32)


def read_sheets(plan):
    """Read all sheets of a plan's only raster."""
    planned, lattice = plan.rasters[0], plan.lattice(0)
    source = RasterSource(planned.path, planned.bands, plan.card.fill)
    return [
        ReadSheet((0, *sheet), source.read(lattice.sheet_read_window(*sheet)), execution_profile(), Clock())
        for sheet in lattice.sheets()
    ]


@pytest.mark.parametrize(("height", "width", "sheet"), [(512, 3 * 512, 512), (1024, 3 * 512, 1024)])
def test_the_next_sheet_is_inferred_while_the_last_tiles_of_one_are(
    height, width, sheet, make_raster, bundle, tmp_path
):
    """Three sheets of a tile, or one of four and one of two: calls are only full where sheets overlap."""
    plan = planner(make_raster, bundle, tmp_path)(make_raster(height, width), tile=512, sheet=sheet)
    inference, sheets = Inference(plan, Meeting()), read_sheets(plan)
    assert plan.tile_count() % 3 == 0 and len(sheets) == (3 if sheet == 512 else 2)
    with ThreadPoolExecutor(3) as threads:
        tiles = [tiles for _, tiles in threads.map(inference.entry, sheets)]
    assert sum(tiles) == plan.tile_count()


def test_a_sheet_that_fails_or_is_stopped_lets_the_others_go_on(make_raster, bundle, tmp_path):
    plan = planner(make_raster, bundle, tmp_path)(make_raster(1024, 2048), tile=512, sheet=1024)
    stopped = []

    def is_at_hand(_):
        if threading.current_thread().name in stopped:
            raise StoppedError("another sheet has ended the run")
        return True

    class Direct(Meeting):
        def logits(self, chips):
            if self.fails:
                raise self.fails.pop()
            return np.zeros((*chips.shape[:3], 3), np.float32)

    inference = Inference(plan, Direct([ValueError("no such thing")]), is_at_hand)
    first, second = read_sheets(plan)
    with pytest.raises(ValueError, match="no such thing"):
        inference.entry(first)
    assert inference.entry(second)[1] == 4
    stopped.append(threading.current_thread().name)
    with pytest.raises(StoppedError):
        inference.entry(first)
    stopped.clear()
    assert inference.entry(first)[1] == 4


class Gathering:
    """Calls that wait until so many are in flight at once; if that takes too long, all go on."""

    def __init__(self, calls):
        self._calls, self._inside = calls, 0
        self._changed = threading.Condition()
        self.met = self._over = False

    def wait(self):
        with self._changed:
            self._inside += 1
            self.met = self.met or self._inside == self._calls
            self._changed.notify_all()
            self._over = not self._changed.wait_for(lambda: self.met or self._over, WAIT) or self._over
            self._inside -= 1
            self._changed.notify_all()


@pytest.mark.parametrize("name", ["one raster", "many rasters"])
def test_a_run_of_sheets_of_one_tile_has_all_calls_in_flight(
    name, make_raster, bundle, tmp_path, monkeypatch
):
    calls = calls_at_once(1, 1, 1 << 30)
    if name == "one raster":
        rasters, sheet = make_raster(512, (calls + 1) * 512), "512"
    else:
        rasters, sheet = tmp_path / "many", "2048"
        for number in range(calls + 1):
            make_raster(90, 100, name=f"many/{number}.tif", seed=number)
    gathering, logits = Gathering(calls), Engine.logits

    def gathered(engine, chips):
        gathering.wait()
        return logits(engine, chips)

    monkeypatch.setattr(Engine, "logits", gathered)
    assert segment(rasters, bundle, tmp_path / "out", "--sheet", sheet) == 0
    sheets = [sheet for raster in manifest(tmp_path / "out")["rasters"] for sheet in raster["sheets"]]
    assert [sheet["fate"] for sheet in sheets] == ["inferred"] * (calls + 1)
    assert gathering.met
