"""Worker processes that end or stop, and runs in which nothing is finished."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time

import grpc
import numpy as np
import psutil
import pytest
from places import ROOT
from vectorize_cases import patches, vectorize, write_labels

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.cli import main
from terraseam.pipeline.plan.polygons import LabelledRaster
from terraseam.pipeline.run import sdk_worker_main, watchdog
from terraseam.pipeline.run.heartbeat import Beat
from terraseam.pipeline.run.watchdog import (
    Stall,
    Watchdog,
    WatchIntervals,
    Worker,
    WorkerFiles,
    describe_death,
    describe_stall,
)
from terraseam.pipeline.segment.infer import infer_tiles
from terraseam.pipeline.storage import files
from terraseam.pipeline.vectorize.label_rasters import RasterLabels, RasterSheet
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_raster import LabelRaster
from terraseam.tiles.measures.label_map import LabelMapFile
from terraseam.tiles.raster.source import Chip

FAST = "poll=0.05, beat=0.05, silent=1.0, interrupted=0.3, gone=0.2, stalled=60"
"""A pace for tests."""

DRIVER = """
import signal, subprocess, sys, time
from functools import partial
from pathlib import Path
from terraseam.pipeline.run import watchdog
from terraseam.pipeline.cli import _ended
from terraseam.pipeline.exit_status import fail
folder, child, pace, seconds = sys.argv[1:]
watchdog.PACE = eval(f"watchdog.WatchIntervals({pace})")
files = watchdog.WorkerFiles(Path(folder) / "log", Path(folder) / "heartbeats")
def report(sentence):
    return fail("interrupted" if watchdog.was_interrupted() else sentence, 130 if watchdog.was_interrupted() else 1)
def run():
    with watchdog.Watchdog("hope", report=report, files=files).watching():
        worker = subprocess.Popen([sys.executable, "-c", child, str(files.heartbeats)])
        print(worker.pid, flush=True)
        try:
            if seconds == "until it ends":
                worker.wait()
                raise ConnectionError("its channel is closed")
            time.sleep(float(seconds))
        finally:
            worker.wait()
    return 0
sys.exit(_ended(run, "interrupted"))
"""
"""A driver with one worker, which runs for a while."""

CHILD = """
import os, sys, time
from pathlib import Path
from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.run.heartbeat import heartbeat
with heartbeat(Path(sys.argv[1]), 0.05):
    {work}
"""
"""A worker process without Beam."""


@contextlib.contextmanager
def driving(folder, work, seconds, pace=FAST):
    """A driver, and the number of its worker's process."""
    arguments = [sys.executable, "-c", DRIVER, str(folder), CHILD.format(work=work), pace, str(seconds)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, cwd=ROOT, start_new_session=True, **streams) as driver:
        try:
            yield driver, int(driver.stdout.readline())
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(driver.pid, signal.SIGKILL)


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def runs(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def has_beaten(folder, pid):
    file = folder / "heartbeats" / str(pid)
    return file.exists() and Beat.from_bytes(file.read_bytes()).number > 1


def test_a_worker_that_is_stopped_ends_the_run(tmp_path):
    with driving(tmp_path, "time.sleep(60)", 60) as (driver, worker):
        wait_for(lambda: has_beaten(tmp_path, worker))
        os.kill(worker, signal.SIGSTOP)
        assert driver.wait(30) == 1
        assert (
            driver.stderr.read() == f"terraseam: worker process {worker} is stopped: no heartbeat for 1 s\n"
        )
        wait_for(lambda: not runs(worker))
    assert not (tmp_path / "heartbeats").exists()


def test_a_worker_that_is_stopped_before_its_first_beat_ends_the_run(tmp_path):
    early = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    command = ["sh", "-c", f"true >{tmp_path}/heartbeats/$$; exec {sys.executable} -c '{early}'"]
    work = f"import subprocess; subprocess.run({command!r})"
    with driving(tmp_path, work, 60) as (driver, _):
        assert driver.wait(30) == 1
        assert "is stopped: no heartbeat for 1 s" in driver.stderr.read()


def test_a_worker_that_ends_with_status_0_in_the_middle_ends_the_run(tmp_path):
    with driving(tmp_path, "time.sleep(0.3); os._exit(0)", 60) as (driver, _):
        assert driver.wait(30) == 1
        assert driver.stderr.read() == (
            "terraseam: a worker process died (it exited with status 0 in the middle of its work)\n"
        )


def test_a_worker_that_ends_is_told_where_the_runner_sees_its_closed_channel_first(tmp_path):
    with driving(tmp_path, "time.sleep(0.3); os._exit(0)", "until it ends") as (driver, _):
        assert driver.wait(30) == 1
        assert driver.stderr.read() == (
            "terraseam: a worker process died (it exited with status 0 in the middle of its work)\n"
        )


def test_an_error_beside_workers_that_are_well_is_told_as_it_is(tmp_path):
    with driving(tmp_path, "time.sleep(0.3)", "until it ends") as (driver, _):
        assert driver.wait(30) == 1
        assert "ConnectionError: its channel is closed" in driver.stderr.read()


def test_a_worker_that_ends_as_it_should_ends_nothing(tmp_path):
    with driving(tmp_path, "time.sleep(0.3)", 1.5) as (driver, worker):
        wait_for(lambda: has_beaten(tmp_path, worker))
        assert driver.wait(30) == 0
        assert driver.stderr.read() == ""
    assert not (tmp_path / "heartbeats").exists()


def test_time_in_which_everything_is_stopped_ends_nothing(tmp_path):
    with driving(tmp_path, "time.sleep(2)", 2) as (driver, worker):
        wait_for(lambda: has_beaten(tmp_path, worker))
        os.killpg(driver.pid, signal.SIGSTOP)
        time.sleep(2.5)
        os.killpg(driver.pid, signal.SIGCONT)
        assert driver.wait(30) == 0
        assert "no heartbeat" not in driver.stderr.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_does_not_wait_long_for_a_worker_that_is_stopped(tmp_path, number):
    pace = FAST.replace("silent=1.0", "silent=60")
    with driving(tmp_path, "time.sleep(60)", 60, pace) as (driver, worker):
        wait_for(lambda: has_beaten(tmp_path, worker))
        os.kill(worker, signal.SIGSTOP)
        driver.send_signal(number)
        assert driver.wait(30) == 130
        assert driver.stderr.read() == "terraseam: interrupted\n"


def test_a_run_says_again_and_again_that_its_workers_finish_nothing(tmp_path):
    work = "ACTIVITY.add(0.04); time.sleep(60)"
    with driving(tmp_path, work, 60, FAST.replace("stalled=60", "stalled=0.4")) as (driver, _):
        said = [driver.stderr.readline() for _ in range(2)]
        assert driver.poll() is None
    assert all("no tile, read or write has finished for" in line for line in said)
    assert "(the longest so far took 1 s)" in said[0]
    assert said[0].rstrip().endswith("Ctrl-C ends it (hope)")


def test_what_ends_a_worker_from_within_is_an_error_whatever_its_status(monkeypatch):
    from apache_beam.runners.worker import sdk_worker_main as harness

    monkeypatch.setattr(harness, "main", lambda _: sys.exit(0))
    with pytest.raises(RuntimeError, match="the worker process tried to exit with status 0"):
        sdk_worker_main.main([])


def test_a_worker_that_computes_without_a_beat_is_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "BUSY_S", 0.05)
    file = tmp_path / str(os.getpid())
    file.write_bytes(Beat(7).to_bytes())
    worker = Worker(file)
    worker.poll(1.0)
    worker.poll(40.0)
    assert worker.silent == 40.0
    began = time.process_time()
    while time.process_time() - began < 0.1:
        pass
    worker.poll(40.0)
    assert worker.silent == 0.0
    worker.poll(60.0)
    assert worker.trouble(WatchIntervals()) == (f"worker process {os.getpid()} hangs: no heartbeat for 60 s")


def test_the_heartbeat_says_what_was_finished():
    assert Beat.from_bytes(Beat(3, 14, 1.5).to_bytes()) == Beat(3, 14, 1.5)
    assert Beat.from_bytes(b"") == Beat()


def said_at(stall, polls):
    """Seconds of idleness that are said at each of some polls, a minute apart."""
    return [stall.poll(finished, longest, 60.0) for finished, longest in polls]


def test_a_stall_is_said_after_five_minutes_and_every_five_minutes_from_then_on():
    assert said_at(Stall(WatchIntervals()), [(0, 0.0)] * 11) == [*[None] * 4, 300, *[None] * 4, 600, None]


def test_a_stall_is_said_after_twenty_times_the_longest_operation_where_that_is_longer():
    polls = [(1, 30.0)] * 17
    assert said_at(Stall(WatchIntervals()), polls) == [*[None] * 10, 600, *[None] * 4, 900, None]
    assert said_at(Stall(WatchIntervals()), [(1, 15.0)] * 7) == [*[None] * 5, 300, None]


def test_what_is_finished_ends_a_stall():
    polls = [*[(0, 0.0)] * 4, *[(1, 1.0)] * 5, *[(2, 1.0)] * 6]
    assert said_at(Stall(WatchIntervals()), polls) == [*[None] * 14, 300]


def test_a_stall_is_said_with_what_to_look_at():
    assert describe_stall(300, 3.4, "tile, read or write", "it continues") == (
        "no tile, read or write has finished for 5 min (the longest so far took 3 s), and the run is still waiting; "
        "check whether the disks and servers it uses respond, and how busy the machine is; Ctrl-C ends it (it continues)"
    )
    assert "(none has finished yet)" in describe_stall(300, 0.0, "chip or step", "")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            "Worker subprocess exited with return code -9",
            "it was killed by SIGKILL, as the system does when memory runs out",
        ),
        ("Worker subprocess exited with return code -11", "it was killed by SIGSEGV"),
        ("Worker subprocess exited with return code -99", "it was killed by signal 99"),
        ("Worker subprocess exited with return code 3", "it exited with status 3"),
        ("Cannot fork.", "Cannot fork"),
    ],
)
def test_it_is_said_how_a_worker_has_ended(cause, words):
    assert describe_death(cause) == f"a worker process died ({words})"


def raising(error):
    def run():
        raise error

    thread = threading.Thread(target=run, name="read_grpc_client_inputs")
    thread.start()
    thread.join()


def test_errors_of_the_connection_with_workers_go_to_their_log(tmp_path, capsys):
    log = tmp_path / "workers.log"
    seen = []
    before, threading.excepthook = threading.excepthook, lambda args: seen.append(str(args.exc_value))
    try:
        with Watchdog("", files=WorkerFiles(log, tmp_path / "heartbeats")).watching():
            raising(grpc.RpcError("the worker is gone"))
            raising(ValueError("something else"))
    finally:
        threading.excepthook = before
    assert "RpcError: the worker is gone" in log.read_text()
    assert "something else" not in log.read_text() and seen == ["something else"]
    assert capsys.readouterr().err == ""


def operations(action):
    """How many operations are finished by what an action does."""
    before = ACTIVITY.finished
    action()
    return ACTIVITY.finished - before


def test_tiles_reads_and_writes_are_operations(tmp_path):
    path = str(tmp_path / "file")
    assert operations(lambda: files.write_bytes(path, b"1")) == 1
    assert operations(lambda: files.read_bytes(path)) == 1
    labels = write_labels(tmp_path / "map.tif", patches(100, 100))
    source = RasterLabels([LabelledRaster("map", str(labels), None, ())], ())
    sheet = RasterSheet((0, 0, 0), Window(0, 0, 100, 100))
    assert operations(lambda: source.read(sheet, 1)) == 1
    lattice = Lattice(100, 100, 50, Halo(0, 0, 0, 0), 2)
    chip = Chip(Window(0, 0, 100, 100), np.zeros((100, 100, 1), np.uint8), np.ones((100, 100), bool))
    tiles = [(0, 0), (0, 1), (1, 0)]
    assert (
        operations(lambda: list(infer_tiles(lambda chips: chips, chip, lattice.read_windows(tiles), 1, 1)))
        == 3
    )


def test_an_operation_counts_with_the_time_that_it_took():
    with pytest.raises(OSError), ACTIVITY.operation():
        time.sleep(0.02)
        raise OSError
    assert ACTIVITY.longest >= 0.02


def slowly(monkeypatch, seconds, kind=LabelRaster, name="read"):
    """Let reading label rasters take long, as on a disk that hardly answers."""
    read = getattr(kind, name)

    def slow(self, window):
        time.sleep(seconds)
        return read(self, window)

    monkeypatch.setattr(kind, name, slow)
    monkeypatch.setattr(ACTIVITY, "longest", 0.0)
    monkeypatch.setattr(watchdog, "PACE", WatchIntervals(poll=0.05, stalled=0.3))


def test_a_run_that_waits_for_a_disk_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    labels = write_labels(tmp_path / "map.tif", patches(60, 70))
    slowly(monkeypatch, 1.0)
    assert vectorize(labels, tmp_path / "out") == 0
    said = capsys.readouterr().err.splitlines()
    assert 2 <= len(said) <= 4
    assert all("no tile, read or write has finished for" in line for line in said)
    assert all("run the same command again to start over" in line for line in said)


def test_an_evaluation_that_waits_for_a_disk_says_so_and_goes_on(tmp_path, monkeypatch, capsys):
    slowly(monkeypatch, 1.0, LabelMapFile, "_read")
    truth, predicted = (
        write_labels(tmp_path / name / "map.tif", patches(60, 70)) for name in ("truth", "predicted")
    )
    files = ["--truth", str(truth), "--predicted", str(predicted), "--classes", "a,b,c,d"]
    assert main(["evaluate", *files, "--label-values", "0,1,2,3", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["pixels"]["mean_iou"] == 1
    waits = [line for line in said.err.splitlines() if "no file, block or class has finished for" in line]
    assert 2 <= len(waits) <= 4
    assert all("Ctrl-C ends it (run the same command again to start over)" in line for line in waits)


def test_a_run_that_finishes_something_now_and_then_says_nothing(tmp_path, monkeypatch, capsys):
    labels = write_labels(tmp_path / "map.tif", patches(60, 2200))
    slowly(monkeypatch, 0.1)
    assert vectorize(labels, tmp_path / "out", "--sheet", "512") == 0
    assert capsys.readouterr().err == ""


COMMAND = """
import sys
from terraseam.pipeline.run import watchdog
from terraseam.pipeline.cli import main
watchdog.PACE = watchdog.WatchIntervals(silent=8, stalled=1e9)
sys.exit(main(sys.argv[1:]))
"""

ON_SIGUSR1 = "import os, signal; signal.signal(signal.SIGUSR1, lambda *_: os._exit(0))"
"""A process ends with status 0 when it gets that signal."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "words"),
    [
        (
            signal.SIGKILL,
            "a worker process died (it was killed by SIGKILL, as the system does when memory runs out)",
        ),
        (signal.SIGUSR1, "a worker process died (it exited with status 0 in the middle of its work)"),
        (signal.SIGSTOP, "worker process {} is stopped: no heartbeat for 8 s"),
    ],
)
def test_a_lost_worker_of_beam_ends_the_run_with_one_sentence(tmp_path, number, words):
    labels = write_labels(tmp_path / "map.tif", patches(3000, 4000), tiled=True)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(ON_SIGUSR1)
    out = tmp_path / "out"
    arguments = [
        "vectorize",
        str(labels),
        "--output",
        str(out),
        "--sheet",
        "512",
        "--direct_num_workers",
        "2",
    ]
    run = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_for(lambda: len(list(out.glob(".work/runs/*/closed/*"))) > 1, 240)
    workers = [int(file.name) for file in tmp_path.glob("terraseam-*/*")]
    assert len(workers) == 2
    os.kill(workers[0], number)
    said, _ = run.communicate(timeout=240)
    assert said == f"terraseam: {words.format(workers[0])}; run the same command again to start over\n"
    assert run.returncode == 1
    assert not list(tmp_path.glob("terraseam-*")) and not list(out.glob(".lock*"))
    wait_for(lambda: not any(map(runs, workers)))
