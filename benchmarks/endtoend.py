"""Benchmark whole runs of the main job: against the bare network, by stage, memory, and re-runs.

    TERRASEAM_DATA=... python benchmarks/endtoend.py [--sizes 4096,8192,16384] [--kinds ours,bare,worker]

Squares of NASA's Blue Marble are segmented with `coast`. For each there are three kinds of runs:

    ours    cold, in one process, with CPU seconds by stage; then again: with nothing changed, with a hundredth and a
            tenth of the sheets changed (at least one), with another option of polygons
    bare    the same network on the same pixels, and nothing else
    worker  cold, with one worker process beside the driver: peak memory of both

Each result is kept when done. CPU seconds and their ratios hardly depend on other load of the machine; wall seconds
do.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from comparing import Result, Runs, add_names, compare, data_folder, make_parser, settings_of
from rasterio.windows import Window
from scenes import cut
from spawning import Spent, spent_by, spent_in
from telling import load_line, table

from terraseam.tiles.grid.lattice import Lattice

HERE = Path(__file__).parent
KINDS = ("ours", "bare", "worker")
SHARES = {"1 % of the sheets changed": 0.01, "10 % of the sheets changed": 0.1}
OTHER_OPTION = ("--min-area", "1e9")
TIMES = ("seconds", "cpu_seconds")
BLOCK = 256
"""Side of the changed part of a sheet, in pixels: one block of the file."""


def main() -> None:
    parser = make_parser(__doc__, "endtoend")
    parser.add_argument("--sizes", default="4096,8192,16384", help="sides of the squares, in pixels")
    add_names(parser, "--kinds", KINDS)
    parser.add_argument("--model", default="coast", help="the bundle")
    parser.add_argument("--tile", default="1024", help="side of a tile's core, in pixels")
    parser.add_argument("--sheet", default="2048", help="side of a sheet, in pixels")
    arguments = parser.parse_args()
    runs = Runs(__file__, sys.argv[1:], arguments.folder, settings_of(arguments, "sizes", "kinds"))
    names = [f"{kind}-{size}" for size in arguments.sizes.split(",") for kind in arguments.kinds]

    def measured(name: str) -> Result:
        kind, size = name.split("-")
        with tempfile.TemporaryDirectory() as folder:
            raster = square(int(size), Path(folder))
            job = Job(raster, Path(folder), arguments.model, arguments.tile, arguments.sheet)
            before = os.getloadavg()
            found = MEASURES[kind](job)
        megapixels = int(size) ** 2 / 1e6
        return {"kind": kind, "size": int(size), "megapixels": megapixels, **found,
                "load": [before, os.getloadavg()]}  # fmt: skip

    compare(runs, arguments, names, measured, told)


def square(side: int, folder: Path) -> Path:
    """Return a square of the Blue Marble that may be modified."""
    raster = cut(data_folder() / "bluemarble" / "bluemarble_16384.tif", side, folder)
    return raster if raster.parent == folder else Path(shutil.copyfile(raster, folder / "cut.tif"))


@dataclass(frozen=True)
class Job:
    """A segmentation job.

    Attributes:
        raster: The raster.
        folder: Folder for the outputs of runs.
        model: The bundle.
        tile: Side of a tile's core.
        sheet: Side of a sheet.
    """

    raster: Path
    folder: Path
    model: str
    tile: str
    sheet: str

    @property
    def output(self) -> Path:
        """Folder of the results."""
        return self.folder / "out"

    def command(self, *more: str) -> list[str]:
        """Return the command-line arguments of Terraseam."""
        tiles = ["--tile", self.tile, "--sheet", self.sheet]
        return [
            "segment",
            str(self.raster),
            "--model",
            self.model,
            "--output",
            str(self.output),
            *tiles,
            *more,
        ]

    def manifest(self) -> dict[str, Any]:
        """Return the manifest of the previous run."""
        return json.loads((self.output / "manifest.json").read_text())

    def lattice(self) -> Lattice:
        """Return the tiles and sheets that the run planned."""
        from terraseam.pipeline.options.segment_arguments import parse
        from terraseam.pipeline.plan.make import make_plan
        from terraseam.pipeline.version import version

        return make_plan(parse(self.command(), version())[1]).lattice(0)


def ours(job: Job) -> Result:
    """Run cold, by stage, and then run again."""
    stages = job.folder / "stages.json"
    spent = spent_in([str(HERE / "stages.py"), str(stages), *job.command()])
    found: Result = {"cold": run_entry(job, spent), "stages": json.loads(stages.read_text())}
    found["again"] = {"nothing changed": run_entry(job, spent_by(job.command()))}
    for name, share in SHARES.items():
        change(job.raster, job.lattice(), share)
        found["again"][name] = run_entry(job, spent_by(job.command()))
    found["again"]["another option of polygons"] = run_entry(job, spent_by(job.command(*OTHER_OPTION)))
    return found


def run_entry(job: Job, spent: Spent) -> Result:
    """Return the cost of a run, and its counts."""
    manifest = job.manifest()
    (raster,) = manifest["rasters"]
    return {**spent._asdict(), "stages": manifest["seconds"], "counts": manifest["counts"],
            "polygons": raster["polygons"], "publish_seconds": raster["publish_seconds"]}  # fmt: skip


def change(raster: Path, lattice: Lattice, share: float, block: int = BLOCK) -> None:
    """Change a share of a raster's sheets, at least one: each by one block that only this sheet reads."""
    sheets = list(lattice.sheets())
    count = max(1, round(share * len(sheets)))
    with rasterio.open(raster, "r+") as dataset:
        for row, col in sheets[:: len(sheets) // count][:count]:
            inside = lattice.sheet_window(row, col)
            row0 = inside.row_off + inside.height // 2 // block * block
            col0 = inside.col_off + inside.width // 2 // block * block
            window = Window(col0, row0, min(block, dataset.width - col0), min(block, dataset.height - row0))
            dataset.write(np.uint8(255) - dataset.read(window=window), window=window)


def bare(job: Job) -> Result:
    """Run only the network."""
    answer = job.folder / "bare.json"
    spent = spent_in([str(HERE / "bare.py"), str(answer), *job.command()])
    return {"network": json.loads(answer.read_text()), "process": spent._asdict()}


def worker(job: Job) -> Result:
    """Run cold with a worker process."""
    mode = ("--direct_num_workers", "1", "--direct_running_mode", "multi_processing")
    return run_entry(job, spent_by(job.command(*mode)))


MEASURES = {"ours": ours, "bare": bare, "worker": worker}


def told(results: Sequence[Result]) -> str:
    """Return all tables for which there are results."""
    found = {kind: [one for one in results if one["kind"] == kind] for kind in KINDS}
    by_size = {kind: {one["size"]: one for one in found[kind]} for kind in KINDS}
    tables = (
        rates(by_size),
        memory(by_size),
        stages(found["ours"]),
        *map(again, found["ours"]),
        load_line(results),
    )
    return "\n\n".join(text for text in tables if text)


def rates(found: Mapping[str, Mapping[int, Result]]) -> str:
    """Return CPU and wall seconds of whole runs beside those of the bare network."""
    heads = ("raster", "ours: wall s", "CPU s", "Mpx/s", "of the bare network: wall", "CPU")
    cold = {size: one["cold"] for size, one in found["ours"].items()}
    network = {size: one["network"] for size, one in found["bare"].items()}
    lines = {f"{size**2 / 1e6:.1f} Mpx": (size**2 / 1e6, cold[size], network.get(size))
             for size in cold}  # fmt: skip
    if len(cold) > 1:
        few, many = sorted(cold)[-2:]
        more = (added(one.get(few), one.get(many)) for one in (cold, network))
        lines["increment from the second to the last"] = ((many**2 - few**2) / 1e6, *more)
    rows = [
        (
            name, f"{run['seconds']:.0f}", f"{run['cpu_seconds']:.1f}", f"{megapixels / run['seconds']:.2f}",
            *(ratio(run, alone, key) for key in TIMES),
        )
        for name, (megapixels, run, alone) in lines.items()
    ]  # fmt: skip
    return table(heads, rows) if rows else ""


def added(few: Mapping[str, float] | None, many: Mapping[str, float] | None) -> dict[str, float] | None:
    """Return the difference between a larger and a smaller raster, without fixed costs; None if one is missing."""
    return {key: many[key] - few[key] for key in TIMES} if few and many else None


def ratio(one: Mapping[str, float] | None, other: Mapping[str, float] | None, key: str) -> str:
    """Return the ratio of two runs' times; empty if one is missing."""
    return f"{one[key] / other[key]:.2f} x" if one and other else ""


def memory(found: Mapping[str, Mapping[int, Result]]) -> str:
    """Return the peak memory of each process, and of one without file pages."""
    heads = ("raster", "one process", "without libraries", "driver", "its worker", "without libraries ")
    sizes = sorted({size for results in found.values() for size in results})
    rows = [
        (
            f"{size**2 / 1e6:.1f} Mpx",
            peak(found["ours"].get(size, {}).get("cold"), "peak_bytes"),
            peak(found["ours"].get(size, {}).get("cold"), "own_bytes"),
            peak(found["worker"].get(size), "peak_bytes"),
            peak(found["worker"].get(size), "child_peak_bytes"),
            peak(found["worker"].get(size), "child_own_bytes"),
        )
        for size in sizes
    ]
    return table(heads, rows)


def peak(one: Mapping[str, float] | None, key: str) -> str:
    """Format as gigabytes; empty if missing."""
    return f"{one[key] / 1e9:.2f} GB" if one else ""


def stages(found: Sequence[Result]) -> str:
    """Return CPU seconds by stage, and the cost per additional Mpx, between the two largest rasters."""
    if not found:
        return ""
    ordered = sorted(found, key=lambda one: one["megapixels"])
    few, many = ordered[-2:] if len(ordered) > 1 else (None, ordered[-1])
    slope = partial(more_costs, few, many)
    names = [name for name in many["stages"] if name != "total"]
    names.sort(key=lambda name: -many["stages"][name])
    heads = ("CPU s", *(f"{one['megapixels']:.1f} Mpx" for one in ordered), "s a Mpx more")
    rows = [
        (name, *(f"{one['stages'].get(name, 0):.2f}" for one in ordered), slope([name])) for name in names
    ]
    beside = [name for name in names if name != "network"]
    sums = (f"{sum(one['stages'].get(name, 0) for name in beside):.2f}" for one in ordered)
    return table(heads, [*rows, ("all beside the network", *sums, slope(beside))])


def more_costs(few: Result | None, many: Result, names: Sequence[str]) -> str:
    """Return the CPU seconds of some stages per additional Mpx."""
    if few is None:
        return ""
    seconds = [sum(one["stages"].get(name, 0) for name in names) for one in (few, many)]
    return f"{(seconds[1] - seconds[0]) / (many['megapixels'] - few['megapixels']):.4f}"


def again(one: Result) -> str:
    """Return a table of the runs after the first one."""
    cold = one["cold"]
    heads = (f"{one['megapixels']:.1f} Mpx", "inferred", "tiles", "wall s", "of cold", "CPU s", "of cold ")
    rows = [
        (name, f"{run['counts']['sheets_inferred']} of {run['counts']['sheets']} sheets",
         run["counts"]["tiles_inferred"],
         *(text for key in ("seconds", "cpu_seconds")
           for text in (f"{run[key]:.1f}", f"{run[key] / cold[key]:.1%}")))
        for name, run in {"cold": cold, **one["again"]}.items()
    ]  # fmt: skip
    return table(heads, rows)


if __name__ == "__main__":
    main()
