"""What ``terraseam train`` says before, while and after it trains, and how quickly."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from train_cases import make_towns, planned, said
from train_town import make_town, words

from terraseam.models.training.watch import EpochEnd
from terraseam.pipeline.cli import main
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.training.progress import epoch_line, painted
from terraseam.pipeline.training.report import describe_training, notes

SLOW_TO_IMPORT = ("tensorflow", "keras", "apache_beam", "jax")


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


def in_a_new_process(*arguments: str) -> tuple[int, str, set[str], float]:
    """Run the command; returns its status, what it says, the slow modules it imported, and the seconds it took."""
    code = (
        "import sys\nfrom terraseam.pipeline.cli import main\n"
        f"try:\n    status = main({['train', *arguments]!r})\n"
        "except SystemExit as error:\n    status = error.code\n"
        f"print('IMPORTED', *(set({SLOW_TO_IMPORT!r}) & sys.modules.keys()))\n"
        "sys.exit(status)"
    )
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    told, _, imported = done.stdout.rpartition("IMPORTED")
    return done.returncode, told + done.stderr, set(imported.split()), time.monotonic() - start


QUICK = 5.0
"""Seconds that an answer may take where other processes keep the machine busy; alone it takes less than one."""


def test_help_is_quick_and_imports_nothing_slow():
    status, told, imported, seconds = in_a_new_process("--help")
    assert (status, imported) == (0, set())
    assert "exit status: 0 success" in told
    assert seconds < QUICK


def test_a_wrong_argument_is_quick_and_imports_nothing_slow():
    status, told, imported, seconds = in_a_new_process("--chip-size", "many")
    assert (status, imported) == (2, set())
    assert told.startswith("terraseam: ") and "--chip-size" in told and "--help" in told
    assert seconds < QUICK


def test_a_plan_and_what_is_wrong_with_it_import_nothing_slow(site):
    status, told, imported, _ = in_a_new_process(*words(site, "--dry-run"))
    assert (status, imported) == (0, set()), told
    status, told, imported, _ = in_a_new_process(*words(site, "--classes", "roof,tree"))
    assert (status, imported) == (2, set())
    assert told.count("\n") == 1


def test_a_detector_and_balanced_weights_are_planned_without_keras(site):
    detector = ["--architecture", "mask_rcnn", "--encoder", "mobilenet_fpn", "--set", "slim=1", "--dry-run"]
    more = [*detector, "--class-weights", "balanced", "--val-fraction", "0.6", "--block-size", "48"]
    status, told, imported, _ = in_a_new_process(*said(site, *more, without=["set"]))
    assert (status, imported) == (0, set()), told


def test_lists_tables_and_truth_in_a_file_mean_what_they_mean_on_the_command_line(site):
    file = site / "train.toml"

    def options(text: str, *more: str):
        file.write_text(text)
        return parse_train([*said(site, *more, without=["set"]), "--config", str(file)])

    assert options("[set]\nslim = true\nwidth = 16").settings == {"slim": 1, "width": 16}
    assert options('set = ["slim=1", "width=0.5"]').settings == {"slim": 1, "width": 0.5}
    assert options("[set]\nwidth = 16\ncut = 8", "--set", "width=2").settings == {"width": 2, "cut": 8}
    assert options("scale_range = [0.5, 2]").chips.scale_range == (0.5, 2.0)
    assert options("scale-range = 1.5").chips.scale_range == (1.5, 1.5)
    assert options("label_values = [3, 4]").truths.label_values == (3, 4)
    assert options('bands = "3,1"').truths.bands == (3, 1)
    assert options("half = true\nno_symmetries = false").fp16_weights
    assert options("half = false\nno_symmetries = false").chips.symmetries
    assert not options("half = false").fp16_weights
    set_apart = options('val_images = ["a.tif", "b.tif"]\nval_labels = "c.gpkg"').truths
    assert set_apart.val_images == (str(site / "a.tif"), str(site / "b.tif"))
    assert set_apart.val_labels == (str(site / "c.gpkg"),)


def test_the_plan_says_what_will_be_done(site):
    more = ["--epochs", "3", "--optimizer", "adamw", "--learning-rate", "0.002", "--output", site / "made"]
    told = describe_training(planned(site, *make_towns(site, 2), *more))
    lines = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in told.splitlines())
    assert lines["rasters"].startswith("2 rasters, ")
    assert lines["labels"] == "10 roof, 4 pool; the rest is background"
    assert lines["validation"].endswith("of town0, town1, held out by block")
    assert lines["bands"] == "red, green, blue by default; --band-names renames them"
    assert lines["training"] == "3 epochs of 4 steps of 4 chips of 32 px; adamw, rate 0.002, constant"
    named = describe_training(planned(site, "--band-names", "near,far,height")).splitlines()
    assert "bands       near, far, height" in named
    assert str(site / "made") in lines["bundle"] and str(site / "made.training") in lines["bundle"]


def test_what_the_user_should_know_is_told_before_it_begins(site, capsys):
    file = site / "town.geojson"
    told = json.loads(file.read_text())
    ring = told["features"][0]["geometry"]["coordinates"][0]
    ring[1], ring[2] = ring[2], ring[1]
    told["features"].append({"type": "Feature", "properties": {"kind": "roof"}, "geometry": None})
    told["features"][1]["properties"]["kind"] = None
    file.write_text(json.dumps(told))
    assert main(["train", *words(site, "--classes", "roof", "--dry-run")]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert "1 invalid polygon repaired" in lines
    assert "features skipped: 1 no geometry" in lines
    assert "1 polygon without a class: the area they cover is ignored" in lines
    assert "polygons of classes that were not named count as background: pool (2)" in lines
    assert not any("not named" in note for note in notes(planned(site, "--classes", "roof,pool")))


def test_an_epoch_is_one_line():
    measures = {"val_loss": 0.3, "accuracy": 0.9, "iou_land": 0.9, "iou_roof": 0.5, "iou_pool": float("nan")}
    done = EpochEnd(3, 0.23456, 1e-3, 0.7, True, 19 * 60.0, measures)
    line = epoch_line(done, 30, 41.4)
    assert line == (
        "epoch 3 of 30: loss 0.2346, mean IoU 0.700 (land 0.900, roof 0.500), 41 s, about 19 min left, best"
    )
    last = EpochEnd(30, 0.2, 1e-3, 0.6, False, 0.0, {"precision": 0.5, "recall": 0.75, "threshold": 0.4})
    assert epoch_line(last, 30, 8.0) == (
        "epoch 30 of 30: loss 0.2000, F1 0.600 (precision 0.500, recall 0.750), 8 s"
    )


def test_the_surest_thing_is_drawn_on_top():
    from terraseam.models.detection.instances import ChipInstance

    things = [
        ChipInstance(0, 0, np.ones((2, 2), bool), 1, 0.9),
        ChipInstance(1, 1, np.eye(2, dtype=bool), 1, 0.5),
    ]
    assert painted(things, (4, 3)).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 2], [0, 0, 0]]
