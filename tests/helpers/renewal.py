"""Processes of tests that have grown are replaced by new ones between two files.

TensorFlow keeps something of every network for ever, and oneDNN as much as the largest needed; a process that ends does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psutil
import pytest
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

LIMIT_MB = 1800.0
"""A process that holds more is given no further file."""


class Renewing(LoadFileScheduling):
    """Hands out files as pytest-xdist does, but ends a process that has grown instead of giving it another.

    A process begins a test when it knows what follows, so what follows a file is decided when one test of it is left.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        super().__init__(config, log)
        self.ended: set[WorkerController] = set()

    def add_node_collection(self, node: WorkerController, collection: Sequence[str]) -> None:
        """Take what a process found; one that began later may lack tests, where files were changed meanwhile."""
        left = {test for tests in self.workqueue.values() for test in tests}
        if gone := sorted(left - set(collection)):
            names = f"{gone[0]} and {len(gone) - 1} others" if gone[1:] else gone[0]
            pytest.exit(f"tests were changed while they ran, and some are gone: {names}", 1)
        self.registered_collections[node] = list(collection)

    def _reschedule(self, node: WorkerController) -> None:
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and (pending := self._pending_of(self.assigned_work[node])) <= 1:
            if pending and held_mb(node) > LIMIT_MB:
                self.ended.add(node)
                node.shutdown()
                return
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()


def held_mb(node: WorkerController) -> float:
    return psutil.Process(node.gateway._rinfo().pid).memory_info().rss / 2**20


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Renewing | None:
    return Renewing(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object) -> None:
    """Begin a new process in place of one that ended because it had grown."""
    session = node.config.pluginmanager.getplugin("dsession")
    files = session.sched
    if error or not isinstance(files, Renewing) or node not in files.ended:
        return
    node.gateway.exit()
    if files.workqueue and not session.shuttingdown:
        session._clone_node(node)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let a run not pass of which tests are left, as where a new process died before its first."""
    files = getattr(session.config.pluginmanager.getplugin("dsession"), "sched", None)
    if isinstance(files, Renewing) and files.has_pending and session.exitstatus == pytest.ExitCode.OK:
        left = sum(
            files._pending_of(workload) for workload in (files.workqueue, *files.assigned_work.values())
        )
        session.config.pluginmanager.getplugin("terminalreporter").write_line(f"\n{left} tests were not run")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
