"""Compare tiles with the whole raster: helpers for tests of exactness."""

from __future__ import annotations

import numpy as np

from terraseam.pipeline.segment.infer import infer_tiles
from terraseam.tiles.grid.lattice import Halo
from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.stitch import stitcher
from terraseam.tiles.raster.source import Chip

FLOAT_NOISE = 1e-4
"""Difference of the two best logits, relative to the largest logit, below which they count as tied."""


def random_scene(height, width, seed=0):
    """Return pixels with structure at several scales, uint8 ``(height, width, 3)``."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((height, width, 3))
    for size in (1, 5, 23):
        coarse = rng.integers(0, 255, (height // size + 2, width // size + 2, 3))
        scene += np.kron(coarse, np.ones((size, size, 1)))[:height, :width]
    return (scene / 3).astype(np.uint8)


def mirrored(scene, window):
    rows = mirror_index(window.row_off, window.row_end, scene.shape[0])
    cols = mirror_index(window.col_off, window.col_end, scene.shape[1])
    return scene[np.ix_(rows, cols)]


def whole_logits(engine, scene, halo):
    """Run inference on the whole raster, mirrored by the halo and up to the stride."""
    stride = engine.card.stride
    height, width = (-(-side // stride) * stride for side in scene.shape[:2])
    window = Window(-halo.top, -halo.left, height + halo.top + halo.bottom, width + halo.left + halo.right)
    logits = engine.logits(mirrored(scene, window)[None])[0]
    return logits[halo.top : halo.top + scene.shape[0], halo.left : halo.left + scene.shape[1]]


def tiled(engine, scene, lattice):
    """Return the logits of all cores, and the stitched labels, sheet by sheet."""
    logits = np.full((*scene.shape[:2], len(engine.card.classes)), np.nan, np.float32)
    labels = np.full(scene.shape[:2], 99, np.uint8)
    for sheet in lattice.sheets():
        window, read = lattice.sheet_window(*sheet), lattice.sheet_read_window(*sheet)
        chip = Chip(read, mirrored(scene, read), np.ones(read.shape, bool))
        stitch = stitcher("crop", lattice, sheet, logits.shape[-1])
        reads = lattice.read_windows(lattice.sheet_tiles(*sheet))
        for tile, made in infer_tiles(engine.logits, chip, reads, 1, 2):
            core = lattice.core_window(*tile)
            logits[core.within(lattice.raster)] = made[core.within(lattice.read_window(*tile))]
            stitch.add(tile, made)
        labels[window.within(lattice.raster)] = stitch.label_map(np.ones(window.shape, bool)).labels
    return logits, labels


def reach_of(engine):
    reach = engine.card.reach
    return Halo(reach.top, reach.bottom, reach.left, reach.right).rounded_up(engine.card.stride)


def assert_exact(engine, scene, lattice, halo):
    want = whole_logits(engine, scene, halo)
    _, labels = tiled(engine, scene, lattice)
    best = np.sort(want, axis=-1)
    clear = best[..., -1] - best[..., -2] > FLOAT_NOISE * np.abs(want).max()
    assert clear.mean() > 0.9
    assert (labels == want.argmax(-1))[clear].all()
