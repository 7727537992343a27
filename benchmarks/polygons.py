"""Polygonize a label map of 100 Mpx: ours by sheets, against GDAL on the whole map.

    python benchmarks/polygons.py [--side 10000] [--rounds 3] [--json FILE]

The map contains 60,000 rotated rectangles, 25,000 blobs, holes, land cover with shared borders, ragged edges and
20,000 speckles; more than half of it is background. In each round, in one thread, GDAL and ours in a new process
each:

    shapes      rasterio.features.shapes of the whole map (GDAL's polygonizer), as dictionaries
    ours        tracing and closing in sheets of 2048 px
    simplify    the same with borders simplified by up to 1.5 px
    features    GeoJSON features of the regions, one sheet at a time
    file        writing them to a file

CPU seconds are given with and without system time, which varies between runs on virtual machines: it includes page
allocation. The number of polygons and their total area must agree.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio.features
import scipy.ndimage
import shapely
from telling import table

from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.geojson import write_geojson
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.seams import merge_seams
from terraseam.tiles.regions.tolerance import Tolerance
from terraseam.tiles.regions.trace import frame, simplify_sheet, trace_sheet

SHEET = 2048
KEEP = np.isin(np.arange(256), (1, 2, 3, 4))
CLASSES = ("nothing", "house", "hall", "blob", "forest")
SIMPLE = Tolerance(1.5, ((1.0, 0.0), (0.0, -1.0)))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=10_000, help="side of the map, in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npy"
        np.save(path, make_map(arguments.side))
        rows = [measure(path) for _ in range(arguments.rounds)]
    print(table(list(rows[0]), ([f"{value:,.3g}" if isinstance(value, float) else f"{value:,}" for value in row.values()]
                                for row in rows)))  # fmt: skip
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def measure(path: Path) -> dict[str, Any]:
    """Measure one round; GDAL and ours run in a new process each, as leftover memory of one slows the other."""
    theirs = in_a_process(gdals, path)
    found = in_a_process(ours, path)
    if (found["polygons"], found["pixels"]) != (theirs["polygons"], theirs["pixels"]):
        raise SystemExit(f"polygons and pixels of ours are {found}, GDAL's {theirs}")
    return {
        "polygons": found["polygons"],
        "vertices": found["vertices"],
        "shapes s": theirs["seconds"],
        "ours s": found["seconds"],
        "times faster": theirs["seconds"] / found["seconds"],
        "without the system's": theirs["user"] / found["user"],
        "simplify s": found["simplify"],
        "vertices left": found["vertices left"],
        "features s": found["features"],
        "file s": found["file"],
        "MB": found["MB"],
    }


def in_a_process(work: Callable[[Path], dict[str, Any]], path: Path) -> dict[str, Any]:
    """Run a function in a new process, and return its result."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (path,))


def gdals(path: Path) -> dict[str, Any]:
    """Polygonize the whole map with GDAL, as dictionaries."""
    labels = np.load(path)
    spent, shapes = timed(lambda: list(rasterio.features.shapes(labels, mask=KEEP[labels], connectivity=4)))
    return {"seconds": sum(spent), "user": spent[0], "polygons": len(shapes), "pixels": area_of(shapes)}


def ours(path: Path) -> dict[str, Any]:
    """Polygonize by sheets with our code, and build features and file."""
    labels = np.load(path)
    for tolerance in (None, SIMPLE):
        by_sheets(labels[:300, :300].copy(), tolerance)  # compiles, or loads what was compiled
    spent, regions = timed(lambda: by_sheets(labels))
    simple_s, simple = timed(lambda: by_sheets(labels, SIMPLE))
    georef = Georef("EPSG:32632", (0.5, 0.0, 5e5, 0.0, -0.5, 5.6e6), *labels.shape)
    sheets, options = by_home(regions), FeatureOptions("map", dict(enumerate(CLASSES)))
    features_s, texts = timed(
        lambda: [feature.text for sheet in sheets for feature in features(sheet, georef, options)]
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "polygons.geojson"
        write_s, _ = timed(lambda: write_geojson(path, texts))
        megabytes = path.stat().st_size / 1e6
    return {
        "seconds": sum(spent),
        "user": spent[0],
        "polygons": len(regions),
        "pixels": int(regions.pixels.sum()),
        "vertices": len(regions.coords),
        "simplify": sum(simple_s),
        "vertices left": len(simple.coords),
        "features": sum(features_s),
        "file": sum(write_s),
        "MB": megabytes,
    }


def timed(work: Callable[[], Any]) -> tuple[tuple[float, float], Any]:
    """Return user and system CPU seconds of a function, and its result."""
    before = os.times()
    result = work()
    after = os.times()
    return (after.user - before.user, after.system - before.system), result


def area_of(shapes: list[tuple[dict[str, Any], float]]) -> int:
    """Return the pixels covered by GDAL's polygons, whose shells and holes wind in opposite directions."""
    twice = 0.0
    for geometry, _ in shapes:
        for ring in geometry["coordinates"]:
            x, y = np.array(ring).T
            twice += np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])
    return abs(round(twice / 2))


def by_sheets(labels: np.ndarray, tolerance: Tolerance | None = None) -> Regions:
    """Return the regions of a label map, traced in sheets."""
    depth = tolerance.reach + 1 if tolerance else 1
    wide = np.pad(frame(labels), depth - 1, constant_values=255)
    scores = np.zeros_like(labels)
    traces = {}
    for row in range(0, labels.shape[0], SHEET):
        for col in range(0, labels.shape[1], SHEET):
            own = scores[row : row + SHEET, col : col + SHEET]
            height, width = own.shape
            seen = wide[row : row + height + 2 * depth, col : col + width + 2 * depth]
            framed = seen[depth - 1 : depth + height + 1, depth - 1 : depth + width + 1]
            trace = trace_sheet(np.ascontiguousarray(framed), own, (row, col), KEEP)
            if tolerance is not None:
                trace = simplify_sheet(trace, seen, (row - depth, col - depth), tolerance)
            traces[row // SHEET, col // SHEET] = trace
    homes = merge_seams({key: trace.summary for key, trace in traces.items()})
    joined = close_regions([(trace.fragments, homes[key]) for key, trace in traces.items()], tolerance)
    return Regions.concatenate([*(trace.closed for trace in traces.values()), joined]).ordered()


def by_home(regions: Regions) -> list[Regions]:
    """Group regions by the sheet of their first pixel, as the pipeline does for features."""
    homes, owner = np.unique(regions.first // SHEET, axis=0, return_inverse=True)
    return [regions.take(np.flatnonzero(owner.ravel() == home)) for home in range(len(homes))]


def make_map(side: int, seed: int = 0) -> np.ndarray:
    """Build the label map."""
    rng = np.random.default_rng(seed)
    share = (side / 10_000) ** 2
    labels = land_cover(rng, side)
    shapes = [*rectangles(rng, side, round(60_000 * share)), *blobs(rng, side, round(25_000 * share))]
    rasterio.features.rasterize(shapes, out=labels)
    y, x = np.nonzero(rng.random((side, side), dtype=np.float32) < 0.12)
    up, right = rng.integers(-1, 2, (2, len(y)))
    labels[y, x] = labels[np.clip(y + up, 0, side - 1), np.clip(x + right, 0, side - 1)]
    y, x = rng.integers(0, side, (2, round(20_000 * share)))
    labels[y, x] = rng.integers(0, 5, len(y))
    return labels


def land_cover(rng: np.random.Generator, side: int) -> np.ndarray:
    """Build large patches of class 4."""
    coarse = rng.random((side // 250 + 2, side // 250 + 2))
    smooth = scipy.ndimage.zoom(coarse, 250, order=1)[:side, :side]
    return np.where(smooth > 0.68, 4, 0).astype(np.uint8)


def rectangles(rng: np.random.Generator, side: int, count: int) -> list[tuple[shapely.Geometry, int]]:
    """Build rotated rectangles of classes 1 and 2."""
    centre, size = rng.random((count, 1, 2)) * side, rng.uniform(3, 15, (count, 1, 2))
    angle = rng.random(count) * np.pi
    corners = size * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
    turn = np.stack([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    polygons = shapely.polygons(centre + corners @ turn)
    return list(zip(polygons, rng.integers(1, 3, count).tolist(), strict=True))


def blobs(rng: np.random.Generator, side: int, count: int) -> list[tuple[shapely.Geometry, int]]:
    """Build ellipses of class 3, every eighth with a hole."""
    way = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(way), np.sin(way)], axis=1)
    centre, radii = rng.random((count, 1, 2)) * side, rng.uniform(3, 14, (count, 1, 2))
    whole = [(polygon, 3) for polygon in shapely.polygons(centre + radii * circle)]
    return whole + [(polygon, 0) for polygon in shapely.polygons(centre[::8] + 2 * circle)]


if __name__ == "__main__":
    main()
