"""Run only the network of a run: on the same pixels, in the same windows, with the same concurrency.

    python benchmarks/bare.py JSON segment RASTER --model coast --output OUT

Sheets are read before the clocks start, one after another; outputs are discarded.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from terraseam.models.engines.ensemble import shared_ensemble
from terraseam.models.engines.profile import execution_profile
from terraseam.models.engines.workplace import Workplace
from terraseam.pipeline.inputs.bundles import bundle_folder
from terraseam.pipeline.options.segment_arguments import parse
from terraseam.pipeline.plan.make import make_plan
from terraseam.pipeline.plan.memory import calls_at_once, room_for_calls
from terraseam.pipeline.segment.infer import infer_tiles
from terraseam.pipeline.version import version
from terraseam.tiles.raster.source import RasterSource


def main() -> None:
    target, *argv = sys.argv[1:]
    _, options, _ = parse(argv, version())
    plan = make_plan(options)
    profile = execution_profile(options.batch_size, plan.engine, options.precision)
    at_once = calls_at_once(plan.chip_memory() * profile.samples, 1, room_for_calls(plan, 1))
    bundles = [bundle_folder(*each) for each in zip(plan.bundles, plan.cards, strict=True)]
    network = shared_ensemble(bundles, profile, Workplace("", at_once))
    (planned,) = plan.rasters
    lattice, source = plan.lattice(0), RasterSource(planned.path, planned.bands, plan.card.fill)
    wall = cpu = tiles = 0.0
    for number, sheet in enumerate(lattice.sheets()):
        chip = source.read(lattice.sheet_read_window(*sheet))
        if not number:
            network.logits(chip.cut(lattice.read_window(0, 0))[None])
        started = time.perf_counter(), time.process_time()
        reads = lattice.read_windows(lattice.sheet_tiles(*sheet))
        for _ in infer_tiles(network.logits, chip, reads, profile.samples, at_once):
            tiles += 1
        wall += time.perf_counter() - started[0]
        cpu += time.process_time() - started[1]
    Path(target).write_text(json.dumps({"seconds": wall, "cpu_seconds": cpu, "tiles": int(tiles)}) + "\n")


if __name__ == "__main__":
    main()
