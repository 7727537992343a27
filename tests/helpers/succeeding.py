"""Run commands that are expected to succeed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def succeed(*command: object, cwd: Path, **environment: str) -> str:
    """Run a command that must exit with 0, with further environment variables; return its output."""
    variables = {**os.environ, **environment}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
