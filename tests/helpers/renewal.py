"""Replace test processes that have grown too large by new ones between two files.

TensorFlow never frees everything of a network, and oneDNN keeps as much as the largest needed; a new process starts
clean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LIMIT_MB = 1550.0
"""A process that uses more memory gets no further file."""
HEAVY_MB = 1300.0
"""The same before a file of `HEAVY`; just started, with all tests imported, a process uses 1,090 MiB."""
HEAVY = ("networks/test_networks_all.py", "networks/test_networks_reach.py")
"""Files of tests that add nearly 1 GiB."""


class Renewing(LoadFileScheduling):
    """Scheduler that distributes files like pytest-xdist, but ends a process that has grown too large.

    A process starts a test when it knows what follows, so the decision is made when one test of its file is left.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self.ended: set[WorkerController] = set()

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Register a process's tests; one that started later may lack some, if files have changed meanwhile."""
        left = {test for tests in self.workqueue.values() for test in tests}
        if gone := sorted(left - set(collection)):
            names = f"{gone[0]} and {len(gone) - 1} others" if gone[1:] else gone[0]
            pytest.exit(f"tests were changed while they ran, and some are gone: {names}", 1)
        self.registered_collections[node] = list(collection)

    def _reschedule(self, node: WorkerController) -> None:
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and (pending := self._pending_of(self.assigned_work[node])) <= 1:
            if pending and held_mb(node) > self._limit_mb():
                self.ended.add(node)
                node.shutdown()
                return
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()

    def _limit_mb(self) -> float:
        """Return the memory that a process may use to get the next file."""
        return HEAVY_MB if next(iter(self.workqueue)).endswith(HEAVY) else LIMIT_MB


def held_mb(node: WorkerController) -> float:
    return psutil.Process(node.gateway._rinfo().pid).memory_info().rss / 2**20


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Renewing | None:
    return Renewing(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object) -> None:
    """Start a new process in place of one that was ended because it had grown."""
    session = node.config.pluginmanager.getplugin("dsession")
    files = session.sched
    if error or not isinstance(files, Renewing) or node not in files.ended:
        return
    node.gateway.exit()
    if files.workqueue and not session.shuttingdown:
        session._clone_node(node)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run with unfinished tests, as when a new process died before its first."""
    files = getattr(session.config.pluginmanager.getplugin("dsession"), "sched", None)
    if isinstance(files, Renewing) and files.has_pending and session.exitstatus == pytest.ExitCode.OK:
        left = sum(
            files._pending_of(workload) for workload in (files.workqueue, *files.assigned_work.values())
        )
        session.config.pluginmanager.getplugin("terminalreporter").write_line(f"\n{left} tests were not run")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
