"""Georeferences of all kinds."""

import math

import numpy as np

from terraseam.tiles.raster.georef import Georef

HALF_WORLD = 20037508.342789244
COS, SIN = math.cos(math.radians(30)), math.sin(math.radians(30))

GEOREFS = {
    "utm": Georef("EPSG:32633", (0.5, 0.0, 399_000.25, 0.0, -0.5, 5_600_000.75), 301, 433),
    "utm_large": Georef("EPSG:32633", (10.0, 0.0, 250_000.0, 0.0, -10.0, 5_600_000.0), 10_980, 10_981),
    "southern_utm": Georef("EPSG:32718", (30.0, 0.0, 250_000.0, 0.0, -30.0, 8_600_000.0), 999, 1_531),
    "web_mercator": Georef("EPSG:3857", (1.2, 0.0, 1.4e6, 0.0, -1.2, 6.9e6), 777, 5_001),
    "degrees": Georef("EPSG:4326", (0.01, 0.0, -12.345, 0.0, -0.01, 56.78), 300, 401),
    "polar": Georef("EPSG:3413", (100.0, 0.0, -200_000.0, 0.0, -100.0, -1_100_000.0), 2_000, 1_501),
    "south_up": Georef("EPSG:32633", (2.0, 0.0, 399_000.0, 0.0, 2.0, 5_590_000.0), 4_001, 3_000),
    "rotated": Georef(
        "EPSG:3857", (4 * COS, 4 * SIN, 1.4e6, 4 * SIN, -4 * COS, 6.9e6), 5_001, 4_000
    ),
}  # fmt: skip


def random_positions(georef, count, seed=0):
    """Return pixel positions ``(col, row)`` all over a raster, including its corners."""
    rng = np.random.default_rng(seed)
    inside = rng.random((count, 2)) * [georef.width, georef.height]
    corners = [[0, 0], [georef.width, 0], [0, georef.height], [georef.width, georef.height]]
    return np.concatenate([inside, corners])
