"""Regions and their neighbourhoods."""

from __future__ import annotations

import numpy as np
from label_maps import keeping, whole_map

from terraseam.tiles.regions.neighbours import Neighbourhood, border_pixels


def neighbourhood(labels, keep=None):
    keep = keeping(0) if keep is None else keep
    borders = border_pixels(np.pad(labels, 1, constant_values=255), (-1, -1), keep)
    return Neighbourhood(whole_map(labels, labels, keep), borders)
