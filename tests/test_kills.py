"""A run that is killed at any moment ends, when it is called again, with the bytes of a run that was left alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import kills
import nets
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
KILLS = 10


@pytest.mark.slow
def test_kills_at_random_moments_change_no_byte_and_lose_no_sheet(make_raster, tmp_path):
    coarse = np.random.default_rng(5).integers(1, 255, (220, 260, 3))
    pixels = np.kron(coarse, np.ones((12, 12, 1))).astype(np.uint8)
    scenes = [
        make_raster(pixels=pixels[:, :: 1 - 2 * flip], name=f"{flip}.tif", tiled=True) for flip in (0, 1)
    ]
    bundle = nets.make_bundle(tmp_path / "bundle", nets.small_unet())

    def command(out):
        arguments = [
            "--model",
            bundle,
            "--output",
            out,
            "--tile",
            "512",
            "--sheet",
            "512",
            "--format",
            "geojson,gpkg",
        ]
        return [sys.executable, "-m", "pipeline", "segment", *map(str, [*scenes, *arguments])]

    calm, out = tmp_path / "calm", tmp_path / "out"
    seconds = kills.run_whole(command(calm), ROOT, {})
    survived = kills.run_killed(command(out), ROOT, out, kills.moments(KILLS, seconds, seed=1))
    assert survived.lost == 0
    assert len(survived.stages) >= KILLS // 2, survived.stages
    assert kills.results(out) == kills.results(calm)
    assert len(kills.results(calm)) == 6
    assert json.loads((out / "manifest.json").read_text())["counts"]["sheets_quarantined"] == 0
    assert not list(out.glob(".staging-*")) and not list(out.glob(".work/runs/*"))
