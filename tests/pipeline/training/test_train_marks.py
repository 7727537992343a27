"""A training goes on with the data it was begun with, and with no others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from places import ROOT
from train_cases import card_of, planned
from train_town import SIDE, make_town, words, write_polygons

from terraseam.pipeline.cli import main
from terraseam.pipeline.errors import TrainError
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.training.data import data_marks
from terraseam.pipeline.training.plan import plan_training
from terraseam.tiles.raster.georef import Georef


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


def marks(site: Path, *more: str) -> dict:
    return data_marks(planned(site, *more))


def test_the_same_command_has_the_same_marks(site):
    assert marks(site) == marks(site)


@pytest.mark.parametrize(
    "changed",
    [
        ("--bands", "3,2,1"),
        ("--aoi", "WEST"),
        ("--classes", "pool,roof"),
        ("--seed", "1"),
        ("--encoder-weights", "WEST"),
        ("--gsd", "0.6"),
    ],
)
def test_whatever_changes_the_data_or_the_start_changes_the_marks(site, changed):
    more = [word.replace("WEST", str(site / "west.geojson")) for word in changed]
    assert marks(site, *more) != marks(site)


def test_an_edited_outline_changes_the_marks(site):
    before = marks(site)
    file = site / "town.geojson"
    features = json.loads(file.read_text())
    shape = shapely.geometry.shape(features["features"][0]["geometry"])
    features["features"][0]["geometry"] = shapely.geometry.mapping(shapely.affinity.scale(shape, 0.5, 0.5))
    file.write_text(json.dumps(features))
    assert marks(site) != before


def test_a_moved_folder_does_not_change_the_marks(site, tmp_path_factory):
    before = marks(site)
    moved = tmp_path_factory.mktemp("elsewhere") / "site"
    site.rename(moved)
    assert marks(moved) == before


@pytest.mark.slow
def test_a_training_goes_on_with_its_own_data_alone(site, capsys):
    assert main(["train", *words(site, "--epochs", "1")]) == 0
    again = ("--epochs", "2", "--force")
    assert main(["train", *words(site, *again, "--bands", "3,2,1")]) == 1
    assert "was started with other settings" in capsys.readouterr().err
    assert main(["train", *words(site, *again, "--aoi", str(site / "west.geojson"))]) == 1
    assert "was started with other settings" in capsys.readouterr().err
    assert main(["train", *words(site, *again)]) == 0
    told = capsys.readouterr().out
    assert "epoch 2 of 2: " in told and "epoch 1 of 2: " not in told
    assert "mean IoU" in told.split("best epoch")[1]


@pytest.mark.slow
def test_the_card_has_the_figure_that_the_weights_were_chosen_by(site):
    assert main(["train", *words(site, "--epochs", "1")]) == 0
    reached = card_of(site / "bundle")["metrics"]["validation"]
    each = [value for name, value in reached.items() if name.startswith("iou_")]
    assert len(each) >= 2
    assert reached["mean_iou"] == pytest.approx(np.mean(each), abs=2e-4)


def test_a_class_that_is_not_validated_is_told_of(site):
    plan = planned(site)
    labels = np.concatenate([labels.ravel() for _, labels in plan.validation])
    missing = [name for label, name in enumerate(plan.classes.names) if label not in labels]
    assert missing == ["pool"]
    assert [
        note
        for note in plan.findings.notes
        if "pool" in note and "the validation data has no labels of" in note
    ]
    plan = planned(site, "--val-fraction", "0.7")
    assert not [note for note in plan.findings.notes if "the validation data has no labels of" in note]


DETECTOR = (
    "--architecture",
    "mask_rcnn",
    "--encoder",
    "mobilenet_fpn",
    "--set",
    "slim=1",
    "--chip-size",
    "64",
)


def test_a_detector_without_a_thing_to_validate_on_is_refused_before_it_is_trained(site, make_raster):
    make_raster(
        SIDE, SIDE, name="val/empty.tif", transform=rasterio.Affine(0.5, 0, 501_000, 0, -0.5, 5_600_000)
    )
    place = Georef("EPSG:32632", (0.5, 0, 501_000, 0, -0.5, 5_600_000), SIDE, SIDE)
    write_polygons(site / "val" / "empty.geojson", place, [(0, 0, 2, 2)], ["roof"])
    said = [word for word in words(site) if word not in ("width=4", "--set")]
    options = parse_train(
        [
            *said, *DETECTOR, "--val-images", str(site / "val" / "empty.tif"), "--val-labels",
            str(site / "val" / "empty.geojson"),
        ]
    )  # fmt: skip
    with pytest.raises(TrainError, match="hold no instances"):
        plan_training(options)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.slow
def test_a_signal_ends_with_a_sentence_and_the_same_command_goes_on(site, name):
    command = [sys.executable, "-m", "terraseam", "train", *words(site, "--epochs", "400")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert done.stdout is not None
    for line in done.stdout:
        if line.startswith("epoch 1 of"):
            break
    time.sleep(0.3)
    done.send_signal(getattr(signal, name))
    told = done.communicate(timeout=60)[1]
    assert done.returncode == 130
    assert "run the same command again to continue" in told
