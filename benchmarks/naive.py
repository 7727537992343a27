"""The script one would write first: a loop over windows, the network, `rasterio.features.shapes`, `json`.

    python benchmarks/naive.py RASTER OUTPUT --bundle FOLDER --core 1024 --halo 112,128,112,128 [--openvino FILE.xml]

A contestant of `against.py`: the halo that Terraseam reads, mirrored beyond the raster's edges; `model.predict`, or
OpenVINO with its own settings, except that numbers have 32 bits on every processor. It ignores nodata, keeps the
whole label map in memory, and always starts from scratch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.features import shapes
from rasterio.windows import Window

PRECISION = {"INFERENCE_PRECISION_HINT": "f32"}
"""Without it, OpenVINO computes with 16 bits where the processor can."""

Network = Callable[[np.ndarray], np.ndarray]
"""Return the scores of one chip."""


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--halo", required=True, help="top, bottom, left, right")
    arguments = parser.parse_args()
    card = read_card(arguments.bundle)
    halo = [int(side) for side in arguments.halo.split(",")]
    if arguments.openvino:
        shape = arguments.core + halo[0] + halo[1], arguments.core + halo[2] + halo[3]
        network = openvino_network(arguments.openvino, shape, card)
    else:
        network = keras_network(arguments.bundle, card)
    with rasterio.open(arguments.raster) as dataset:
        labels = label(dataset, network, arguments.core, *halo)
        profile = dataset.profile
    write(arguments.output, labels, profile, card)


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Build a parser with the options that scripts of this kind share."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raster", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--core", type=int, required=True, help="side of what is labelled at once, in pixels")
    parser.add_argument("--openvino", type=Path, help="the network, converted; otherwise TensorFlow runs it")
    return parser


def read_card(bundle: Path) -> dict[str, Any]:
    """Return the card of a bundle."""
    return json.loads((bundle / "card.json").read_text())


def scaled(chip: np.ndarray, card: Mapping[str, Any]) -> np.ndarray:
    """Return a batch of one chip, as the network takes it."""
    scale, offset = (np.array(card["scaling"][name], np.float32) for name in ("scale", "offset"))
    return (chip * scale + offset)[None]


def keras_network(bundle: Path, card: Mapping[str, Any]) -> Network:
    """Load a network with Keras."""
    import keras

    model = keras.saving.load_model(bundle / "model.keras", compile=False)
    return lambda chip: model.predict(scaled(chip, card), verbose=0)[0]


def openvino_network(path: Path, shape: tuple[int, int], card: Mapping[str, Any]) -> Network:
    """Load a converted network with OpenVINO, for chips of one shape."""
    compiled = compiled_network(path, shape, card, PRECISION)
    return lambda chip: compiled(scaled(chip, card))[0][0]


def compiled_network(
    path: Path, shape: tuple[int, int], card: Mapping[str, Any], settings: Mapping[str, Any]
) -> Any:
    """Compile a converted network, without telemetry."""
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([1, *shape, len(card["bands"])])
    return core.compile_model(model, "CPU", dict(settings))


def label(dataset: Any, network: Network, core: int, *halo: int) -> np.ndarray:
    """Return the labels of all pixels."""
    top, bottom, left, right = halo
    labels = np.zeros(dataset.shape, np.uint8)
    for row in range(0, dataset.height, core):
        for col in range(0, dataset.width, core):
            chip = read(dataset, row - top, col - left, row + core + bottom, col + core + right)
            scores = network(chip)
            target = labels[row : row + core, col : col + core]
            target[:] = scores[top : top + target.shape[0], left : left + target.shape[1]].argmax(-1)
    return labels


def read(dataset: Any, row0: int, col0: int, row1: int, col1: int) -> np.ndarray:
    """Read a window, mirrored beyond the raster's edges."""
    rows, cols = (max(0, row0), min(dataset.height, row1)), (max(0, col0), min(dataset.width, col1))
    pixels = dataset.read((1, 2, 3), window=Window.from_slices(rows, cols))
    beyond = ((rows[0] - row0, row1 - rows[1]), (cols[0] - col0, col1 - cols[1]), (0, 0))
    return np.pad(np.moveaxis(pixels, 0, -1), beyond, mode="reflect")


def write(output: Path, labels: np.ndarray, source: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Write the label map and the polygons of all classes but the background.

    Args:
        output: The new folder.
        labels: The label map.
        source: Profile of the raster.
        card: Card of the bundle.
    """
    output.mkdir(parents=True)
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "tiled": True, "compress": "zstd"}
    profile |= {name: source[name] for name in ("height", "width", "crs", "transform")}
    with rasterio.open(output / "labels.tif", "w", **profile) as target:
        target.write(labels, 1)
    names = [one["name"] for one in card["classes"]]
    wanted = np.isin(labels, [number for number, one in enumerate(card["classes"]) if not one["background"]])
    features = [
        {"type": "Feature", "properties": {"class": names[int(value)]}, "geometry": geometry}
        for geometry, value in shapes(labels, mask=wanted, transform=profile["transform"])
    ]
    with (output / "polygons.geojson").open("w") as file:
        json.dump({"type": "FeatureCollection", "features": features}, file)


if __name__ == "__main__":
    main()
