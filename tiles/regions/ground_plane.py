"""The plane that regions are regularized in: as on the ground, but with pixels of the area 1."""

from __future__ import annotations

import math

import numpy as np

GroundSteps = tuple[tuple[float, float], tuple[float, float]]
"""Metres on the ground ``(right, up)`` for a step of one column, and for one of one row."""

NEAR_PX = 8.0
"""Regions that are farther apart than this do not come to meet, in pixels of the plane."""


def plane_of(ground: GroundSteps) -> np.ndarray:
    """From steps of columns and rows to steps in the plane: ``steps @ plane``; shape ``(2, 2)``."""
    plane = np.array(ground)
    return np.asarray(plane / np.sqrt(abs(np.linalg.det(plane))))


def near_px(ground: GroundSteps) -> int:
    """How many columns or rows away the pixels lie, at most, that decide on how a region is drawn."""
    longest = np.linalg.norm(np.linalg.inv(plane_of(ground)), axis=0).max()
    return math.ceil(NEAR_PX * longest) + 1
