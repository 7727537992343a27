"""A folder with one raster of coloured rectangles, for the tests of ``terraseam train``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from terraseam.tiles.raster.georef import Georef

SIDE = 192
ROOFS = [(10, 20, 40, 60), (90, 12, 120, 40), (60, 70, 88, 100), (130, 120, 170, 170), (20, 130, 60, 180)]
POOLS = [(150, 20, 180, 60), (100, 60, 130, 100)]


def write_polygons(path: Path, place: Georef, boxes: list, kinds: list[str]) -> Path:
    features = []
    for (row0, col0, row1, col1), kind in zip(boxes, kinds, strict=True):
        corners = np.array([[col0, row0], [col0, row1], [col1, row1], [col1, row0], [col0, row0]], float)
        ring = place.to_lonlat(corners).tolist()
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": {"kind": kind}, "geometry": geometry})
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def make_town(folder: Path, make_raster: Callable[..., Path]) -> Path:
    """Write ``town.tif``, its roofs and pools, and its western half as an area."""
    place = Georef("EPSG:32632", (0.5, 0, 500_000, 0, -0.5, 5_600_000), SIDE, SIDE)
    pixels = np.random.default_rng(0).normal(100, 8, (SIDE, SIDE, 3))
    for boxes, colour in ((ROOFS, (200, 60, 50)), (POOLS, (40, 80, 210))):
        for row0, col0, row1, col1 in boxes:
            pixels[row0:row1, col0:col1] += np.array(colour) - 100
    make_raster(pixels=pixels.clip(0, 255).astype(np.uint8), name="town.tif")
    write_polygons(
        folder / "town.geojson", place, ROOFS + POOLS, ["roof"] * len(ROOFS) + ["pool"] * len(POOLS)
    )
    write_polygons(folder / "west.geojson", place, [(0, 0, SIDE, 100)], ["area"])
    return folder


def words(site: Path, *more: str) -> list[str]:
    """Return the options of a training run; those in `more` replace the defaults."""
    lists = {
        "--images": [str(site / "town.tif")],
        "--labels": [str(site / "town.geojson")],
        "--classes": ["roof,pool"],
    }
    ours = [word for name, value in lists.items() if name not in more for word in (name, *value)]
    return [
        *ours,
        "--class-property", "kind", "--architecture", "unet", "--encoder", "none", "--set", "width=4",
        "--output", str(site / "bundle"), "--chip-size", "32", "--block-size", "24", "--batch-size", "4",
        "--steps-per-epoch", "4",
        "--pictures", "0", "--schedule", "constant", *more,
    ]  # fmt: skip
