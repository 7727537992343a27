"""The period of x around the Earth in a CRS."""

from __future__ import annotations

import threading

import numpy as np
import pyproj

_local = threading.local()


def turn_of(crs: str) -> float | None:
    """Return the change of x over one full turn around the Earth; None if x is not periodic.

    It is periodic in degrees and in cylindrical projections of normal aspect, such as Mercator.
    """
    known = _local.__dict__.setdefault("turns", {})
    if crs not in known:
        known[crs] = _measured(pyproj.CRS.from_user_input(crs))
    return known[crs]


def _measured(crs: pyproj.CRS) -> float | None:
    if crs.is_geographic:
        return 360.0 / float(crs.axis_info[0].unit_conversion_factor * 180 / np.pi)
    lonlat = pyproj.Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    middle, _ = lonlat.transform(0.0, 0.0, direction="INVERSE")
    if not np.isfinite(middle):
        return None
    lon, lat = np.meshgrid(middle + np.array([-60.0, 0.0, 30.0, 60.0]), [-40.0, 0.0, 30.0])
    x, y = lonlat.transform(np.mod(lon + 180, 360) - 180, lat)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    turn = float(x[0, 3] - x[0, 0]) * 3
    expected = (lon - middle) / 360 * turn + x[0, 1]
    level = np.allclose(y, y[:, :1], rtol=0, atol=abs(turn) * 1e-9)
    return turn if level and np.allclose(x, expected, rtol=0, atol=abs(turn) * 1e-9) else None
