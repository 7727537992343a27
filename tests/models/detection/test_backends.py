"""The same networks on TensorFlow, JAX and PyTorch: one code, one answer."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from nets import ON_OTHER_BACKENDS, QUICK_JAX, tiny_network
from places import python_path

PROGRAM = Path(__file__).with_name("run_networks.py")
OTHER = [name for name in ("jax", "torch") if name != keras.backend.backend()]
POOLED = ("segnet", "segnet_basic")


def label(architecture: str, encoder: str | None) -> str:
    return f"{architecture}:{encoder or 'none'}"


def here(folder: Path, networks: list[tuple[str, str | None]]) -> None:
    """Run networks in this process; leave their weights, images and logits in a folder."""
    for architecture, encoder in networks:
        name = label(architecture, encoder)
        model = tiny_network(architecture, encoder)
        images = np.random.default_rng(3).normal(size=(2, 64, 96, 3)).astype(np.float32)
        model.save_weights(folder / f"{name}.weights.h5")
        np.save(folder / f"{name}.npy", images)
        np.save(folder / f"{name}.here.npy", keras.ops.convert_to_numpy(model(images, training=False)))


def there(folder: Path, backend: str, networks: list[tuple[str, str | None]]) -> None:
    """Run the same networks in a process of another backend."""
    names = [label(*names) for names in networks]
    environment = {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": python_path(), **QUICK_JAX}
    command = [sys.executable, str(PROGRAM), str(folder), *names]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def check_backend(backend: str, networks: list[tuple[str, str | None]], folder: Path) -> None:
    pytest.importorskip(backend)
    here(folder, networks)
    there(folder, backend, networks)
    for architecture, encoder in networks:
        name = label(architecture, encoder)
        ours, theirs = (np.load(folder / f"{name}.{where}.npy") for where in ("here", backend))
        assert ours.std() > 0 and len(np.unique(ours.argmax(-1))) > 1
        assert (ours.argmax(-1) == theirs.argmax(-1)).mean() >= 0.999, name
        if architecture not in POOLED:
            assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(ours).max(), name


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER)
def test_networks_give_the_same_logits_on_every_backend(backend, tmp_path):
    check_backend(backend, ON_OTHER_BACKENDS, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("backend", OTHER)
def test_a_small_network_gives_the_same_logits_on_every_backend(backend, tmp_path):
    check_backend(backend, [("segnet_basic", None)], tmp_path)
