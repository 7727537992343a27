"""The naive script with dask: `map_overlap` over chunks of the raster, which threads read and label.

    pip install 'dask[array]'
    python benchmarks/overlapping.py RASTER OUTPUT --bundle FOLDER --core 1024 --depth 64 [--openvino FILE.xml]

A contestant of `against.py`: chunks are read once, overlap by the same depth on all sides, and are mirrored at the
raster's edges, with all of dask's defaults: its mirror repeats the outermost pixels, Terraseam's doesn't.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from naive import PRECISION, Network, compiled_network, make_parser, read_card, scaled, write
from rasterio.windows import Window


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--depth", type=int, required=True, help="overlap of chunks, in pixels")
    arguments = parser.parse_args()
    card = read_card(arguments.bundle)
    network = (
        openvino_network(arguments.openvino, card)
        if arguments.openvino
        else keras_network(arguments.bundle, card)
    )
    with rasterio.open(arguments.raster) as dataset:
        profile = dataset.profile
    labels = label(Pixels(arguments.raster), network, arguments.core, arguments.depth)
    write(arguments.output, labels, profile, card)


class Pixels:
    """The pixels of a raster, read as they are indexed; every thread has its own open dataset."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = threading.local()
        with rasterio.open(path) as dataset:
            self.shape = (*dataset.shape, 3)
            self.dtype = np.dtype(dataset.dtypes[0])
        self.ndim = 3

    def __getitem__(self, place: tuple[slice, slice, slice]) -> np.ndarray:
        """Read a window of all bands."""
        if not hasattr(self._own, "dataset"):
            self._own.dataset = rasterio.open(self._path)
        window = Window.from_slices(*place[:2], *self.shape[:2])
        return np.moveaxis(self._own.dataset.read((1, 2, 3), window=window), 0, -1)


def label(pixels: Any, network: Network, chunk: int, depth: int) -> np.ndarray:
    """Return the labels of all pixels.

    Args:
        pixels: Array of shape ``(height, width, bands)``.
        network: Returns the scores of one chip; it is called in several threads at once.
        chunk: Side of a chunk, in pixels.
        depth: Overlap of chunks, in pixels.
    """
    import dask.array

    def labelled(chip: np.ndarray) -> np.ndarray:
        inside = slice(depth, -depth) if depth else slice(None)
        return network(chip)[inside, inside].argmax(-1).astype(np.uint8)

    chunks = dask.array.from_array(
        pixels, chunks=(chunk, chunk, -1), lock=False, meta=np.empty((0, 0, 0), np.uint8)
    )
    labels = chunks.map_overlap(
        labelled,
        depth={0: depth, 1: depth, 2: 0},
        boundary={0: "reflect", 1: "reflect", 2: "none"},
        trim=False,
        drop_axis=2,
        chunks=chunks.chunks[:2],
        dtype=np.uint8,
        meta=np.empty((0, 0), np.uint8),
    )
    return labels.compute(scheduler="threads")


def keras_network(bundle: Path, card: Mapping[str, Any]) -> Network:
    """Load a network with Keras, as one compiled call: `model.predict` is not made for several threads."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(bundle / "model.keras", compile=False)
    call = tf.function(lambda chips: model(chips, training=False))
    return lambda chip: call(scaled(chip, card))[0].numpy()


def openvino_network(path: Path, card: Mapping[str, Any]) -> Network:
    """Load a converted network with OpenVINO: one request for each thread, compiled for several at once."""
    compile_for = _once(
        lambda shape: compiled_network(path, shape, card, {**PRECISION, "PERFORMANCE_HINT": "THROUGHPUT"})
    )
    own = threading.local()

    def network(chip: np.ndarray) -> np.ndarray:
        requests = own.__dict__.setdefault("requests", {})
        if chip.shape not in requests:
            requests[chip.shape] = compile_for(chip.shape[:2]).create_infer_request()
        return requests[chip.shape].infer(scaled(chip, card))[0][0]

    return network


def _once(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Cache a function, and let only one thread call it at a time."""
    lock, cached = threading.Lock(), functools.cache(function)

    def locked(value: Any) -> Any:
        with lock:
            return cached(value)

    return locked


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    main()
