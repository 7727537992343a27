"""Rasters that show the whole Earth."""

from __future__ import annotations

import numpy as np
import pyproj

from terraseam.tiles.raster.georef import Georef

GEOS = "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80"


WORLDS = {
    "geostationary": (GEOS, 5543592.8, 5543592.8, 110),
    "mollweide": ("ESRI:54009", 18050000, 9025000, 121),
    "orthographic": ("+proj=ortho +lat_0=45 +lon_0=10 +datum=WGS84", 6400000, 6400000, 100),
    "poles_on_the_limb": ("+proj=ortho +lat_0=0 +lon_0=170 +datum=WGS84", 6400000, 6400000, 101),
    "sinusoidal": ("+proj=sinu +lon_0=150 +R=6371007.181", 20040000, 10020000, 101),
    "interrupted": ("+proj=igh +datum=WGS84", 20100000, 8700000, 150),
    "equal_earth": ("EPSG:8857", 17300000, 8400000, 120),
}


def world(name):
    crs, half_width, half_height, width = WORLDS[name]
    pixel = 2 * half_width / width
    return Georef(crs, (pixel, 0, -half_width, 0, -pixel, half_height), round(2 * half_height / pixel), width)


def checkers(georef, block=10):
    """Return squares of three labels, with nodata where the centre of a pixel is off the Earth."""
    rows, cols = np.mgrid[0 : georef.height, 0 : georef.width]
    labels = ((cols // block + rows // block) % 3).astype(np.uint8)
    to_degrees = pyproj.Transformer.from_crs(georef.crs, "EPSG:4326", always_xy=True)
    x, y = georef.to_map(np.stack([cols.ravel() + 0.5, rows.ravel() + 0.5], axis=1)).T
    lon, lat = to_degrees.transform(x, y)
    on = np.isfinite(lon) & np.isfinite(lat)
    back = to_degrees.transform(np.where(on, lon, 0), np.where(on, lat, 0), direction="INVERSE")
    on &= np.hypot(back[0] - x, back[1] - y) < 100
    labels[~on.reshape(labels.shape)] = 255
    return labels
