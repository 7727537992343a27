"""Start a program of this package: the console script ``terraseam``, ``python -m terraseam``."""

from __future__ import annotations

from terraseam.pipeline.cli import main as run_command_line
from terraseam.pipeline.process.kept_memory import keep_memory
from terraseam.pipeline.process.optional_imports import leave_out_unused


def main() -> int:
    """Set this process up, and run its command line; return the exit status."""
    leave_out_unused()
    keep_memory()
    return run_command_line()
