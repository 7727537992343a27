"""Further rasters beside the town of `train_town`, and plans of training on them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio
from train_town import POOLS, ROOFS, SIDE, words, write_polygons

from terraseam.pipeline.errors import TrainError
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.training.plan import TrainPlan, plan_training
from terraseam.tiles.raster.georef import Georef

NORTH = 5_600_000.0
HOME = Georef("EPSG:32632", (0.5, 0, 500_000, 0, -0.5, NORTH), SIDE, SIDE)
"""Georeference of the town."""


def elsewhere(east: float) -> Georef:
    return Georef("EPSG:32632", (0.5, 0, 500_000 + east, 0, -0.5, NORTH), SIDE, SIDE)


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return np.moveaxis(dataset.read(), 0, -1)


def write(path: Path, pixels: np.ndarray, place: Georef | None = HOME, **profile: object) -> Path:
    """Write a raster ``(height, width, bands)``; without a place it has neither CRS nor transform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width, bands = pixels.shape
    where = {"crs": place.crs, "transform": rasterio.Affine(*place.transform)} if place else {}
    shape = {"height": height, "width": width, "count": bands, "dtype": pixels.dtype}
    with rasterio.open(path, "w", driver="GTiff", **{**where, **shape, **profile}) as dataset:
        dataset.write(np.moveaxis(pixels, -1, 0))
    return path


def true_labels() -> np.ndarray:
    """Return the labels of the town: 1 for roofs, 2 for pools."""
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for label, boxes in ((1, ROOFS), (2, POOLS)):
        for row0, col0, row1, col1 in boxes:
            labels[row0:row1, col0:col1] = label
    return labels


def write_outlines(path: Path, place: Georef = HOME) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    kinds = ["roof"] * len(ROOFS) + ["pool"] * len(POOLS)
    return write_polygons(path, place, ROOFS + POOLS, kinds)


def make_towns(site: Path, count: int) -> list[str]:
    """Write copies of the town beside each other, and return them as options."""
    pixels = read(site / "town.tif")
    for number in range(count):
        place = elsewhere(200.0 * number)
        write(site / "images" / f"town{number}.tif", pixels, place)
        write_outlines(site / "labels" / f"town{number}.geojson", place)
    return ["--images", str(site / "images"), "--labels", str(site / "labels")]


def said(site: Path, *more: object, without: Sequence[str] = ()) -> list[str]:
    """Return the usual options followed by others, with some left out."""
    left = words(site, *map(str, more))
    for name in without:
        if f"--{name}" in left[: len(left) - len(more)]:
            place = left.index(f"--{name}")
            del left[place : place + 2]
    return left


def planned(site: Path, *more: object, without: Sequence[str] = ()) -> TrainPlan:
    return plan_training(parse_train(said(site, *more, without=without)))


def reasons(site: Path, *more: object, without: Sequence[str] = ()) -> list[str]:
    """Return why training cannot start."""
    try:
        planned(site, *more, without=without)
    except TrainError as error:
        return list(error.reasons)
    raise AssertionError("this training can be made")


def card_of(bundle: Path) -> dict:
    return json.loads((bundle / "card.json").read_text())
