"""Measuring whole runs: what is counted where, what is changed between runs, and the windows of the naive script."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
from places import ROOT

from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.source import RasterSource

sys.path.append(str(ROOT / "benchmarks"))

import endtoend
import spawning
import stages

LATTICE = Lattice(900, 1300, 128, Halo(16, 32, 16, 32), 2)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


def test_a_stage_counts_what_no_stage_inside_it_counts():
    clock, found = Clock(), stages.Stages()
    inner = found.clocked("inner", clock.spend, clock)

    def work(seconds: float) -> str:
        clock.spend(1)
        inner(seconds)
        inner(seconds)
        return "done"

    assert found.clocked("outer", work, clock)(10) == "done"
    assert found.seconds == {"inner": 20, "outer": 1}


def test_of_generators_every_step_counts_and_nothing_between_them():
    clock, found = Clock(), stages.Stages()

    def steps() -> Iterator[int]:
        for number in range(3):
            clock.spend(1)
            yield number

    seen = []
    for number in found.clocked("steps", steps, clock)():
        clock.spend(100)
        seen.append(number)
    assert seen == [0, 1, 2]
    assert found.seconds == {"steps": 3}


def test_what_other_threads_do_is_not_inside():
    clock, found = Clock(), stages.Stages()
    inner = found.clocked("inner", clock.spend, clock)

    def work() -> None:
        thread = threading.Thread(target=inner, args=(5,))
        thread.start()
        thread.join()

    found.clocked("outer", work, clock)()
    assert found.seconds == {"inner": 5, "outer": 5}


def test_what_was_not_the_main_threads_is_counted_once():
    own, others, found = Clock(), Clock(), stages.Stages()

    def both(seconds: float) -> None:
        own.spend(seconds)
        others.spend(seconds)

    inner = found.clocked("inner", both, own, others)

    def work() -> None:
        both(2)
        inner(5)

    found.clocked("outer", work, own, others)()
    found.clocked("main", lambda: own.spend(9), own)()
    assert found.seconds == {"inner": 5, "outer": 2, "main": 9}
    assert found.elsewhere == 7


@pytest.mark.slow
def test_the_network_is_what_threads_do_that_no_clock_has_seen(
    make_raster: Callable[..., Path], tmp_path: Path
):
    pixels = np.random.default_rng(0).integers(0, 255, (700, 900, 3)).astype(np.uint8)
    raster = make_raster(pixels=pixels)
    told, bare = tmp_path / "stages.json", tmp_path / "bare.json"
    words = [
        "segment",
        str(raster),
        "--model",
        "coast",
        "--engine",
        "tensorflow",
        "--any-gsd",
        "--tile",
        "512",
        "--output",
        str(tmp_path / "out"),
    ]
    benchmarks = ROOT / "benchmarks"
    spawning.spent_in([str(benchmarks / "stages.py"), str(told), *words])
    spawning.spent_in([str(benchmarks / "bare.py"), str(bare), *words])
    found, network = json.loads(told.read_text()), json.loads(bare.read_text())
    assert network["tiles"] == 4
    assert 0.5 < found["network"] / network["cpu_seconds"] < 4, "the bare one is warm"
    assert found["load the network"] > 0.1 < found["start and imports"]
    assert -0.5 < found["Beam, imports and the rest"] < found["total"] / 2


def test_a_failure_is_counted_and_raised():
    clock, found = Clock(), stages.Stages()

    def fail() -> None:
        clock.spend(2)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        found.clocked("stage", fail, clock)()
    assert found.seconds == {"stage": 2}


@pytest.mark.slow
def test_all_that_has_a_clock_is_there_wherever_it_was_imported_to():
    program = (
        "import stages; from terraseam.pipeline.segment import stage as segment; from terraseam.tiles.regions import trace; "
        "from terraseam.pipeline.vectorize import stage as vectorize; "
        "stages.wrap(stages.Stages()); assert vectorize.trace_open is trace.trace_open; "
        "assert hasattr(trace.trace_open, '__wrapped__'); "
        "assert hasattr(segment.SegmentSheets.process, '__wrapped__')"
    )
    spawning.spent_in(
        ["-c", f"import sys; sys.path[:0] = {[str(ROOT), str(ROOT / 'benchmarks')]}; {program}"]
    )


def test_memory_of_a_child_is_told_apart_and_pages_of_files(tmp_path):
    (tmp_path / "pages").write_bytes(bytes(200_000_000))
    child = (
        f"import mmap, time; file = open({str(tmp_path / 'pages')!r}, 'rb'); kept = bytearray(300_000_000); "
        "pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); pages.find(b'1'); time.sleep(0.5)"
    )
    spent = spawning.spent_in(
        ["-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"]
    )
    assert spent.child_peak_bytes > 500_000_000 > spent.child_own_bytes > 300_000_000
    assert 300_000_000 > spent.peak_bytes > spent.own_bytes > 1_000_000
    assert spent.cpu_seconds > spent.system_seconds > 0


def test_a_command_that_fails_ends_the_benchmark():
    with pytest.raises(SystemExit, match="ended with"):
        spawning.spent_in(["-c", "raise SystemExit(3)"])


@pytest.mark.parametrize(("share", "count"), [(0.01, 1), (0.1, 2), (0.5, 12)])
def test_so_many_sheets_read_something_else(make_raster: Callable[..., Path], share: float, count: int):
    pixels = np.random.default_rng(1).integers(0, 100, (900, 1300, 3)).astype(np.uint8)
    lattice = Lattice(900, 1300, 128, Halo(0, 16, 16, 0), 2)
    raster = make_raster(pixels=pixels)
    endtoend.change(raster, lattice, share, block=64)
    with rasterio.open(raster) as dataset:
        differs = (np.moveaxis(dataset.read(), 0, -1) != pixels).any(-1)
    seen = [
        differs[max(0, read.row_off) : read.row_end, max(0, read.col_off) : read.col_end].any()
        for read in (lattice.sheet_read_window(*sheet) for sheet in lattice.sheets())
    ]
    assert sum(seen) == count


def test_the_naive_script_reads_the_pixels_that_terraseam_reads(make_raster: Callable[..., Path]):
    import naive

    pixels = np.random.default_rng(2).integers(0, 255, (900, 1300, 3)).astype(np.uint8)
    raster = make_raster(pixels=pixels)
    source = RasterSource(str(raster), (1, 2, 3), (0.0, 0.0, 0.0))
    with rasterio.open(raster) as dataset:
        for tile in ((0, 0), (3, 5), (6, 4)):
            window: Window = LATTICE.read_window(*tile)
            ours = source.read(window).pixels
            theirs = naive.read(dataset, window.row_off, window.col_off, window.row_end, window.col_end)
            assert np.array_equal(ours, theirs)


def result(kind: str, size: int, **found: object) -> dict[str, object]:
    return {
        "kind": kind,
        "size": size,
        "megapixels": size**2 / 1e6,
        "load": [[1.0, 0, 0], [3.0, 0, 0]],
        **found,
    }


def spent(wall: float, cpu: float, **more: object) -> dict[str, object]:
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "peak_bytes": 2e9,
        "child_peak_bytes": 1e9,
        "own_bytes": 1.5e9,
        "child_own_bytes": 5e8,
        **more,
    }


def test_tables_tell_ratios_and_what_a_mpx_more_costs():
    counts = {"sheets": 4, "sheets_inferred": 1, "tiles_inferred": 4}
    results = [
        result("ours", size, cold=spent(wall, cpu, counts=counts), stages={"total": cpu, "network": 1, "read": read},
               again={"nothing changed": spent(wall / 100, cpu / 50, counts=counts)})
        for size, wall, cpu, read in ((1000, 20, 10, 3), (2000, 60, 30, 9))
    ]  # fmt: skip
    for size, wall, cpu in ((1000, 18, 8), (2000, 50, 20)):
        results.append(result("bare", size, network={"seconds": wall, "cpu_seconds": cpu}))
    told = endtoend.told(results)
    assert "| 4.0 Mpx | 60 | 30.0 | 0.07 | 1.20 x | 1.50 x |" in told
    assert "| increment from the second to the last | 40 | 20.0 | 0.07 | 1.25 x | 1.67 x |" in told
    assert "| 4.0 Mpx | 2.00 GB | 1.50 GB |  |  |  |" in told
    assert "| read | 3.00 | 9.00 | 2.0000 |" in told
    assert "| all beside the network | 3.00 | 9.00 | 2.0000 |" in told
    assert "| nothing changed | 1 of 4 sheets | 4 | 0.6 | 1.0% | 0.6 | 2.0% |" in told
    assert "1.0 to 3.0" in told
