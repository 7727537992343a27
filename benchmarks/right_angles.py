"""Compare regularized outlines with manually drawn ones: IoU, vertices and corner angles.

    python benchmarks/right_angles.py LABELS.tif TRUTH.geojson [LABELS.tif TRUTH.geojson ...] [--min-area 10]

Label maps are those of `terraseam segment` with two classes, where label 1 is that of the outlines. For each place:
the polygons as traced, those regularized, and the manually drawn outlines, clipped at the raster's edge for the IoU
of areas. A corner counts as right if an outline turns by a right angle, or continues straight, to within 5 degrees
on the ground.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import rasterio
import shapely
from rasterio.warp import transform_geom
from telling import table

from terraseam.tiles.features.outlines import outline
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.regions.neighbours import Neighbourhood, border_pixels
from terraseam.tiles.regions.regularize import regularize
from terraseam.tiles.regions.trace import frame, trace_sheet

KEEP = np.arange(256) == 1
RIGHT_DEGREES = 5.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help="label maps and outlines, in turn")
    parser.add_argument("--min-area", type=float, default=10.0, help="square metres (default: 10)")
    arguments = parser.parse_args()
    rows = [
        row
        for labels, truth in zip(arguments.files[::2], arguments.files[1::2], strict=True)
        for row in measure(labels, truth, arguments.min_area)
    ]
    heads = ["place", "", "polygons", "IoU", "vertices a polygon", "right corners", "largest change", "CPU s"]
    print(table(heads, rows))


def measure(labels_path: Path, truth_path: Path, min_area: float) -> list[list[str]]:
    """Return the table rows of one place."""
    with rasterio.open(labels_path) as raster:
        labels, crs, transform = raster.read(1), raster.crs, raster.transform
    georef = Georef(crs.to_string(), tuple(transform)[:6], *labels.shape)
    ground = georef.ground_steps()
    regions = trace_sheet(frame(labels), np.zeros_like(labels), (0, 0), KEEP).closed.ordered()
    regions = regions.take(np.flatnonzero(outline(regions, georef).areas_m2 >= min_area))
    borders = border_pixels(np.pad(labels, 2, constant_values=255), (-2, -2), KEEP)
    around = Neighbourhood(regions, borders)
    regularize(Neighbourhood(regions.take(np.arange(1)), borders), ground, labels.shape)  # compiles
    start = time.process_time()
    found = regularize(around, ground, labels.shape)
    seconds = time.process_time() - start
    truth = drawn(truth_path, crs, transform, labels.shape)
    place = labels_path.parent.name
    before, after = regions.polygons(), found.regions.polygons()
    change = f"{np.abs(found.area_change).max():.1%}"
    return [
        [place, "traced", len(before), f"{iou(before, truth, labels.shape):.4f}", *form(before, ground), "", ""],
        [place, f"regularized ({found.changed.sum()})", len(after), f"{iou(after, truth, labels.shape):.4f}",
         *form(after, ground), change, f"{seconds:.2f}"],
        [place, "drawn", len(truth), "", *form(truth, ground), "", ""],
    ]  # fmt: skip


def drawn(path: Path, crs: rasterio.CRS, transform: rasterio.Affine, shape: tuple[int, int]) -> np.ndarray:
    """Read the outlines of a GeoJSON file that lie on the raster, in pixels."""
    found = []
    for feature in json.loads(path.read_text())["features"]:
        polygon = shapely.geometry.shape(transform_geom("EPSG:4326", crs, feature["geometry"]))
        found += list(
            shapely.get_parts(shapely.transform(polygon, lambda xy: np.stack(~transform * xy.T, 1)))
        )
    pixels = np.array(found, object)
    return pixels[shapely.intersects(pixels, shapely.box(0, 0, shape[1], shape[0]))]


def iou(found: np.ndarray, truth: np.ndarray, shape: tuple[int, int]) -> float:
    """Return the IoU of the covered areas."""
    box = shapely.box(0, 0, shape[1], shape[0])
    one, other = (shapely.union_all(shapely.make_valid(polygons)) & box for polygons in (found, truth))
    return float((one & other).area / (one | other).area)


def form(polygons: np.ndarray, ground: tuple[tuple[float, float], tuple[float, float]]) -> list[str]:
    """Return the vertices per polygon, and the share of right corners."""
    turns = []
    for ring in shapely.get_rings(shapely.transform(polygons, lambda xy: xy @ np.array(ground))):
        steps = np.diff(shapely.get_coordinates(ring), axis=0)
        angles = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
        turns.append(angles - np.roll(angles, 1))
    off = np.abs((np.concatenate(turns) + 45) % 90 - 45)
    return [f"{shapely.get_num_coordinates(polygons).mean():.1f}", f"{(off <= RIGHT_DEGREES).mean():.1%}"]


if __name__ == "__main__":
    main()
