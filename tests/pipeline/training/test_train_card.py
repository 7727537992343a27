"""What a card says of a training, and what a detector answers behind it."""

from __future__ import annotations

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import rasterio
from planted import batch_of_scenes, tiny_detector
from train_cases import card_of, planned
from train_town import make_town, words

from terraseam.models.training.making import set_score_threshold
from terraseam.models.zoo import ZooError, build
from terraseam.pipeline.cli import main
from terraseam.pipeline.training.data import describe_data


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


def with_village(site: Path, make_raster) -> list[str]:
    """A second raster, of a quarter of the town's ground, with outlines of its own."""
    pixels = np.random.default_rng(1).integers(0, 255, (96, 96, 3)).astype(np.uint8)
    path = make_raster(
        pixels=pixels, name="village.tif", transform=rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)
    )
    shutil.copy(site / "town.geojson", site / "village.geojson")
    images, labels = (
        [str(site / f"{name}{end}") for name in ("town", "village")] for end in (".tif", ".geojson")
    )
    assert path == site / "village.tif"
    return ["--images", *images, "--labels", *labels]


def test_balance_is_the_power_of_the_ground_by_which_rasters_are_drawn(site, make_raster):
    more = [*with_village(site, make_raster), "--object-fraction", 0]
    shares = []
    for balance in (0, 0.5, 1):
        sampler = planned(site, *more, "--balance", balance).chips.sampler
        shares.append(np.mean([sampler.draw(number).site == 1 for number in range(600)]))
    assert np.allclose(shares, [1 / 2, 1 / 3, 1 / 5], atol=0.06)


def test_things_are_counted_where_labels_are_trusted(site):
    everywhere = describe_data(planned(site))["things"]
    inside = describe_data(planned(site, "--aoi", site / "west.geojson"))["things"]
    assert 0 < sum(inside.values()) < sum(everywhere.values())


@pytest.mark.slow
def test_the_card_has_figures_of_each_raster_and_names_what_was_skipped(site, make_raster):
    more = with_village(site, make_raster)
    broken = site / "broken.tif"
    broken.write_bytes((site / "town.tif").read_bytes()[:3000])
    shutil.copy(site / "town.geojson", site / "broken.geojson")
    images = [*more[1:3], str(broken)]
    labels = [*more[4:], str(site / "broken.geojson")]
    command = words(site, "--images", *images, "--labels", *labels, "--on-error", "skip", "--epochs", "1")
    assert main(["train", *command]) == 0
    card = card_of(site / "bundle")
    assert card["training"]["data"]["skipped"] == ["broken.tif"]
    by_raster = card["metrics"]["by raster"]
    assert set(by_raster) == {"town", "village"}
    whole = card["metrics"]["validation"]["accuracy"]
    assert min(one["accuracy"] for one in by_raster.values()) <= whole + 1e-4
    assert max(one["accuracy"] for one in by_raster.values()) >= whole - 1e-4
    assert by_raster["town"]["accuracy"] != by_raster["village"]["accuracy"]


def test_a_detector_answers_from_a_score_on_also_as_a_file():
    network = tiny_detector()
    layer = network.get_layer("detections")
    chips = batch_of_scenes(2, 96, 0)["chips"]
    set_score_threshold(network, 0.0)
    assert layer.choice.score < 1e-30
    again = _copied(network)
    ranked = np.sort(keras.ops.convert_to_numpy(again(chips)[2]).ravel())[::-1]
    middle = float(ranked[ranked > 0][ranked[ranked > 0].size // 2])
    set_score_threshold(network, middle)
    left = keras.ops.convert_to_numpy(_copied(network)(chips)[2]).ravel()
    assert left[left > 0].min() == pytest.approx(middle, rel=1e-6)
    assert 0 < (left > 0).sum() < (ranked > 0).sum()


def _copied(network: keras.Model) -> keras.Model:
    again = keras.Model.from_config(network.get_config())
    again.set_weights(network.get_weights())
    return again


def test_numbers_of_a_network_that_must_be_whole_are_refused_otherwise():
    with pytest.raises(ZooError, match=r"unet is built with whole numbers: decoder_width is 2\.5"):
        build("unet", "mobilenet", 3, 2, decoder_width=2.5)
    with pytest.raises(ZooError, match=r"mask_rcnn is built with whole numbers: room is 0\.5, width is 2\.5"):
        build("mask_rcnn", "mobilenet_fpn", 3, 2, width=2.5, room=0.5)
    assert build("unet", "mobilenet", 3, 2, encoder_width=0.25, decoder_width=4.0)
