"""Measure the cost of verifying block checksums: runs of `coast`, alternating with and without ``--no-verify``.

    TERRASEAM_DATA=... python benchmarks/verifying.py [--size 4096] [--pairs 5]

A square of NASA's Blue Marble, compressed with DEFLATE, is segmented from scratch each time, in a separate process;
the first pair warms caches and is left out. In addition, only the windows of its sheets are read, alternately, which
gives the cost to a hundredth of a second: whole runs vary by more than that.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import rasterio
from comparing import Result, Runs, compare, make_parser, settings_of
from endtoend import Job, square
from spawning import spent_by
from telling import table

GOAL = 0.03
"""Maximum share of a run that checksums may cost."""
READING = "reading"
TURNS = 5
SHEET, AROUND = 2048, 100
"""Side of a sheet, and context read around it, in pixels."""


def main() -> None:
    parser = make_parser(__doc__, "verifying")
    parser.add_argument("--size", type=int, default=4096, help="side of the square, in pixels")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of runs that count")
    arguments = parser.parse_args()
    runs = Runs(__file__, sys.argv[1:], arguments.folder, settings_of(arguments, "pairs"))
    names = [f"{number}-{how}" for number in range(arguments.pairs + 1) for how in order(number)]

    def measured(name: str) -> Result:
        if name == READING:
            return {"how": READING, **read_by_turns(arguments.size)}
        number, how = name.split("-")
        more = () if how == "verified" else ("--no-verify",)
        with tempfile.TemporaryDirectory() as folder:
            raster = deflated(square(arguments.size, Path(folder)), Path(folder) / "deflate.tif")
            spent = spent_by(Job(raster, Path(folder), "coast", "1024", "2048").command(*more))
        return {"pair": int(number), "how": how, **spent._asdict()}

    compare(runs, arguments, [READING, *names], measured, told)


def order(number: int) -> tuple[str, str]:
    """Return the order of a pair of runs, which alternates."""
    return ("verified", "unverified") if number % 2 else ("unverified", "verified")


def deflated(raster: Path, path: Path) -> Path:
    """Write the raster as a tiled GeoTIFF with DEFLATE."""
    with rasterio.open(raster) as dataset:
        profile = {**dataset.profile, "driver": "GTiff", "compress": "deflate", "predictor": 2, "tiled": True}
        profile |= {"blockxsize": 512, "blockysize": 512, "interleave": "pixel"}
        profile.pop("photometric", None)
        with rasterio.open(path, "w", **profile) as copy:
            copy.write(dataset.read())
    return path


def read_by_turns(side: int) -> dict[str, float]:
    """Return the median CPU seconds of reading the windows of all sheets, with and without checksums."""
    from terraseam.tiles.checksums.dataset import verify_blocks
    from terraseam.tiles.grid.window import Window
    from terraseam.tiles.raster.source import RasterSource

    found: dict[str, list[float]] = {"verified": [], "unverified": []}
    with tempfile.TemporaryDirectory() as folder:
        raster = deflated(square(side, Path(folder)), Path(folder) / "deflate.tif")
        for how in ("verified", "unverified") * TURNS:
            verify_blocks(how == "verified")
            source, start = RasterSource(str(raster), (1, 2, 3), (0, 0, 0)), time.process_time()
            for row in range(0, side, SHEET):
                for col in range(0, side, SHEET):
                    source.read(Window(row - AROUND, col - AROUND, SHEET + 2 * AROUND, SHEET + 2 * AROUND))
            found[how].append(time.process_time() - start)
    return {how: statistics.median(seconds) for how, seconds in found.items()}


def told(results: Sequence[Result]) -> str:
    """Return CPU seconds of each pair, and the median cost of checksums."""
    found = {
        how: {one["pair"]: one["cpu_seconds"] for one in results if one["how"] == how} for how in order(0)
    }
    pairs = sorted(set(found["verified"]) & set(found["unverified"]) - {0})
    rows = [
        (
            number,
            f"{found['verified'][number]:.2f}",
            f"{found['unverified'][number]:.2f}",
            f"{found['verified'][number] - found['unverified'][number]:+.2f}",
        )
        for number in pairs
    ]
    reading = next((one for one in results if one["how"] == READING), None)
    costs = [found["verified"][number] - found["unverified"][number] for number in pairs]
    if not costs:
        return "no pair is whole"
    cost, run = statistics.median(costs), statistics.median(found["unverified"][number] for number in pairs)
    words = f"Median: {cost:+.2f} CPU s of {run:.2f}, {cost / run:.1%} (goal: at most {GOAL:.0%})."
    if reading is not None:
        alone = reading["verified"] - reading["unverified"]
        words += f" Reading alone: {alone:+.2f} CPU s, {alone / run:.1%}."
    return "\n\n".join([table(("pair", "verified: CPU s", "--no-verify: CPU s", "difference"), rows), words])


if __name__ == "__main__":
    main()
