"""Runs that are killed, with the real network: what is lost, and whether a byte differs."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import kills
from scenes import ROOT, segment_command, two_scenes
from telling import table


def survive_kills(folder: Path, count: int, seed: int = 1) -> dict[str, Any]:
    """Kill runs of one job in all stages, and compare what comes of them with a run that was left alone."""
    scenes = two_scenes(folder)

    def command(out: Path) -> list[str]:
        return segment_command(scenes, out)

    calm = kills.Life(folder / "calm")
    seconds = kills.run_whole(command(calm.out), ROOT)
    wanted, keys = kills.results(calm.out), {path.name for path in calm.entries()}
    stages: Counter[str] = Counter()
    lives = same = lost = 0
    outs = (folder / f"out_{number}" for number in itertools.count())
    for life in kills.survive(command, ROOT, outs, count, seed):
        alike = kills.results(life.out) == wanted and {path.name for path in life.entries()} == keys
        print(f"{', '.join(life.stages)}: {'same bytes' if alike else 'OTHER BYTES'}", flush=True)
        stages.update(life.stages)
        lives, same, lost = lives + 1, same + alike, lost + life.lost
    return {
        "kills": sum(stages.values()),
        "by_stage": {stage: stages[stage] for stage in kills.STAGES},
        "sheets": len(keys),
        "files": len(wanted),
        "seconds_of_a_calm_run": round(seconds, 1),
        "folders": lives,
        "folders_with_the_same_bytes": same,
        "sheets_inferred_twice": lost,
    }


def kills_words(found: dict[str, Any]) -> str:
    """What came of it, in Markdown."""
    return (
        f"{found['kills']} kills (SIGKILL, to the run and all its children) in {found['folders']} folders of results, "
        f"until a run there was left to end. Two rasters in {found['sheets']} sheets; left alone a run took "
        f"{found['seconds_of_a_calm_run']} s.\n\n"
        + table(("stage", "kills"), found["by_stage"].items())
        + f"\n\nFolders whose {found['files']} results and entries of the store are those of a run that was left alone: "
        f"{found['folders_with_the_same_bytes']} of {found['folders']}. Sheets inferred twice: "
        f"{found['sheets_inferred_twice']}."
    )
