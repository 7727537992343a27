"""Compare what two runs wrote: polygons by their outlines in pixels, and label maps pixel by pixel."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyproj
import rasterio
import shapely
from rasterio.windows import Window

EDGE = 128
"""Width of the margin where scripts may see other pixels mirrored than Terraseam does, in pixels."""
ROWS = 1024
"""Rows of label maps that are compared at a time."""

Outlines = Counter[tuple[str, bytes]]
"""Classes and outlines of polygons, and how often each occurs."""


class Files(NamedTuple):
    """The files that a run wrote.

    Attributes:
        labels: The label map.
        polygons: The polygons, as GeoJSON.
        crs: Coordinates of the polygons, as pyproj understands it; None for those of the label map.
    """

    labels: Path
    polygons: Path
    crs: str | None = None


def outlines(files: Files) -> Outlines:
    """Return the outlines of a run's polygons.

    They are in whole pixels, without vertices on straight lines, in an order that only depends on their shape.
    """
    with rasterio.open(files.labels) as dataset:
        to_pixels, crs = ~dataset.transform, dataset.crs
    source = None if files.crs is None else pyproj.Transformer.from_crs(files.crs, crs, always_xy=True)

    def in_pixels(points: np.ndarray) -> np.ndarray:
        xs, ys = points.T if source is None else source.transform(*points.T)
        a, b, c, d, e, f = to_pixels[:6]
        return np.rint(np.column_stack([a * xs + b * ys + c, d * xs + e * ys + f]))

    features = json.loads(files.polygons.read_text())["features"]
    shapes = np.array([shapely.geometry.shape(one["geometry"]) for one in features], object)
    corners = shapely.simplify(shapely.transform(shapes, in_pixels), 0, preserve_topology=False)
    names = (one["properties"]["class"] for one in features)
    return Counter(zip(names, shapely.to_wkb(shapely.normalize(corners)), strict=True))


def inner(found: Outlines, shape: tuple[int, int], edge: int = EDGE) -> Outlines:
    """Return the outlines that lie so many pixels away from the edges of a raster of some shape."""
    keys = list(found)
    bounds = shapely.bounds(shapely.from_wkb([outline for _, outline in keys]))
    height, width = shape
    far = (bounds[:, :2] >= edge).all(1) & (bounds[:, 2:] <= (width - edge, height - edge)).all(1)
    return Counter({key: found[key] for key, kept in zip(keys, far, strict=True) if kept})


def differing_pixels(one: Path, other: Path, rows: int = ROWS) -> int:
    """Return the number of pixels that have different labels in two label maps of the same shape."""
    with rasterio.open(one) as left, rasterio.open(other) as right:
        if left.shape != right.shape:
            raise ValueError(f"{one} has the shape {left.shape}, {other} {right.shape}")
        windows = [
            Window(0, row, left.width, min(rows, left.height - row)) for row in range(0, left.height, rows)
        ]
        return sum(int((left.read(1, window=part) != right.read(1, window=part)).sum()) for part in windows)


def compared(files: Files, reference: Files) -> dict[str, Any]:
    """Return how many polygons a run has, how many of the reference's are among them, and how many labels differ.

    Of the reference's, those that are away from the raster's edges are counted once more.
    """
    with rasterio.open(reference.labels) as dataset:
        shape = dataset.shape
    found, wanted = outlines(files), outlines(reference)
    away = inner(wanted, shape)
    return {
        "polygons": found.total(),
        "right": (found & wanted).total(),
        "reference": wanted.total(),
        "inner_right": (found & away).total(),
        "inner_reference": away.total(),
        "differing_pixels": differing_pixels(files.labels, reference.labels),
    }
