import threading
import time
from collections import Counter

import pytest

from terraseam.pipeline.segment.prefetch import KeyedLock, OrderedPool


def all_of(ahead, things):
    return [result for thing in things for result in ahead.put(thing)] + list(ahead.rest())


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_what_comes_of_things_keeps_their_order(at_once):
    def work(number):
        time.sleep(0.01 * (number % 3))
        return number * number

    assert all_of(OrderedPool(work, at_once), range(12)) == [number * number for number in range(12)]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_so_many_are_worked_on_at_once_and_no_more(at_once):
    lock, working, most = threading.Lock(), [], []

    def work(number):
        with lock:
            working.append(number)
            most.append(len(working))
        time.sleep(0.02)
        with lock:
            working.remove(number)

    all_of(OrderedPool(work, at_once), range(9))
    assert max(most) == at_once


@pytest.mark.parametrize(
    ("weights", "groups"),
    [
        ([10, 10, 10, 10], [{0, 1}, {2, 3}]),  # two full ones, as far as there is room
        ([5, 5, 5, 5, 5, 5], [{0, 1, 2, 3}, {4, 5}]),
        ([1, 1, 1, 1, 1, 1], [{0, 1, 2, 3, 4}, {5}]),  # no more than five, however light
        ([99, 1, 99], [{0}, {1}, {2}]),  # one that is too heavy goes alone
        ([15, 4, 4, 1], [{0, 1}, {2, 3}]),
    ],
)
def test_as_many_are_worked_on_as_there_is_room_for(weights, groups):
    """Each waits for all of its group, which must be in progress at once, and for no other."""
    lock, working, loads = threading.Lock(), set(), []
    meetings = {number: threading.Barrier(len(group)) for group in groups for number in [min(group)]}

    def work(number):
        with lock:
            working.add(number)
            loads.append((sum(weights[one] for one in working), len(working)))
        meetings[min(next(group for group in groups if number in group))].wait(10)
        time.sleep(0.02)
        with lock:
            working.remove(number)
        return number

    pool = OrderedPool(work, 5, weights.__getitem__, 20)
    assert all_of(pool, range(len(weights))) == list(range(len(weights)))
    assert all(load <= max(20, *weights) and count <= 5 for load, count in loads)
    pool.end()


def test_the_next_is_begun_before_the_last_is_done():
    begun = [threading.Event() for _ in range(3)]

    def work(number):
        begun[number].set()
        return number == 2 or begun[number + 1].wait(10)

    assert all_of(OrderedPool(work, 2), range(3)) == [True, True, True]


def test_a_failure_is_raised_in_its_place_and_the_rest_is_given_up():
    ahead, done = None, []

    def work(number):
        if number == 1:
            raise ValueError("no such thing")
        if number == 2:
            done.append(ahead.stopped.wait(10))
        return number

    ahead = OrderedPool(work, 3)
    assert list(ahead.put(0)) == [] == list(ahead.put(1))
    assert list(ahead.put(2)) == [0]
    with pytest.raises(ValueError, match="no such thing"):
        list(ahead.rest())
    assert list(ahead.rest()) == []
    deadline = time.monotonic() + 10
    while not done and time.monotonic() < deadline:
        time.sleep(0.01)
    assert done == [True]
    ahead.end()


def test_of_a_name_one_is_let_in_at_a_time_however_many_wait():
    each, lock = KeyedLock(), threading.Lock()
    inside, most = Counter(), Counter()

    def work(name):
        with each.alone(name):
            with lock:
                inside[name] += 1
                most[name] = max(most[name], inside[name])
                most["all"] = max(most["all"], inside.total())
            time.sleep(0.005)
            with lock:
                inside[name] -= 1

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab" * 12]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == {"a": 1, "b": 1, "all": 2}
    assert not each._names
