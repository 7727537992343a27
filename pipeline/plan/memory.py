"""Forecast the memory of a run from its plan."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from terraseam.models.engines.profile import may_have_gpu
from terraseam.pipeline.process.memory_limits import memory_there
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
"""Fewest full sheets that a local process has room for: while one is inferred, the last is stored or the next read."""

SPARE_SHEETS = 2
"""Sheets that a local process may hold beyond one for each call: one that is read, and one that is stored."""


def full_sheets_at_once(calls: int, batches: int) -> int:
    """Return how many full sheets a local process has room for: as many as keep all calls busy, and another.

    Args:
        calls: Concurrent calls of the network.
        batches: Calls that a full sheet takes.
    """
    return max(SHEETS_AT_ONCE, -(-calls // batches) + 1)


def batches_a_sheet(plan: Plan, samples: int) -> int:
    """Return how many calls of the network a full sheet takes with `samples` tiles a call."""
    return -(-(plan.sheet_cores**2) // samples)


def sheets_memory(plan: Plan, calls: int) -> int:
    """Return the memory for the pixels and label maps of all sheets that a local process holds, in bytes."""
    full_sheets = full_sheets_at_once(calls, batches_a_sheet(plan, plan.options.batch_size or 1))
    return min(full_sheets * plan.full_sheet_memory(), (calls + SPARE_SHEETS) * plan.sheet_memory())


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
    has, remedy = f"this machine has {format_bytes(total)}", "pass"
    if total == limit:
        has, remedy = f"--memory allows {format_bytes(total)}", "raise it, or pass"
    if processes == 1 or run_memory(plan, room, 1) > total:
        return [f"{needs}, but {has}; {remedy} a smaller --tile or --halo"]
    return [f"{needs} for {processes} workers, but {has}; pass --workers {room}"]


def process_memory(plan: Plan, processes: int, at_once: int) -> float:
    """Return the memory of each local process that calls the network, in bytes; see `run_memory`."""
    others = sheets_memory(plan, at_once) - plan.sheet_memory()
    return plan.memory(at_once) + others + (WORKER_MEMORY if processes > 1 else 0)


def run_memory(plan: Plan, processes: int, at_once: int) -> float:
    """Return the memory of a run on this machine, in bytes.

    Args:
        plan: The run.
        processes: Processes that call the network.
        at_once: Concurrent calls in each process.
    """
    return processes * process_memory(plan, processes, at_once) + (DRIVER_MEMORY if processes > 1 else 0)
