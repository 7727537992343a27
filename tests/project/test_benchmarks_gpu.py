"""Rates and labels on a device: the benchmark for GPUs, on a CPU and tiny chips."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import nets
import numpy as np
import pytest
from places import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import gpu
import gpu_labels

pytestmark = pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
SMALL = ["--chips", "32x1", "--matrix", "64", "--series", "0.001", "--processes", "1"]


def call(json_file: Path, *argv: str) -> str:
    """Run the benchmark as a user does; returns what it prints."""
    command = [sys.executable, ROOT / "benchmarks" / "gpu.py", *SMALL, *argv, "--json", json_file]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_network_is_timed_in_each_mode(tmp_path):
    told = call(tmp_path / "found.json", "--networks", "segnet_basic:none", "--labels", "")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [one["mode"] for one in found["rates"]] == list(gpu.MODES)
    for one in found["rates"]:
        assert one["megapixels_per_second"] == pytest.approx(32 * 32 / one["seconds"] / 1e6)
        # The paper's four blocks of 7 x 7 on 64 channels, down and up again.
        assert 0.5 < one["megaflop_per_pixel"] < 0.7
    assert "| segnet_basic:none | 0.5" in told


def two_convolutions() -> keras.Model:
    """A network that compiles at once, and sees two pixels around."""
    keras.utils.set_random_seed(5)
    chip = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(chip)
    return keras.Model(chip, keras.layers.Conv2D(3, 3, padding="same", kernel_initializer="normal")(x))


@pytest.mark.slow
def test_labels_of_a_bundle_are_compared_on_the_sample(tmp_path):
    bundle = nets.make_bundle(tmp_path / "tiny", two_convolutions())
    told = call(
        tmp_path / "found.json", "--networks", "segnet_basic:none", "--seconds", "0.001",
        "--labels", str(bundle), "--crop", "50", "--core", "32",
    )  # fmt: skip
    found = json.loads((tmp_path / "found.json").read_text())["labels"][str(bundle)]
    assert found["pixels"] == [50, 50, 3]
    modes = found["modes"]
    assert modes["float32"]["against_cpu"]["same_labels"] == 1
    assert modes["float32"]["against_cpu"]["largest_error"] == 0
    assert 0 < modes["bfloat16"]["against_cpu"]["largest_error"] < 0.1
    assert all(modes[mode]["tiles_against_whole"]["same_labels"] > 0.99 for mode in gpu.MODES)
    assert all(modes[mode]["same_bits_in_two_processes"] for mode in gpu.MODES)
    assert f"| {bundle} | float32 | 100.00000% |" in told


def test_labels_are_compared_with_how_clear_those_are_that_changed():
    other = np.array([[[4.0, 0], [1, 0], [0, 2]]])
    logits = np.array([[[4.0, 0], [0, 0.5], [0, 2]]])
    found = gpu_labels.compared(logits, other)
    assert found == {
        "same_labels": pytest.approx(2 / 3),
        "differing_pixels": 1,
        "largest_error": 0.25,
        "clearest_change": 0.25,
    }


def test_the_best_rate_of_each_mode_is_told_with_its_shares():
    def one(count: int, rate: float, **more: float) -> dict:
        figures = {"seconds": 1.0, "megapixels_per_second": rate, "megapixels_per_second_and_back": 1.5,
                   "megaflop_per_pixel": 0.25, "teraflops": rate / 4, "gigabytes_per_second": rate * 10}  # fmt: skip
        return {"network": "unet:none", "mode": "bfloat16", "side": 512, "count": count, **figures, **more}

    limits = {"float32": 10.0, "bfloat16": 100.0, "tf32": 50.0, "copy": 4000.0}
    failed = {"network": "unet:none", "mode": "tf32", "side": 512, "count": 4, "error": "Out of memory"}
    told = gpu.told({"device": "Card", "ceilings": limits, "rates": [one(1, 100.0), one(4, 200.0), failed]})
    assert "| 200 | 4 x 512 | 50 | 50% | 50% | 1.5 |" in told
    assert "| unet:none | bfloat16 | 100 | 200 |" in told
    assert "unet:none tf32 4 x 512 px: Out of memory" in told


def test_chips_beyond_a_rasters_edge_are_mirrored_and_cores_are_put_together():
    subject = object.__new__(gpu_labels.Subject)
    subject.name, subject.core, subject.samples = "tiny", 32, 4
    subject.pixels = np.random.default_rng(0).integers(0, 255, (50, 70, 3)).astype(np.uint8)
    subject.card = gpu_labels.Card.read(gpu_labels.find_bundle("coast"))
    chips = subject.chips()
    assert len(chips) == 8 and (chips[6:] == chips[5]).all()
    halo = subject.lattice.halo
    stitched = subject.stitched(chips)
    whole = subject.chip(subject.whole)[halo.top :, halo.left :][:50, :70]
    assert (stitched == whole).all()
