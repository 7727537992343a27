"""Masks with holes."""

from __future__ import annotations

import numpy as np

HOLE = np.s_[5:12, 8:20]


def hole_mask(height=37, width=53):
    valid = np.ones((height, width), bool)
    valid[HOLE] = False
    return valid
