"""Write `area.geojson` and `held_out.geojson`: where `buildings/train` has reliable outlines, and what is held out.

    python examples/buildings/area.py $TERRASEAM_DATA/buildings/train examples/buildings

Some roofs of `nepal_a` have no outline, and two are drawn beside their roof; they were found by inspection, and lie
in `UNTRUSTED`. The south-west of `kampala_a`, where roofs touch, is never trained on: detectors are evaluated there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import inspect_raster

UNTRUSTED = {
    "nepal_a": (
        (98, 15, 125, 40),
        (85, 38, 108, 52),
        (155, 160, 208, 218),
        (206, 148, 258, 188),
        (268, 138, 312, 172),
        (0, 130, 70, 268),
        (0, 310, 30, 362),
        (0, 0, 30, 45),
        (402, 72, 426, 88),
        (435, 248, 450, 275),
        (205, 428, 238, 450),
        (440, 325, 450, 350),
        (395, 432, 412, 450),
    ),
}
"""Left, top, right and bottom of rectangles, in units of 0.3 m from the corner of the raster."""

HELD_OUT = {"kampala_a": ((0, 225, 170, 500),)}
"""Kept out of training, in the same units."""

UNIT = 0.3


def rectangles(georef: Georef, corners: tuple[tuple[int, int, int, int], ...]) -> shapely.Geometry:
    """Return rectangles of `UNIT` metres as one geometry in pixels of a raster, clipped to it."""
    boxes = [shapely.box(*(np.array(corner) * UNIT / georef.gsd())) for corner in corners]
    return shapely.union_all(boxes) & footprint(georef)


def footprint(georef: Georef) -> shapely.Geometry:
    return shapely.box(0, 0, georef.width, georef.height)


def feature(name: str, georef: Georef, pixels: shapely.Geometry) -> dict:
    """Return a feature in longitude and latitude."""
    lonlat = shapely.orient_polygons(shapely.set_precision(shapely.transform(pixels, georef.to_lonlat), 1e-7))
    geometry = json.loads(shapely.to_geojson(lonlat))
    return {"type": "Feature", "properties": {"raster": name}, "geometry": geometry}


def write(path: Path, features: list[dict]) -> None:
    lines = ",\n".join(json.dumps(one) for one in features)
    path.write_text(f'{{"type": "FeatureCollection", "features": [\n{lines}\n]}}\n', "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rasters", type=Path, help="folder of the training rasters")
    parser.add_argument("output", type=Path, help="folder that both files are written to")
    arguments = parser.parse_args()
    trusted, held_out = [], []
    for path in sorted(arguments.rasters.glob("*.tif")):
        name, georef = path.stem, inspect_raster(str(path)).georef
        apart, untrusted = (rectangles(georef, known.get(name, ())) for known in (HELD_OUT, UNTRUSTED))
        trusted.append(feature(name, georef, footprint(georef) - (apart | untrusted)))
        if not apart.is_empty:
            held_out.append(feature(name, georef, apart))
    write(arguments.output / "area.geojson", trusted)
    write(arguments.output / "held_out.geojson", held_out)


if __name__ == "__main__":
    main()
