"""Forecast the memory of a run from its plan."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from terraseam.models.engines.profile import may_have_gpu
from terraseam.pipeline.memory_limits import memory_there
from terraseam.pipeline.units import format_bytes

if TYPE_CHECKING:
    from terraseam.pipeline.plan.plan import Plan


MEMORY_SHARE = 0.5
"""Share of the machine's memory that tiles in flight may take."""


def calls_at_once(call_memory: float, workers: int, room: float) -> int:
    """Return how many calls of the network run concurrently in a process, each on one thread.

    Args:
        call_memory: Memory of one call, in bytes.
        workers: Processes that share the machine.
        room: Memory for the calls of all processes, in bytes.
    """
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, int(room / max(1, call_memory))) // max(1, workers))


def room_for_calls(plan: Plan, workers: int) -> float:
    """Return the memory for concurrent calls of the network in all processes of a run on this machine, in bytes."""
    limit = plan.options.memory
    return memory_there() * MEMORY_SHARE if limit is None else limit - run_memory(plan, workers, 0)


def planned_calls(plan: Plan) -> int:
    """Return how many calls of the network run concurrently in each process on this machine."""
    processes = plan.options.processes
    return calls_at_once(plan.call_memory(), processes, room_for_calls(plan, processes))


def suits_large_tiles(plan: Plan, large: Plan) -> bool:
    """Return whether a run on this machine has the memory for large tiles; that of GPUs is not known.

    Args:
        plan: The run.
        large: The same run with large tiles; all calls that run at once with small ones must have room.
    """
    if plan.engine == "tensorflow" and may_have_gpu():
        return False
    processes, calls = plan.options.processes, planned_calls(plan)
    limit = plan.options.memory
    room = memory_there() * MEMORY_SHARE if limit is None else limit
    return planned_calls(large) >= calls and run_memory(large, processes, calls) <= room


SHEETS_AT_ONCE = 2
"""Sheets that a local process holds: while the network runs on one, the last is stored or the next is read."""


DRIVER_MEMORY = 0.4e9
"""Memory of a driver whose workers are separate processes, in bytes; see benchmarks/README.md."""


WORKER_MEMORY = 0.1e9
"""Memory of such a worker beyond that of a single-process run, in bytes; see benchmarks/README.md."""


def memory_reasons(plan: Plan) -> list[str]:
    """Return the reason if this machine has too little memory for its part of a run."""
    limit, processes = plan.options.memory, plan.options.processes
    total = memory_there() if limit is None else min(limit, memory_there())
    need = run_memory(plan, processes, 1)
    if not plan.options.runs_here or need <= total:
        return []
    room = max(1, math.floor((total - DRIVER_MEMORY) / process_memory(plan, processes, 1)))
    needs = f"the run needs about {format_bytes(need)} of memory"
    has = (
        f"--memory allows {format_bytes(total)}"
        if total == limit
        else f"this machine has {format_bytes(total)}"
    )
    if processes == 1 or run_memory(plan, room, 1) > total:
        return [f"{needs}, but {has}; pass a smaller --tile or --halo"]
    return [f"{needs} for {processes} workers, but {has}; pass --workers {room}"]


def process_memory(plan: Plan, processes: int, at_once: int) -> float:
    """Return the memory of each local process that calls the network, in bytes; see `run_memory`."""
    prefetched = (SHEETS_AT_ONCE - 1) * plan.sheet_memory()
    return plan.memory(at_once) + prefetched + (WORKER_MEMORY if processes > 1 else 0)


def run_memory(plan: Plan, processes: int, at_once: int) -> float:
    """Return the memory of a run on this machine, in bytes.

    Args:
        plan: The run.
        processes: Processes that call the network.
        at_once: Concurrent calls in each process.
    """
    return processes * process_memory(plan, processes, at_once) + (DRIVER_MEMORY if processes > 1 else 0)
