"""Measure reliability: survival of kills, reports on bad input, and identical bytes in all ways of running.

    python benchmarks/reliability.py [--parts kills,blocks,inputs,same] [--kills 50] [--json FILE] [--report FILE]

Only needs the repository: rasters are cut from the sample that comes with `coast`. Parts that are left out are
taken from the JSON file of an earlier call, or from the existing report, which is `benchmarks/reliability.md`.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), *(str(ROOT / "tests" / name) for name in ("helpers", "networks", "rasters"))]

from comparing import write_json  # noqa: E402
from damaging import blocks_words, read_damaged  # noqa: E402
from refusing import inputs_words, try_bad_inputs  # noqa: E402
from repeating import repeat, same_words  # noqa: E402
from surviving import kills_words, survive_kills  # noqa: E402

REPORT = Path(__file__).with_suffix(".md")
PACKAGES = ("terraseam", "apache-beam", "tensorflow", "keras", "rasterio", "numpy")


@dataclass(frozen=True)
class Part:
    """A part of the report.

    Attributes:
        title: Its heading.
        run: Computes its figures, in an empty folder.
        words: Formats them in Markdown.
    """

    title: str
    run: Callable[[Path, argparse.Namespace], dict[str, Any]]
    words: Callable[[dict[str, Any]], str]


PARTS = {
    "kills": Part(
        "Kills survived", lambda folder, asked: survive_kills(folder, asked.kills, asked.at_once), kills_words
    ),
    "blocks": Part("Corrupt blocks named", lambda folder, _: read_damaged(folder), blocks_words),
    "inputs": Part("Bad input refused", lambda folder, _: try_bad_inputs(folder), inputs_words),
    "same": Part("The same bytes in all ways of running", lambda folder, _: repeat(folder), same_words),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts are run; none of them: ''")
    parser.add_argument("--kills", type=int, default=50, help="how many runs are killed")
    parser.add_argument("--at-once", type=int, default=1, help="how many jobs are killed at the same time")
    parser.add_argument("--json", type=Path, default=ROOT / "out" / "reliability.json", help="all figures")
    parser.add_argument("--report", type=Path, default=REPORT)
    asked = parser.parse_args()
    found = json.loads(asked.json.read_text()) if asked.json.is_file() else {}
    for name in filter(None, asked.parts.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            found[name] = {**PARTS[name].run(Path(folder), asked), "made": made()}
        write_json(asked.json, found)
    before = asked.report.read_text() if asked.report.is_file() else ""
    asked.report.write_text(report(found, before))


def made() -> str:
    """Return when figures were computed, and with which versions."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES)
    return f"{datetime.now(UTC):%Y-%m-%d}; Python {platform.python_version()}, {versions}"


def report(found: dict[str, Any], before: str) -> str:
    """Build the report in Markdown from all figures; sections without figures are kept from the previous report."""
    sections = dict(section.split("\n", 1) for section in before.split("\n## ")[1:])
    for name, part in PARTS.items():
        if name in found:
            sections[part.title] = f"\n{found[name]['made']}.\n\n{part.words(found[name])}\n"
    first = [part.title for part in PARTS.values() if part.title in sections]
    titles = [*first, *(title for title in sections if title not in first)]
    lines = [
        "# Reliability",
        "",
        "Written by `python benchmarks/reliability.py`, which describes the method.",
        "",
    ]
    return "\n".join([*lines, *(f"## {title}\n{sections[title].rstrip()}\n" for title in titles)])


if __name__ == "__main__":
    main()
