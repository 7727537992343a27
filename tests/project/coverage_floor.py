"""Print which modules the tests run too little of: ``python tests/project/coverage_floor.py`` after ``coverage json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

TOTAL, MODULE = 80.0, 40.0
"""Least percentage of the lines of all modules together, and of each."""


def shortfalls(report: dict) -> list[str]:
    """Return a sentence for the total and for every module below its least share of lines."""
    total = report["totals"]["percent_covered"]
    said = [f"{total:.1f} % of all lines were run; {TOTAL:.0f} % must be"] if total < TOTAL else []
    shares = {path: file["summary"]["percent_covered"] for path, file in report["files"].items()}
    return said + [
        f"{path}: {share:.1f} % of the lines were run; {MODULE:.0f} % must be"
        for path, share in sorted(shares.items())
        if share < MODULE
    ]


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    print(f"{found['totals']['percent_covered']:.1f} % of {len(found['files'])} modules' lines were run")
    sys.exit("\n".join(shortfalls(found)) or None)
