"""The script one would write first: a loop over windows, `model.predict`, `rasterio.features.shapes`, `json`.

    python benchmarks/naive.py RASTER OUTPUT --bundle FOLDER --core 1024 --halo 112,128,112,128

The baseline of `endtoend.py`: the same windows as Terraseam, with the same halo, mirrored beyond the raster's edges.
It ignores nodata, keeps the whole label map in memory, and always starts from scratch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import rasterio
from rasterio.features import shapes
from rasterio.windows import Window


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raster", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--core", type=int, required=True)
    parser.add_argument("--halo", required=True, help="top, bottom, left, right")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True)
    card = json.loads((arguments.bundle / "card.json").read_text())
    with rasterio.open(arguments.raster) as dataset:
        labels = label(dataset, arguments.bundle, card, arguments.core, *map(int, arguments.halo.split(",")))
        profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "tiled": True, "compress": "zstd"}
        profile |= {name: dataset.profile[name] for name in ("height", "width", "crs", "transform")}
    with rasterio.open(arguments.output / "labels.tif", "w", **profile) as target:
        target.write(labels, 1)
    names = [one["name"] for one in card["classes"]]
    wanted = np.isin(labels, [number for number, one in enumerate(card["classes"]) if not one["background"]])
    features = [
        {"type": "Feature", "properties": {"class": names[int(value)]}, "geometry": geometry}
        for geometry, value in shapes(labels, mask=wanted, transform=profile["transform"])
    ]
    with (arguments.output / "polygons.geojson").open("w") as file:
        json.dump({"type": "FeatureCollection", "features": features}, file)


def label(dataset, bundle: Path, card: dict, core: int, *halo: int) -> np.ndarray:
    """Return the labels of all pixels."""
    import keras

    model = keras.saving.load_model(bundle / "model.keras", compile=False)
    scale, offset = (np.array(card["scaling"][name], np.float32) for name in ("scale", "offset"))
    top, bottom, left, right = halo
    labels = np.zeros(dataset.shape, np.uint8)
    for row in range(0, dataset.height, core):
        for col in range(0, dataset.width, core):
            chip = read(dataset, row - top, col - left, row + core + bottom, col + core + right)
            scores = model.predict((chip * scale + offset)[None], verbose=0)[0]
            target = labels[row : row + core, col : col + core]
            target[:] = scores[top : top + target.shape[0], left : left + target.shape[1]].argmax(-1)
    return labels


def read(dataset, row0: int, col0: int, row1: int, col1: int) -> np.ndarray:
    """Read a window, mirrored beyond the raster's edges."""
    rows, cols = (max(0, row0), min(dataset.height, row1)), (max(0, col0), min(dataset.width, col1))
    pixels = dataset.read((1, 2, 3), window=Window.from_slices(rows, cols))
    beyond = ((rows[0] - row0, row1 - rows[1]), (cols[0] - col0, col1 - cols[1]), (0, 0))
    return np.pad(np.moveaxis(pixels, 0, -1), beyond, mode="reflect")


if __name__ == "__main__":
    main()
