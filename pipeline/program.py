"""Start a program of this package: the console script ``terraseam``, ``python -m terraseam``."""

from __future__ import annotations

from terraseam.pipeline.cli import main as run_command_line
from terraseam.pipeline.optional_imports import leave_out_unused
from terraseam.pipeline.process_memory import keep_memory


def main() -> int:
    """Set this process up, and run its command line; return the exit status."""
    leave_out_unused()
    keep_memory()
    return run_command_line()
