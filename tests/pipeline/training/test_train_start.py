"""What a training starts from, and what is set apart to validate on, is said before it begins."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from train_cases import HOME, NORTH, elsewhere, planned, read, reasons, write, write_outlines
from train_town import SIDE, make_town, write_polygons

from terraseam.pipeline.options.train import BLOCK_CHIPS
from terraseam.pipeline.training.report import describe_training
from terraseam.tiles.raster.view import View

GSD = 0.5


@pytest.fixture
def site(tmp_path, make_raster):
    return make_town(tmp_path, make_raster)


def start(site, *more):
    plan = planned(site, *more, without=["set"])
    (line,) = [line for line in describe_training(plan).splitlines() if line.startswith("start ")]
    return line.removeprefix("start").strip()


def test_the_start_is_said(site):
    weights = site / "weights.h5"
    weights.write_bytes(b"x")
    coast = ("--encoder", "mobilenet", "--initial-bundle", "coast")
    assert start(site) == "random weights; pass --initial-bundle BUNDLE for pretrained weights"
    assert start(site, "--encoder", "vgg16").endswith(
        "random weights; pass --encoder-weights imagenet or --initial-bundle BUNDLE for pretrained weights"
    )
    taken = start(site, "--encoder", "vgg16", "--encoder-weights", weights)
    assert taken == f"encoder of {weights}; random weights for the rest"
    assert start(site, *coast) == "coast where layers match; random weights for the rest"
    both = start(site, *coast, "--encoder-weights", "imagenet")
    assert both == "encoder of imagenet, then coast where layers match; random weights for the rest"


@pytest.mark.parametrize("chip", [32, 64, 128, 256])
def test_blocks_are_halved_until_a_raster_has_more_than_one(site, chip):
    plan = planned(site, "--chip-size", chip, without=["block-size"])
    side = BLOCK_CHIPS * chip
    while side >= SIDE:
        side /= 2
    assert side >= chip / 2
    apart = np.concatenate([scene.area.boxes() for scene in plan.validation.scenes])
    assert {round(box.bounds[2] - box.bounds[0]) for box in apart} == {SIDE / np.ceil(SIDE / side)}


def test_a_raster_as_large_as_a_block_but_for_the_rounding_of_its_gsd_has_several(site):
    pixels = np.zeros((128, 128, 3), np.uint8)
    for number, gsd in enumerate((0.2984, 0.5971, 0.3)):
        place = replace(HOME, transform=(gsd, 0, 500_000, 0, -gsd, NORTH), height=128, width=128)
        folder = site / str(number)
        write(folder / "a.tif", pixels, place)
        write_polygons(folder / "a.geojson", place, [(2, 2, 126, 126)], ["roof"])
        more = ["--images", folder / "a.tif", "--labels", folder / "a.geojson", "--classes", "roof"]
        for seed in range(3):
            plan = planned(site, *more, "--seed", seed, without=["block-size"])
            hidden = plan.chips.scenes[0].hidden.inside(View(0, 0, 1, 1, 128, 128))
            assert hidden.mean() == 0.25


def test_a_raster_that_is_one_block_is_told_in_metres_with_what_to_do(site):
    (told,) = reasons(site, "--block-size", "500")
    assert told == (
        "nothing can be held out for validation: town has 96.04 x 96.04 m, no more than one block of 500 m; "
        "pass --block-size 48 or --split raster, or give --val-images"
    )
    assert planned(site, "--block-size", "48").validation.views


def test_rasters_of_which_nothing_is_set_apart_are_named(site):
    pixels = read(site / "town.tif")
    for name, width, east in (("small", SIDE, 500.0), ("wide", 3 * SIDE, 1_000.0)):
        write(site / "some" / f"{name}.tif", np.tile(pixels, (1, width // SIDE, 1)), elsewhere(east))
        write_outlines(site / "some" / f"{name}.geojson", elsewhere(east))
    some = ["--images", site / "some", "--labels", site / "some", "--block-size", "100"]
    found = planned(site, *some).findings.notes
    assert (
        "validation is on 1 of 2 rasters only, not on small: choose a smaller --block-size, or give --val-images"
        in found
    )
    assert not [note for note in planned(site, *some[:-1], "24").findings.notes if "validation is on" in note]
