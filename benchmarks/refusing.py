"""Run the command line with bad input as a user would: what it reports, and how it ends."""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import bad_inputs
from scenes import ROOT
from telling import table


def try_bad_inputs(folder: Path) -> dict[str, Any]:
    """Run every command, each in a separate process."""
    bad_inputs.write_files(folder)
    with bad_inputs.another_run(folder):
        rows = [_try(case, folder) for case in bad_inputs.CASES]
    return {"rows": rows}


def _try(case: bad_inputs.Bad, folder: Path) -> dict[str, Any]:
    environment = {**os.environ, **bad_inputs.ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "terraseam", *case.command.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wrong = bad_inputs.what_is_wrong(case, folder, ended.returncode, ended.stderr)
    print(f"{'BAD' if wrong else 'ok '} {case.what}{': ' if wrong else ''}{wrong or ''}", flush=True)
    bad_inputs.clear(folder)
    return {
        "what": case.what,
        "command": case.command,
        "status": ended.returncode,
        "says": [_anywhere(reason, folder) for reason in bad_inputs.reasons(ended.stderr)],
        "wrong": wrong,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    }


def _anywhere(reason: str, folder: Path) -> str:
    """Return a reason without the parts that depend on folder, process or machine."""
    return re.sub(r"process \d+ on [^,]+", "process N on HOST", reason.replace(f"{folder}/", ""))


def inputs_words(found: dict[str, Any]) -> str:
    """Format the results in Markdown."""
    rows = found["rows"]
    good = [row for row in rows if not row["wrong"]]
    early = [row["cpu_seconds"] for row in rows if row["status"] == 2]
    cells = [
        (row["what"], f"`terraseam {row['command']}`", row["status"], _escaped(" ".join(row["says"])))
        for row in rows
    ]
    return (
        f"{len(rows)} commands, each run in its own process in a folder with the files that it names. As expected, "
        f"{len(good)} printed one sentence per reason, without a traceback, and left no results, with the documented exit "
        "status: 2 if the reason is known before any work, 1 if only the network or the lock can reveal it. Those with "
        f"status 2 took {statistics.median(early):.1f} CPU seconds (median) and at most {max(early):.1f}, "
        "and left no folder.\n\n" + table(("what", "command", "status", "says"), cells)
    )


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
