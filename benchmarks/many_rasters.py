"""Measure what a raster costs in a run of many, in CPU time by stage, and the peak memory of such runs.

    TERRASEAM_DATA=... python benchmarks/many_rasters.py --rasters 100 300 [--source RASTER]

Rasters of 1024 x 1024 px are cut from a large one at places drawn by chance; the network takes means of 8 x 8 px, so that
it costs next to nothing and its labels are about as smooth as those of trained networks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np
import rasterio
import spawning
from rasterio.windows import Window

SIDE = 1024


def cut_rasters(source: Path, folder: Path, number: int) -> None:
    """Cut squares from the rows of a raster that are not polar."""
    draw = np.random.default_rng(0)
    with rasterio.open(source) as dataset:
        for index in range(number):
            row = int(draw.integers(dataset.height // 5, dataset.height * 3 // 4 - SIDE))
            window = Window(int(draw.integers(0, dataset.width - SIDE)), row, SIDE, SIDE)
            profile = dataset.profile | {"driver": "GTiff", "height": SIDE, "width": SIDE}
            profile |= {"transform": dataset.window_transform(window)}
            with rasterio.open(folder / f"s{index:05d}.tif", "w", **profile) as square:
                square.write(dataset.read(window=window))


def write_bundle(folder: Path) -> None:
    """Write a bundle that labels pixels as water where they are dark, on means of 8 x 8 px."""
    import keras
    from keras import layers

    from terraseam.models.bundle.archive import save_bundle
    from terraseam.models.bundle.values import ClassInfo, Scaling

    chip = keras.Input((None, None, 3))
    means = layers.AveragePooling2D(8)(chip)
    logits = layers.Conv2D(2, 1, name="logits")(means)
    network = keras.Model(chip, layers.UpSampling2D(8)(logits))
    weights = np.array([[[[1.0, 0.0], [0.5, 0.0], [0.6, 0.0]]]], np.float32)
    network.get_layer("logits").set_weights([weights, np.array([0, 8 / 127.5], np.float32)])
    classes = (ClassInfo("land", "#c8b45a", True), ClassInfo("water", "#1e5ac8", False))
    fields = {"name": "dark", "version": "1.0.0", "architecture": "mean", "license": "Apache-2.0"}
    scaling = Scaling((1 / 127.5,) * 3, (0.0,) * 3)
    bands = ("red", "green", "blue")
    save_bundle(
        network, folder, classes=classes, bands=bands, gsd="any", scaling=scaling, fill=(0.0,) * 3, **fields
    )


def seconds_of(folder: Path, number: int, source: Path) -> tuple[dict[str, float], float]:
    """Return the CPU seconds of a run by stage, and its peak memory in megabytes."""
    scenes, report = folder / f"scenes{number}", folder / "stages.json"
    scenes.mkdir()
    cut_rasters(source, scenes, number)
    stages = str(Path(__file__).with_name("stages.py"))
    job = ["segment", scenes, "--model", folder / "dark", "--output", folder / f"out{number}"]
    spent = spawning.spent_in([stages, str(report), *map(str, job)])
    return json.loads(report.read_text()), spent.peak_bytes / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rasters", type=int, nargs=2, default=[100, 300])
    parser.add_argument("--source", type=Path)
    args = parser.parse_args()
    source = args.source or Path(os.environ["TERRASEAM_DATA"], "bluemarble", "bluemarble_16384.tif")
    few, many = args.rasters
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_bundle(folder / "dark")
        first, first_peak = seconds_of(folder, few, source)
        then, then_peak = seconds_of(folder, many, source)
    for stage, seconds in then.items():
        print(f"| {stage} | {(seconds - first.get(stage, 0.0)) / (many - few) * 1000:.1f} ms |")
    print(f"peak memory: {first_peak:,.0f} MB of {few:,} rasters, {then_peak:,.0f} MB of {many:,}")


if __name__ == "__main__":
    main()
