"""Draw the image strip of the README: scene, label map and polygons of the sample.

Run `make run` first, then `python examples/coast/picture.py out examples/coast/strip.png`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image, ImageDraw

WIDTH = 600
GAP = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path, help="the folder that `make run` wrote")
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    raster = json.loads((arguments.output / "manifest.json").read_text())["rasters"][0]
    folder = arguments.output / raster["id"]
    with rasterio.open(raster["path"]) as dataset:
        scene = Image.fromarray(np.moveaxis(dataset.read((1, 2, 3)), 0, -1))
        to_pixel = ~dataset.transform
    with rasterio.open(folder / "labels.tif") as dataset:
        colours = np.array([dataset.colormap(1)[label][:3] for label in range(256)], np.uint8)
        labels = Image.fromarray(colours[dataset.read(1)])
    collection = json.loads((folder / "polygons.geojson").read_text())
    panels = [scene, labels, draw_polygons(scene, collection, to_pixel)]
    height = round(WIDTH * scene.height / scene.width)
    strip = Image.new("RGB", (3 * WIDTH + 2 * GAP, height), "white")
    for number, panel in enumerate(panels):
        strip.paste(panel.resize((WIDTH, height), Image.Resampling.LANCZOS), (number * (WIDTH + GAP), 0))
    strip.quantize(160).save(arguments.picture, optimize=True)


def draw_polygons(scene: Image.Image, collection: dict, to_pixel: rasterio.Affine) -> Image.Image:
    """Draw the outlines of all polygons over a faded scene."""
    faded = Image.blend(scene, Image.new("RGB", scene.size, "white"), 0.6)
    pen = ImageDraw.Draw(faded)
    for feature in collection["features"]:
        for ring in feature["geometry"]["coordinates"]:
            pen.line([to_pixel * tuple(point) for point in ring], fill=(190, 30, 80), width=3)
    return faded


if __name__ == "__main__":
    main()
