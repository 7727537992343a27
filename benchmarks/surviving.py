"""Kill runs with the real network: what is lost, and whether a byte differs."""

from __future__ import annotations

import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kills
from scenes import ROOT, segment_command, two_scenes
from telling import table

from terraseam.pipeline.units import count as counted


def survive_kills(folder: Path, count: int, at_once: int) -> dict[str, Any]:
    """Kill runs of one job in all stages, and compare the results with those of an undisturbed run.

    Args:
        folder: An empty folder.
        count: Number of kills.
        at_once: Number of jobs whose runs are killed at the same time.
    """
    scenes = two_scenes(folder)

    def command(out: Path) -> list[str]:
        return segment_command(scenes, out)

    calm = kills.Life(folder / "calm")
    job = kills.Job(command, ROOT, kills.run_whole(command(calm.out), ROOT))
    wanted, keys = kills.results(calm.out), {path.name for path in calm.entries()}

    def campaign(number: int) -> list[tuple[kills.Life, bool]]:
        outs = (folder / f"out_{number}_{life}" for life in itertools.count())
        share = count // at_once + (number < count % at_once)
        found = []
        for life in kills.survive(job, outs, share, seed=number):
            same = kills.results(life.out) == wanted and {path.name for path in life.entries()} == keys
            print(f"{', '.join(life.stages)}: {'same bytes' if same else 'OTHER BYTES'}", flush=True)
            found.append((life, same))
        return found

    with ThreadPoolExecutor(at_once) as pool:
        lives = [one for found in pool.map(campaign, range(at_once)) for one in found]
    stages = Counter(stage for life, _ in lives for stage in life.stages)
    return {
        "kills": sum(stages.values()),
        "by_stage": {stage: stages[stage] for stage in kills.STAGES},
        "sheets": len(keys),
        "files": len(wanted),
        "folders": len(lives),
        "folders_with_the_same_bytes": sum(same for _, same in lives),
        "sheets_inferred_twice": sum(life.lost for life, _ in lives),
    }


def kills_words(found: dict[str, Any]) -> str:
    """Format the results in Markdown."""
    return (
        f"{found['kills']} kills (SIGKILL, to the run and all its children) in {counted(found['folders'], 'folder')} of "
        f"results, each followed by a final run that was allowed to finish. Two rasters in {found['sheets']} sheets.\n\n"
        + table(("stage", "kills"), found["by_stage"].items())
        + f"\n\nFolders whose {found['files']} results and store entries are identical to those of an uninterrupted run: "
        f"{found['folders_with_the_same_bytes']} of {found['folders']}. Sheets inferred twice: "
        f"{found['sheets_inferred_twice']}."
    )
