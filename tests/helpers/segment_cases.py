"""``terraseam segment`` as called by tests, its results, and ways to run it that must not change a byte."""

from __future__ import annotations

import json
import random
import sys

import numpy as np
import rasterio

import terraseam.pipeline.run.graph
from terraseam.pipeline.cli import main

RESULTS = ("labels.tif", "polygons.geojson")


def blocky(height, width, seed=0, size=24):
    """Return patches of random colour, so that regions are large and cross sheets."""
    coarse = np.random.default_rng(seed).integers(1, 255, (height // size + 2, width // size + 2, 3))
    return np.kron(coarse, np.ones((size, size, 1)))[:height, :width].astype("uint8")


def said(raster, bundle, output, *options):
    """Return the command-line arguments, with tiles of 512 px."""
    return [*map(str, (raster, "--model", bundle, "--output", output, "--tile", "512", *options))]


def segment(raster, bundle, output, *options):
    return main(["segment", *said(raster, bundle, output, *options)])


def plan(raster, bundle, output, *options):
    return main(["plan", *said(raster, bundle, output, *options)])


def command(raster, bundle, output, *options):
    """Return the command for a separate process, with sheets of 512 px."""
    return [
        sys.executable,
        "-m",
        "terraseam",
        "segment",
        *said(raster, bundle, output, "--sheet", "512", *options),
    ]


def results(output, raster="scene", names=RESULTS):
    return [(output / raster / name).read_bytes() for name in names]


def labels(output, raster="scene"):
    with rasterio.open(output / raster / "labels.tif") as dataset:
        return dataset.read(1)


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


def features(output, raster="scene"):
    return json.loads((output / raster / "polygons.geojson").read_text())["features"]


def assert_ways_change_no_byte(raster, bundle, folder, monkeypatch, *options):
    """Run with small sheets, with large ones, and with others in another order and with replayed bundles."""
    assert segment(raster, bundle, folder / "small", *options, "--sheet", "512") == 0
    assert segment(raster, bundle, folder / "large", *options, "--sheet", "2048") == 0
    in_order = terraseam.pipeline.run.graph.raster_sheets

    def shuffled(number, plan):
        sheets = list(in_order(number, plan))
        return random.Random(7).sample(sheets, len(sheets))

    with monkeypatch.context() as patched:
        patched.setattr(terraseam.pipeline.run.graph, "raster_sheets", shuffled)
        more = ("--sheet", "1024", "--direct_runner_bundle_repeat=1")
        assert segment(raster, bundle, folder / "shuffled", *options, *more) == 0
    expected = results(folder / "small")
    for name in ("large", "shuffled"):
        assert results(folder / name) == expected, name
