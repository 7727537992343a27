"""Compare instances from tiles of several sizes on real rasters: how many, how many twice, and why they differ.

    python benchmarks/instances.py RASTER... [--model buildings-instances] [--tiles 512,1024,2048] [--output DIR]

With other tiles the network sees other surroundings, so a detector's output differs. Instances found with one tile
size but not with the last one are classified by the first cause that applies: `drawn otherwise`, if an instance of
the last size has an IoU of 0.2 or more; `rim`, within 8 px of the raster's edge, where a chip shows the mirror image;
`unsure`, a score within 0.1 of the lowest one that counts; and `other`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyogrio
import rasterio
import shapely
from telling import table

from terraseam.pipeline.cli import main as terraseam

SAME, ALIKE, RIM_PX, UNSURE = 0.5, 0.2, 8, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rasters", type=Path, nargs="+")
    parser.add_argument("--model", default="buildings-instances")
    parser.add_argument(
        "--tiles", default="512,1024,2048", help="sides of tiles; the last one is compared with"
    )
    parser.add_argument("--output", type=Path, help="where results stay (default: nowhere)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = arguments.output or Path(folder)
        rows = [
            row
            for raster in arguments.rasters
            for row in compare(raster, arguments.model, arguments.tiles.split(","), output)
        ]
    causes = ["drawn otherwise", "rim", "unsure", "other"]
    print(
        table(
            [
                "raster",
                "tile",
                "instances",
                f"pairs above {SAME}",
                "only here",
                *causes,
                "only there",
                *causes,
            ],
            rows,
        )
    )


def compare(raster: Path, model: str, tiles: list[str], output: Path) -> list[list[str]]:
    """Segment a raster with tiles of several sizes, and return a table row for each."""
    found = {}
    for tile in tiles:
        folder = output / raster.stem / tile
        options = [
            "--model",
            model,
            "--resample",
            "--tile",
            tile,
            "--output",
            str(folder),
            "--format",
            "gpkg",
        ]
        if terraseam(["segment", str(raster), *options]) != 0:
            raise SystemExit(f"{raster} was not segmented with tiles of {tile} px")
        found[tile] = read(folder / raster.stem)
    last = found[tiles[-1]]
    return [
        [
            raster.stem,
            tile,
            str(len(here[0])),
            str(len(doubles(here[0]))),
            *told(here, last),
            *told(last, here),
        ]
        for tile, here in found.items()
    ]


Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Polygons, their scores, and whether each lies at the raster's edge."""


def read(folder: Path) -> Found:
    """Read the published instances of a run."""
    frame = pyogrio.read_arrow(folder / "polygons.gpkg", columns=["score"])[1]
    polygons = shapely.make_valid(shapely.from_wkb(frame["geom"].to_pylist()))
    with rasterio.open(folder / "labels.tif") as labels:
        inner = shapely.box(*labels.bounds).buffer(-RIM_PX * labels.res[0])
    return polygons, np.array(frame["score"].to_pylist()), ~shapely.covered_by(polygons, inner)


def shares(ours: np.ndarray, theirs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return intersecting pairs of polygons, shape ``(2, pairs)``, and the IoU of each."""
    pairs = shapely.STRtree(theirs).query(ours, predicate="intersects")
    common = shapely.area(shapely.intersection(ours[pairs[0]], theirs[pairs[1]]))
    return pairs, common / (shapely.area(ours[pairs[0]]) + shapely.area(theirs[pairs[1]]) - common)


def doubles(polygons: np.ndarray) -> np.ndarray:
    """Return the IoUs of pairs within one result that exceed `SAME`."""
    (first, second), share = shares(polygons, polygons)
    return share[(first < second) & (share > SAME)]


def told(here: Found, there: Found) -> list[str]:
    """Count the instances that only one result has, in total and by cause."""
    polygons, scores, rim = here
    (first, _), share = shares(polygons, there[0])
    best = np.zeros(len(polygons))
    np.maximum.at(best, first, share)
    alone = best < SAME
    least = min(scores.min(), there[1].min())
    causes = [best >= ALIKE, rim, scores < least + UNSURE, np.ones(len(polygons), bool)]
    counts, left = [], alone.copy()
    for cause in causes:
        counts.append(int((left & cause).sum()))
        left &= ~cause
    return [str(count) for count in (int(alone.sum()), *counts)]


if __name__ == "__main__":
    main()
