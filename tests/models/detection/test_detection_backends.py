"""The same detector on TensorFlow, JAX and PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from nets import QUICK_JAX
from places import python_path
from planted import save_planted, spread_weights, tiny_detector

PROGRAM = Path(__file__).with_name("run_detector.py")
OTHER = [name for name in ("jax", "torch") if name != keras.backend.backend()]


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER)
def test_a_detector_answers_the_same_and_trains_on_every_backend(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    network = spread_weights(tiny_detector())
    save_planted(network, tmp_path / "planted")
    chips = np.random.default_rng(5).uniform(-1, 1, (2, 96, 160, 3)).astype(np.float32)
    np.save(tmp_path / "chips.npy", chips)
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": python_path(), **QUICK_JAX}
    command = [sys.executable, str(PROGRAM), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

    theirs = np.load(tmp_path / f"{backend}.npz")
    boxes, labels, scores, masks = (
        keras.ops.convert_to_numpy(part) for part in network(chips, training=False)
    )
    assert (scores > 0).sum() > 4
    np.testing.assert_array_equal(theirs["labels"], labels)
    np.testing.assert_allclose(theirs["scores"], scores, atol=1e-3)
    np.testing.assert_allclose(theirs["boxes"], boxes, atol=0.05)
    np.testing.assert_allclose(theirs["masks"], masks, atol=1e-2)
    assert np.isfinite(theirs["loss"]) and theirs["loss"] > 0
    assert theirs["kept"] == 0
