"""Locks in buckets: the store itself lets one of many runs write, and says so; where it does not, locks settle first."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from terraseam.pipeline.storage import files, remote_files
from terraseam.pipeline.storage.lock import HeartbeatIntervals, Lock, LockError, LockHolder, lock_in
from terraseam.pipeline.storage.lock_file import LockFile
from terraseam.pipeline.storage.owner import Owner

AT_ONCE = HeartbeatIntervals(period=60, confirm=0)
"""No wait in which a lock could settle: what keeps runs apart is the store alone."""
RUNS = 4


@pytest.fixture(autouse=True)
def quick(monkeypatch, bucket):
    monkeypatch.setattr(remote_files, "WAITS_S", (0.01, 0.02))
    bucket.door.rule()
    yield
    bucket.door.rule()


def leave(path: str) -> None:
    """Write the lock of a process that has ended."""
    here = Owner.here()
    left = LockHolder(replace(here, began=here.began - 7), 0.0, time.time(), "another")
    files.write_bytes(path, left.to_bytes())


def race(
    path: str, rounds: int, *, left_behind: bool, pace: HeartbeatIntervals = AT_ONCE
) -> tuple[int, list[str]]:
    """Let runs go for one lock at the same moment, many times.

    Returns:
        The most that held it at once, and what they said.
    """
    start, holding, most, words = threading.Barrier(RUNS), [], [0], []

    def prepare() -> None:
        files.remove(path)
        if left_behind:
            leave(path)

    def run(number: int) -> None:
        for _ in range(rounds):
            if start.wait() == 0:
                prepare()
            start.wait()
            try:
                with Lock(path, pace).held(words.append):
                    holding.append(number)
                    time.sleep(0.05)
                    most[0] = max(most[0], len(holding))
                    holding.remove(number)
            except LockError as error:
                words.append(str(error))

    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(run, range(RUNS)))
    return most[0], words


@pytest.mark.parametrize("left_behind", [False, True])
def test_of_runs_that_go_for_a_lock_at_once_one_at_a_time_holds_it(bucket, left_behind):
    path = lock_in(f"{bucket.root}/race")
    most, words = race(path, 15, left_behind=left_behind)
    assert most == 1
    assert sum("another run is working on this job" in one for one in words) >= 15
    assert sum("took over" in one for one in words) == (15 if left_behind else 0)
    assert not files.exists(path)


def test_a_lock_in_a_bucket_counts_at_once(bucket):
    began = time.monotonic()
    with Lock(lock_in(f"{bucket.root}/out"), HeartbeatIntervals(confirm=30)).held(print):
        assert time.monotonic() - began < 15


def test_what_was_changed_since_it_was_seen_is_neither_replaced_nor_removed(bucket):
    file = LockFile(f"{bucket.root}/out/.lock.json")
    file.write(b"first", file.read())
    seen = file.read()
    file.write(b"second", seen)
    for outdated in (seen, seen._replace(data=None, revision="")):
        for change in (file.write, file.claim):
            with pytest.raises(FileExistsError):
                change(b"third", outdated)
    file.remove(seen)
    assert file.read().data == b"second"
    removed = file.read()
    file.remove(removed)
    assert file.read() == (None, "")
    with pytest.raises(FileExistsError):
        file.write(b"third", removed)


def test_a_claim_whose_answer_was_lost_is_known_for_this_runs_own(bucket):
    file = LockFile(f"{bucket.root}/lost/.lock.json")
    bucket.door.rule(pattern="(PUT|POST) ", conditional=True, actions=[None, "cut"])
    assert file.claim(b"mine", file.read())
    assert file.read().data == b"mine"


@pytest.mark.parametrize("answer", [501, "unconditional"])
@pytest.mark.parametrize("left_behind", [False, True])
def test_where_a_server_takes_no_conditions_a_lock_counts_that_is_still_there_a_while_later(
    bucket, answer, left_behind
):
    path = lock_in(f"{bucket.root}/settled")
    bucket.door.rule(conditional=True, actions=[answer])
    most, words = race(path, 1, left_behind=left_behind, pace=HeartbeatIntervals(period=60, confirm=1.5))
    assert most == 1
    assert sum("another run is working on this job" in one for one in words) == RUNS - 1
    began = time.monotonic()
    with Lock(path, HeartbeatIntervals(period=60, confirm=0.5)).held(print):
        assert time.monotonic() - began > 0.5
    assert not files.exists(path)


def test_a_bucket_that_is_not_there_is_one_sentence(bucket):
    with pytest.raises(LockError, match=r"gone/\.lock\.json cannot be written"):
        Lock(f"{bucket.root}-gone/.lock.json", AT_ONCE).held(print).__enter__()


def test_a_heart_beats_in_a_bucket(bucket):
    lock = Lock(lock_in(f"{bucket.root}/beats"), HeartbeatIntervals(period=0.2, confirm=0))
    until = time.monotonic() + 20
    with lock.held(print):
        first = lock.file.read()
        while lock.file.read() == first:
            assert time.monotonic() < until
            time.sleep(0.1)
        before, after = LockHolder.from_bytes(first.data), LockHolder.from_bytes(lock.file.read().data)
    assert after.heartbeat > before.heartbeat and after.token == before.token
