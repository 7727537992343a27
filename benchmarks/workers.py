"""Measure time and memory of the main job against the number of worker processes.

    TERRASEAM_DATA=... python benchmarks/workers.py [--workers 1,2] [--size 4096] [--rounds 2] [--json FILE]

Segments a square of the Blue Marble raster with `coast`, cold, with each number of workers in turn, for several
rounds, so that other load on the machine affects all of them. Memory is the peak of the driver and of its largest
worker.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

from comparing import data_folder
from scenes import cut
from spawning import spent_by


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--workers", default="1,2", help="numbers of workers; the first is what others are compared with"
    )
    parser.add_argument("--size", type=int, default=4096, help="side of the raster, in pixels")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is run")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    numbers = list(map(int, arguments.workers.split(",")))
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        raster = cut(data_folder() / "bluemarble" / "bluemarble_16384.tif", arguments.size, Path(folder))
        for turn in range(arguments.rounds):
            rounds.append(
                [measure(raster, Path(folder) / f"{turn}-{workers}", workers) for workers in numbers]
            )
            for one in rounds[-1]:
                print(
                    "{workers} workers  {seconds:6.1f} s  cpu {cpu_seconds:6.1f} s  driver {driver_gb:5.3f} GB  "
                    "worker {worker_gb:5.3f} GB".format(**one),
                    flush=True,
                )
    for place, workers in enumerate(numbers[1:], 1):
        for figure in ("seconds", "cpu_seconds"):
            ratios = [turn[place][figure] / turn[0][figure] for turn in rounds]
            print(f"{workers} to {numbers[0]} workers, {figure}: {statistics.median(ratios):.2f} ({ratios})")
    if arguments.json:
        arguments.json.write_text(json.dumps(rounds, indent=2) + "\n")


def measure(raster: Path, output: Path, workers: int) -> dict[str, float]:
    """Segment a raster, and return time and peak resident memory."""
    command = ["segment", str(raster), "--model", "coast", "--output", str(output), "--workers", str(workers)]
    spent = spent_by(command)
    return {
        "workers": workers,
        "seconds": spent.seconds,
        "cpu_seconds": spent.cpu_seconds,
        "driver_gb": spent.peak_bytes / 1e9,
        "worker_gb": spent.child_peak_bytes / 1e9,
    }


if __name__ == "__main__":
    main()
