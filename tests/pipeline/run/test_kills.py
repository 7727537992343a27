"""A run that is killed at any moment ends, when it is called again, with the bytes of a run that was left alone."""

from __future__ import annotations

import itertools
import json
import sys

import kills
import nets
import numpy as np
import pytest
from places import ROOT

KILLS = 10


@pytest.mark.slow
def test_kills_in_every_stage_change_no_byte_and_lose_no_sheet(make_raster, tmp_path):
    coarse = np.random.default_rng(5).integers(1, 255, (90, 130, 3))
    pixels = np.kron(coarse, np.ones((12, 12, 1))).astype(np.uint8)
    scenes = [
        make_raster(pixels=pixels[:, :: 1 - 2 * flip], name=f"{flip}.tif", tiled=True) for flip in (0, 1)
    ]
    bundle = nets.make_bundle(tmp_path / "bundle", nets.small_unet())

    def command(out):
        tiling = ["--tile", "512", "--sheet", "512", "--format", "geojson,gpkg"]
        job = [*scenes, "--model", bundle, "--output", out, *tiling]
        return [sys.executable, "-m", "terraseam", "segment", *map(str, job)]

    calm = tmp_path / "calm"
    job = kills.Job(command, ROOT, kills.run_whole(command(calm), ROOT))
    lives = list(kills.survive(job, (tmp_path / f"out_{n}" for n in itertools.count()), KILLS, seed=1))
    hit = [stage for life in lives for stage in life.stages]
    assert len(hit) == KILLS and set(hit) == set(kills.STAGES), hit
    assert len(kills.results(calm)) == 6
    for life in lives:
        assert life.lost == 0
        assert kills.results(life.out) == kills.results(calm)
        assert names(life) == names(kills.Life(calm))
        counts = json.loads((life.out / "manifest.json").read_text())["counts"]
        assert counts["sheets_quarantined"] == 0
        assert not list(life.out.glob(".staging-*")) and not list(life.out.glob(".work/runs/*"))


def names(life):
    """The content keys of all entries of a store."""
    return {path.name for path in life.entries()}
