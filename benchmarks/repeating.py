"""Run one job in every way that must not change a byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import kills
from scenes import ROOT, segment_command, two_scenes
from telling import table

SHUFFLED = """
import random, sys
from terraseam.pipeline.run import graph
from terraseam.pipeline.cli import main

in_order = graph.raster_sheets

def shuffled(raster, plan):
    return iter(random.Random(7).sample(found := list(in_order(raster, plan)), len(found)))

graph.raster_sheets = shuffled
sys.exit(main(sys.argv[1:]))
"""
"""The program, with the sheets of each raster in random order."""

WAYS: dict[str, tuple[str, ...]] = {
    "in memory, sheets of 512 px": (),
    "threads": ("--direct_running_mode", "multi_threading", "--direct_num_workers", "2"),
    "two processes": ("--direct_num_workers", "2"),
    "every bundle replayed": ("--direct_runner_bundle_repeat=1",),
    "sheets of 1024 px": ("--sheet", "1024"),
    "one sheet a raster": ("--sheet", "2048"),
}


def repeat(folder: Path) -> dict[str, Any]:
    """Run a job in every way, and compare its results with those of the first."""
    scenes = two_scenes(folder)
    commands = {way: segment_command(scenes, folder / way, *more) for way, more in WAYS.items()}
    backwards = segment_command(scenes[::-1], folder / "backwards")
    commands["rasters and sheets in another order"] = [sys.executable, "-c", SHUFFLED, *backwards[3:]]
    outs = {way: Path(command[command.index("--output") + 1]) for way, command in commands.items()}
    rows = []
    for way, command in commands.items():
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        results, first = kills.results(outs[way]), kills.results(next(iter(outs.values())))
        differ = sorted(name for name in {*results, *first} if results.get(name) != first.get(name))
        rows.append({"way": way, "files": len(results), "differ": differ})
        print(rows[-1], flush=True)
    return {"rows": rows}


def same_words(found: dict[str, Any]) -> str:
    """Format the results in Markdown."""
    first, *others = found["rows"]
    cells = [
        (row["way"], f"{row['files'] - len(row['differ'])} of {row['files']}", ", ".join(row["differ"]))
        for row in others
    ]
    return (
        f"Two rasters with `coast`, {first['files']} files of results (`labels.tif`, `polygons.geojson`, `polygons.gpkg`), "
        f"compared byte by byte with those of a run {first['way']}.\n\n"
        + table(("run", "same bytes", "other bytes"), cells)
    )
