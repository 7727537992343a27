"""A raster with one core, for checking the reach of a network."""

from __future__ import annotations

import numpy as np


def sides(reach):
    return np.array([reach.top, reach.bottom, reach.left, reach.right])


def up(pixels, stride):
    return -(-pixels // stride) * stride


def run(model, chips):
    return np.asarray(model(chips))[..., 0]


class Raster:
    """A random raster, a core in it, and the network's output for the core with maximum context."""

    def __init__(self, model, stride, halo, seed):
        self.model = model
        self.core = (5 * stride, 6 * stride)
        self.origin = (halo[0] + 3 * stride, halo[2] + 2 * stride)
        height = self.origin[0] + self.core[0] + halo[1] + 2 * stride
        width = self.origin[1] + self.core[1] + halo[3] + 3 * stride
        self.pixels = np.random.default_rng(seed).integers(1, 100, (1, height, width, 1)).astype(float)
        self.whole = self.logits(self.origin[0], height, self.origin[1], width)

    def logits(self, *halo):
        """Run the network on the core and a halo (top, bottom, left, right), and return the core's logits."""
        top, bottom, left, right = halo
        rows = slice(self.origin[0] - top, self.origin[0] + self.core[0] + bottom)
        columns = slice(self.origin[1] - left, self.origin[1] + self.core[1] + right)
        made = run(self.model, self.pixels[:, rows, columns])
        return made[0, top : top + self.core[0], left : left + self.core[1]]

    def same_with(self, halo):
        return np.array_equal(self.logits(*halo), self.whole)
