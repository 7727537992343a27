"""Two runs of one job stay apart, and what is left of a run that is no more is in nobody's way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import bucket
import nets
import numpy as np
import pytest
from places import ROOT

from terraseam.pipeline.cli import main
from terraseam.pipeline.storage.lock import (
    HeartbeatIntervals,
    Lock,
    LockError,
    LockHolder,
    lock_in,
    lock_next_to,
)
from terraseam.pipeline.storage.lock_file import LockFile
from terraseam.pipeline.storage.owner import Owner

QUICK = HeartbeatIntervals(period=0.05, stale=0.5, confirm=0.1)
HOLD = """
import sys, time
from pathlib import Path
from terraseam.pipeline.cli import main
from terraseam.pipeline.storage.lock import HeartbeatIntervals, Lock, LockError, lock_in
from terraseam.pipeline.storage.lock_file import LockFile
read = LockFile.read
LockFile.read = lambda self: (read(self), time.sleep(0.03))[0]  # time for others between looking and writing
say = lambda words: print(words, flush=True)
output, seconds, go = sys.argv[1:]
say("ready")
while not Path(go).exists():
    time.sleep(0.001)
try:
    with Lock(lock_in(output), HeartbeatIntervals(0.05, 0.5, 0.1)).held(say):
        say(f"held {time.monotonic()}")
        time.sleep(float(seconds))
        say(f"ended {time.monotonic()}")
except LockError as error:
    say(f"locked: {error}")
"""


@pytest.fixture(params=["local", "bucket"])
def output(request, tmp_path):
    """A folder of results here, and one on an object store."""
    bucket.OBJECTS.clear()
    bucket.BEFORE_WRITE.clear()
    return str(tmp_path / "out") if request.param == "local" else "bucket://b/out"


def lock(output: str, pace: HeartbeatIntervals = QUICK) -> Lock:
    return Lock(lock_in(output), pace)


def holder_of(made: Lock) -> LockHolder | None:
    return LockHolder.from_bytes(made.file.read().data)


def leave(made: Lock, age: float = 0.0, **owner: object) -> LockHolder:
    """Write a lock as another run would have left it."""
    when = time.time() - age
    left = LockHolder(replace(Owner.here(), **owner), when - 60, when, "another")
    with made.file.alone():
        made.file.write(left.to_bytes(), made.file.read())
    return left


ELSEWHERE = {"host": "elsewhere", "machine": "another", "pid": 4321}


def start(folder: Path, seconds: float, go: str = "/") -> subprocess.Popen[str]:
    """A process that holds the lock of a job in a folder, from the time on at which a file is there."""
    said = [str(folder / "out"), str(seconds), go]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, "-c", HOLD, *said], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )
    assert started.stdout.readline() == "ready\n"
    return started


def started_lock(folder: Path, pace: HeartbeatIntervals = QUICK) -> Lock:
    """The lock that `start` takes."""
    return lock(str(folder / "out"), pace)


def test_a_lock_is_there_while_it_is_held_and_gone_behind_it(output):
    made, told = lock(output), []
    with made.held(told.append):
        found = holder_of(made)
        assert found.owner == Owner.here()
        assert abs(found.since - time.time()) < 5
    assert made.file.read().data is None and not told


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_lock_is_removed_whatever_ends_the_block(output, error):
    made = lock(output)
    with pytest.raises(error), made.held(print):
        raise error
    assert made.file.read().data is None
    assert "heartbeat" not in [thread.name for thread in threading.enumerate()]


def test_a_second_run_is_told_who_holds_the_lock(output):
    with lock(output).held(print), pytest.raises(LockError) as caught, lock(output).held(print):
        raise AssertionError("both hold it")
    told = str(caught.value)
    assert told.startswith(
        f"another run is working on this job: process {os.getpid()} on {socket.gethostname()}, since 20"
    )
    assert "last heartbeat 20" in told and ".lock.json" in told and "\n" not in told
    with lock(output).held(print):
        pass


def test_a_second_run_that_is_refused_leaves_the_lock_alone(output):
    first = lock(output)
    with first.held(print):
        with pytest.raises(LockError):
            lock(output).held(print).__enter__()
        time.sleep(3 * QUICK.period)
        assert holder_of(first).owner == Owner.here()


def test_the_heart_beats_while_the_lock_is_held(output):
    made = lock(output)
    with made.held(print):
        before = holder_of(made)
        time.sleep(0.5)
        after = holder_of(made)
        assert after.heartbeat > before.heartbeat + 0.2
        assert (after.since, after.token) == (before.since, before.token)
    time.sleep(3 * QUICK.period)
    assert made.file.read().data is None, "the heart beats on"


def test_whoever_writes_into_a_folder_takes_its_lock_however_it_is_called(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    with lock(str(tmp_path / "a")).held(print), lock(str(tmp_path / "b")).held(print):
        assert (tmp_path / "a" / ".lock.json").exists() and (tmp_path / "b" / ".lock.json").exists()
        with pytest.raises(LockError, match="another run is working on this job"):
            lock(f"{tmp_path}/link/a/").held(print).__enter__()


def test_the_lock_of_a_folder_that_appears_as_a_whole_lies_beside_it():
    assert lock_next_to("bundles/roofs/") == "bundles/.roofs.lock.json"
    assert lock_next_to("roofs") == ".roofs.lock.json"
    assert lock_next_to("gs://b/roofs") == "gs://b/.roofs.lock.json"


def test_the_lock_of_a_process_that_was_killed_is_taken_over_at_once(tmp_path):
    holder = start(tmp_path, 60)
    assert holder.stdout.readline().startswith("held")
    with pytest.raises(LockError, match=f"process {holder.pid} on"):
        started_lock(tmp_path).held(print).__enter__()
    holder.kill()
    # Nobody has asked yet what became of it: it is a zombie for some time.
    while ") Z " not in Path(f"/proc/{holder.pid}/stat").read_text():
        time.sleep(0.02)
    told = []
    with started_lock(tmp_path, HeartbeatIntervals()).held(told.append):
        pass
    assert len(told) == 1 and told[0].startswith("took over the lock")
    assert f"of process {holder.pid} on" in told[0] and told[0].endswith("the process has exited")
    holder.wait()
    leave(started_lock(tmp_path), pid=holder.pid)
    with started_lock(tmp_path, HeartbeatIntervals()).held(told.append):
        pass
    assert len(told) == 2


def test_ctrl_c_removes_the_lock(tmp_path):
    holder = start(tmp_path, 60)
    assert holder.stdout.readline().startswith("held")
    holder.send_signal(signal.SIGINT)
    assert holder.wait(20) != 0
    assert not list((tmp_path / "out").iterdir())


def test_the_number_of_a_process_that_began_later_tells_nothing(output):
    leave(lock(output), began=Owner.here().began - 7)
    told = []
    with lock(output).held(told.append):
        pass
    assert told[0].endswith("the process has exited")


def test_of_processes_elsewhere_the_heartbeat_tells(output):
    unused = 2**22 - 1
    for elsewhere in (
        {"host": "elsewhere", "pid": unused},
        {"machine": "another boot or container", "pid": unused},
    ):
        leave(lock(output), age=0.2, **elsewhere)
        with pytest.raises(LockError, match=f"process {unused} on"):
            lock(output).held(print).__enter__()
    leave(lock(output), age=7, **ELSEWHERE)
    told = []
    with lock(output).held(told.append):
        pass
    assert "of process 4321 on elsewhere" in told[0] and "seems to be abandoned; watching it" in told[0]
    assert told[1].startswith("took over the lock") and told[1].endswith("no heartbeat")


def test_a_heart_that_beats_on_a_slow_clock_is_not_stopped(output):
    made = lock(output)
    leave(made, age=3600, **ELSEWHERE)
    ended = threading.Event()

    def beat():
        count = 0
        while not ended.wait(0.02):
            count += 1
            leave(made, age=3600 - count, **ELSEWHERE)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(LockError, match="process 4321 on elsewhere"):
            lock(output).held(print).__enter__()
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"owner": {"pid": 1}}', b"\xff"])
def test_a_lock_that_cannot_be_read_is_watched_and_taken_over(output, content):
    made, told = lock(output), []
    with made.file.alone():
        made.file.write(content, made.file.read())
    with lock(output).held(told.append):
        assert holder_of(made).owner == Owner.here()
    assert "which cannot be read" in told[0]


@pytest.mark.slow
@pytest.mark.parametrize("left_behind", [False, True])
def test_of_many_processes_one_at_a_time_holds_the_lock(tmp_path, left_behind):
    if left_behind:
        leave(started_lock(tmp_path), pid=2**22 - 1)
    started = [start(tmp_path, 0.4, str(tmp_path / "go")) for _ in range(8)]
    (tmp_path / "go").touch()
    told = [process.communicate(timeout=60)[0] for process in started]
    spans = sorted(
        [float(line.split()[1]) for line in one.splitlines() if line.startswith(("held", "ended"))]
        for one in told
        if "locked" not in one
    )
    assert spans and all(end < start for (_, end), (start, _) in itertools.pairwise(spans))
    assert (
        sum("locked: another run is working on this job" in one for one in told) == len(told) - len(spans) > 0
    )
    assert sum("took over" in one for one in told) == left_behind
    assert not list((tmp_path / "out").iterdir())


def test_on_an_object_store_who_wrote_last_holds_the_lock():
    bucket.OBJECTS.clear()
    made = lock("bucket://b/out")
    # Another run that has also seen no lock writes its own behind this one's.
    later = threading.Timer(QUICK.confirm / 3, leave, [made], ELSEWHERE)
    bucket.BEFORE_WRITE.append(lambda _: later.start())
    with pytest.raises(LockError, match="process 4321 on elsewhere"):
        made.held(print).__enter__()
    assert holder_of(made).owner.host == "elsewhere"


def test_a_run_that_lost_its_lock_is_ended_and_says_to_whom(output):
    made = lock(output)
    began = time.monotonic()
    why = r"this run was ended because another run took over the lock .* of process 4321 on elsewhere"
    with pytest.raises(LockError, match=why), made.held(print):
        leave(made, **ELSEWHERE)
        time.sleep(20)
    assert time.monotonic() - began < 10
    assert holder_of(made).owner.host == "elsewhere", "the lock of another run was removed"


def test_a_lock_that_was_removed_by_hand_is_made_again(output):
    made = lock(output)
    with made.held(print):
        made.file.remove(made.file.read())
        time.sleep(0.3)
        assert holder_of(made).owner == Owner.here()
    assert made.file.read().data is None


def test_a_lock_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(LockError, match=r"out/\.lock\.json cannot be written"):
        lock(str(tmp_path / "out")).held(print).__enter__()


@pytest.fixture
def job(tmp_path, make_raster):
    """A job file of a scene of 12 sheets."""
    coarse = np.random.default_rng(0).integers(1, 255, (15, 20, 3))
    pixels = np.kron(coarse, np.ones((100, 100, 1))).astype("uint8")
    make_raster(pixels=pixels, tiled=True, compress="deflate")
    nets.make_bundle(tmp_path / "tiny", nets.small_unet())
    file = tmp_path / "job.toml"
    file.write_text(
        'rasters = "scene.tif"\nmodel = "tiny"\noutput = "out"\ntile = 512\nsheet = 512\non_error = "fail"\n'
    )
    return file


def run(job: Path) -> subprocess.Popen[str]:
    said = [sys.executable, "-m", "terraseam", "segment", "--config", str(job)]
    return subprocess.Popen(said, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lock_of(job: Path, process: subprocess.Popen[str]) -> Path:
    """The lock of a run, as soon as it has it."""
    place = job.parent / "out" / ".lock.json"
    while not place.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.005)
    return place


@pytest.mark.slow
def test_a_second_run_of_a_job_is_refused_and_a_killed_one_is_in_nobodys_way(job):
    first = run(job)
    held = lock_of(job, first)
    first.send_signal(signal.SIGSTOP)
    assert json.loads(held.read_text())["owner"]["pid"] == first.pid
    before = sorted(job.parent.rglob("*"))
    second = run(job)
    out, err = second.communicate(timeout=120)
    assert (second.returncode, out, err.count("\n")) == (1, "", 1), err
    assert (
        f"terraseam: another run is working on this job: process {first.pid} on {socket.gethostname()}" in err
    )
    assert sorted(job.parent.rglob("*")) == before
    first.kill()
    first.wait()
    assert held.exists()
    third = run(job)
    out, err = third.communicate(timeout=120)
    assert third.returncode == 0
    assert (
        f"terraseam: took over the lock {held} of process {first.pid}" in err
        and "the process has exited" in err
    )
    assert (job.parent / "out" / "manifest.json").exists() and not held.exists()


@pytest.mark.slow
def test_a_run_that_is_interrupted_takes_its_lock_with_it(job):
    first = run(job)
    held = lock_of(job, first)
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 130
    assert not held.exists()


@pytest.mark.parametrize("command", ["segment", "vectorize"])
def test_runs_see_the_lock_of_others_and_leave_none_of_their_own_where_they_fail(
    job, command, make_raster, capsys, monkeypatch
):
    raster = job.parent / "scene.tif"
    if command == "vectorize":
        labels = np.kron(np.arange(63).reshape(7, 9, 1), np.ones((100, 100, 1))).astype("uint8")
        raster = make_raster(pixels=labels, name="labels.tif")
        job.write_text('rasters = "labels.tif"\noutput = "out"\nsheet = 512\n')
    made = Lock(lock_in(str(job.parent / "out")))
    leave(made, **ELSEWHERE)
    assert main([command, "--config", str(job)]) == 1
    assert "process 4321 on elsewhere" in capsys.readouterr().err
    assert holder_of(made).owner.host == "elsewhere"
    made.file.remove(made.file.read())
    raster.write_bytes(raster.read_bytes()[:-2000])
    seen = []
    remove = LockFile.remove
    monkeypatch.setattr(LockFile, "remove", lambda *what: [seen.append(holder_of(made)), remove(*what)][-1])
    assert main([command, "--config", str(job)]) == (1 if command == "segment" else 3)
    assert seen and seen[0].owner == Owner.here()
    assert made.file.read().data is None
