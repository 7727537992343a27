"""What ``terraseam train`` writes finds what it was shown, in the real pipeline."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.warp
from places import ROOT
from rasterio.vrt import WarpedVRT
from train_cases import card_of, true_labels
from train_town import make_town, words

from terraseam.pipeline.cli import main
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.training.plan import plan_training

SMALL = [
    "--encoder", "mobilenet", "--set", "encoder_width=0.25", "--set", "decoder_width=4", "--chip-size", "64", "--loss",
    "cross_entropy", "--class-weights", "balanced", "--learning-rate", "0.01", "--schedule", "cosine", "--block-size", "20",
    "--val-fraction", "0.3",
]  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


def trained(site: Path, *more: object) -> dict:
    said = words(site, *SMALL, *map(str, more))
    width = said.index("width=4")
    assert main(["train", *said[: width - 1], *said[width + 1 :]]) == 0
    return card_of(site / "bundle")


def segmented(site: Path, raster: Path) -> np.ndarray:
    # A process of its own: engines set the threads of TensorFlow before anything else uses it.
    command = [sys.executable, "-m", "terraseam", "segment", str(raster), "--model", str(site / "bundle")]
    subprocess.run([*command, "--output", str(site / "out")], cwd=ROOT, check=True, capture_output=True)
    with rasterio.open(site / "out" / raster.stem / "labels.tif") as dataset:
        return dataset.read(1)


def overlap(found: np.ndarray, true: np.ndarray) -> list[float]:
    return [
        float(((found == label) & (true == label)).sum() / ((found == label) | (true == label)).sum())
        for label in (1, 2)
    ]


@pytest.mark.slow
def test_a_small_network_learns_and_segments(site):
    trained(site, "--steps-per-epoch", 60, "--epochs", 3)
    assert min(overlap(segmented(site, site / "town.tif"), true_labels())) > 0.8


@pytest.mark.slow
def test_four_bands_of_16_bits_are_learned_and_segmented_alike(site):
    with rasterio.open(site / "town.tif") as dataset:
        pixels = dataset.read().astype(np.uint16) * 12 + 300
        profile = {**dataset.profile, "count": 4, "dtype": "uint16"}
    (site / "deep").mkdir()
    with rasterio.open(site / "deep" / "town.tif", "w", **profile) as dataset:
        dataset.write(np.concatenate([pixels, pixels[:1] * 2]))
    card = trained(site, "--images", site / "deep", "--steps-per-epoch", 60, "--epochs", 3)
    assert card["bands"] == ["red", "green", "blue", "infrared"]
    assert min(overlap(segmented(site, site / "deep" / "town.tif"), true_labels())) > 0.8


@pytest.mark.slow
def test_rasters_in_degrees_are_learned(site):
    (site / "degrees").mkdir()
    path = site / "degrees" / "town.tif"
    with rasterio.open(site / "town.tif") as dataset, WarpedVRT(dataset, crs="EPSG:4326", nodata=0) as warped:
        rasterio.shutil.copy(warped, path, driver="GTiff")
        transform, shape = warped.transform, warped.shape
    card = trained(site, "--images", path, "--steps-per-epoch", 60, "--epochs", 3)
    assert 0.4 < card["gsd"] < 0.7
    found = segmented(site, path)
    true = np.zeros(shape, np.uint8)
    with rasterio.open(site / "town.tif") as dataset:
        rasterio.warp.reproject(
            true_labels(), true, src_transform=dataset.transform, src_crs=dataset.crs, dst_transform=transform,
            dst_crs="EPSG:4326", resampling=rasterio.enums.Resampling.nearest,
        )  # fmt: skip
    assert min(overlap(found, true)) > 0.7


def test_label_rasters_say_the_same_as_polygons(site):
    (site / "maps").mkdir()
    with rasterio.open(site / "town.tif") as dataset:
        profile = {**dataset.profile, "count": 1}
    with rasterio.open(site / "maps" / "town.tif", "w", **profile) as dataset:
        dataset.write(np.array([9, 4, 7], np.uint8)[true_labels()], 1)
    more = ["--labels", str(site / "maps"), "--classes", "background,roof,pool", "--label-values", "9,4,7"]
    of_polygons = plan_training(parse_train(words(site, "--object-fraction", "0")))
    said = words(site, "--object-fraction", "0", *more)
    place = said.index("--class-property")
    del said[place : place + 2]
    of_rasters = plan_training(parse_train(said))
    assert of_rasters.classes.names == of_polygons.classes.names
    for one, other in ((of_polygons, of_rasters),):
        a, b = one.chips(range(30)), other.chips(range(30))
        assert np.array_equal(a.pixels, b.pixels)
        assert np.array_equal(a.labels, b.labels)
    pairs = zip(of_polygons.validation, of_rasters.validation, strict=True)
    assert all(np.array_equal(one[1], other[1]) for one, other in pairs)


@pytest.mark.slow
def test_a_detector_is_trained_by_the_same_command(site):
    said = [word for word in words(site) if word not in ("--set", "width=4")]
    network = [
        "--architecture", "mask_rcnn", "--encoder", "mobilenet_fpn", "--set", "slim=1", "--set", "width=16", "--set",
        "encoder_width=0.25", "--chip-size", "96", "--block-size", "48", "--batch-size", "2",
        "--steps-per-epoch", "80", "--epochs", "3",
        "--learning-rate", "0.003", "--clip-norm", "5",
    ]  # fmt: skip
    shutil.copytree(site, site / "val", ignore=shutil.ignore_patterns("val"))
    seen = ["--val-images", str(site / "val"), "--val-labels", str(site / "val" / "town.geojson")]
    assert main(["train", *said, *network, *seen]) == 0
    card = card_of(site / "bundle")
    assert (card["task"], card["halo"]) == ("instances", 48)
    reached = card["metrics"]["validation"]
    assert reached["f1"] > 0.5
    assert reached["f1"] == pytest.approx(
        2 * reached["precision"] * reached["recall"] / (reached["precision"] + reached["recall"]), abs=1e-3
    )
    segmented(site, site / "town.tif")
    found = json.loads((site / "out" / "town" / "polygons.geojson").read_text())["features"]
    assert {feature["properties"]["class"] for feature in found} <= {"roof", "pool"}
    assert found
