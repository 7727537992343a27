"""The plane in which regions are regularized: as on the ground, but scaled to pixels of area 1."""

from __future__ import annotations

import math

import numpy as np

GroundSteps = tuple[tuple[float, float], tuple[float, float]]
"""Metres on the ground ``(right, up)`` for a step of one column, and for one of one row."""

NEAR_PX = 8.0
"""Distance beyond which regularized regions cannot meet, in pixels of the plane."""


def plane_of(ground: GroundSteps) -> np.ndarray:
    """Return the matrix from steps of columns and rows to steps in the plane: ``steps @ plane``; shape ``(2, 2)``."""
    plane = np.array(ground)
    return np.asarray(plane / np.sqrt(abs(np.linalg.det(plane))))


def near_px(ground: GroundSteps) -> int:
    """Return the largest distance, in columns or rows, of pixels that affect how a region is regularized."""
    longest = np.linalg.norm(np.linalg.inv(plane_of(ground)), axis=0).max()
    return math.ceil(NEAR_PX * longest) + 1
