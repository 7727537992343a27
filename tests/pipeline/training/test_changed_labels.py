"""Label rasters and rasters that are trained on are not used as a mixture where they change while they are read."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from mosaics import mosaic
from tiers import some
from train_cases import read, write
from train_town import make_town, words
from vectorize_cases import collection, patches, vectorize, write_labels

import terraseam.pipeline.training.run
from terraseam.pipeline.cli import main
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.storage import retries
from terraseam.pipeline.training.data import data_marks
from terraseam.pipeline.training.plan import plan_training
from terraseam.pipeline.training.progress import Teller
from terraseam.tiles.labels.label_raster import LabelRaster

THEN = 1_700_000_000
CHANGED = "or a file that is read with it was changed or replaced while it was"


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(retries, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def maps(tmp_path):
    """A label raster, and another one of its size and time."""
    found = [
        write_labels(tmp_path / name, patches(seed=seed)) for name, seed in (("map.tif", 3), ("other.tif", 4))
    ]
    for path in found:
        os.utime(path, (THEN, THEN))
    return found


def overwrite(path, other):
    path.write_bytes(other.read_bytes())


def replace(path, other):
    shutil.copy2(other, path.with_suffix(".new")).replace(path)


def forgotten(path, other):
    overwrite(path, other)
    os.utime(path, (THEN, THEN))


CHANGES = {
    "overwritten": overwrite,
    "replaced by one of the same size and time": replace,
    "overwritten, and its time turned back": forgotten,
    "removed": lambda path, _: path.unlink(),
    "masked": lambda path, _: shutil.copy(path, f"{path}.msk"),
}


@pytest.fixture
def after_two_sheets(monkeypatch):
    """Let something happen after two sheets of a raster were read."""

    def happen(name, what):
        original, seen = LabelRaster.read, []

        def reading(self, window):
            found = original(self, window)
            if self.path.endswith(name):
                seen.append(window)
                if len(seen) == 2:
                    what()
            return found

        monkeypatch.setattr(LabelRaster, "read", reading)

    return happen


@pytest.mark.parametrize("name", some(CHANGES, 2))
def test_a_label_raster_that_changes_is_left_out_and_others_are_not(maps, tmp_path, after_two_sheets, name):
    good = write_labels(tmp_path / "good.tif", patches(seed=5))
    after_two_sheets("map.tif", lambda: CHANGES[name](*maps))
    both = map(str, ["vectorize", maps[0], good, "--output", tmp_path / "out", "--sheet", 128])
    assert main([*both]) == 3
    assert not (tmp_path / "out" / "map").exists()
    (left,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["left_out"]
    assert f"{maps[0]} {CHANGED} read; nothing of it is published" in str(left)
    assert vectorize(good, tmp_path / "alone") == 0
    assert collection(tmp_path / "out", "good") == collection(tmp_path / "alone", "good")


def test_a_run_may_end_with_a_label_raster_that_changes(maps, tmp_path, after_two_sheets, capsys):
    after_two_sheets("map.tif", lambda: replace(*maps))
    assert vectorize(maps[0], tmp_path / "out", "--sheet", "128", "--on-error", "fail") == 1
    assert f"map.tif {CHANGED} read" in capsys.readouterr().err


@pytest.mark.parametrize("touch", [lambda path: path.chmod(0o640), lambda path: replace(path, path)])
def test_a_label_raster_of_the_same_labels_is_published(maps, tmp_path, after_two_sheets, touch):
    after_two_sheets("map.tif", lambda: touch(maps[0]))
    assert vectorize(maps[0], tmp_path / "out", "--sheet", "128") == 0
    assert vectorize(maps[0], tmp_path / "again") == 0
    assert collection(tmp_path / "out") == collection(tmp_path / "again")


@pytest.fixture
def site(tmp_path, make_raster):
    return make_town(tmp_path, make_raster)


def in_second_epoch(monkeypatch, what):
    class Meanwhile(Teller):
        def step(self, event):
            super().step(event)
            if (event.epoch, event.step) == (2, 1):
                what()

    monkeypatch.setattr(terraseam.pipeline.training.run, "Teller", Meanwhile)


def brighter(path):
    write(path, read(path) ^ 255)


TRAINING = ("--epochs", "2", "--steps-per-epoch", "3", "--val-fraction", "0.4")


@pytest.mark.slow
def test_no_network_is_trained_on_a_mixture_of_rasters(site, monkeypatch, capsys):
    raster = site / "town.tif"
    in_second_epoch(monkeypatch, lambda: brighter(raster))
    assert main(["train", *words(site, *TRAINING)]) == 1
    work = site / "bundle.training"
    assert (
        f"terraseam: {raster} {CHANGED} trained on; the epochs before that are kept in {work}: "
        "restore it and run the same command again, or start over with --restart\n"
    ) in capsys.readouterr().err
    assert not (site / "bundle").exists()


@pytest.mark.slow
def test_a_training_goes_on_when_its_raster_is_back(site, monkeypatch, capsys):
    raster, kept = site / "town.tif", site / "kept.tif"
    shutil.copy2(raster, kept)
    with monkeypatch.context() as patch:
        in_second_epoch(patch, lambda: brighter(raster))
        assert main(["train", *words(site, *TRAINING)]) == 1
    assert main(["train", *words(site, *TRAINING)]) == 1
    assert "data.pixels differs" in capsys.readouterr().err
    shutil.copy2(kept, raster)
    assert main(["train", *words(site, *TRAINING)]) == 0
    assert "resuming after epoch 1 of 2" in capsys.readouterr().out


@pytest.mark.slow
def test_a_raster_that_may_have_been_replaced_is_told_of(site, monkeypatch, capsys):
    in_second_epoch(monkeypatch, lambda: replace(site / "town.tif", site / "town.tif"))
    assert main(["train", *words(site, *TRAINING)]) == 0
    said = "was replaced by one of the same size and time while it was trained on"
    assert said in capsys.readouterr().err


def test_other_pixels_change_the_marks_of_a_training(site):
    def marks():
        return data_marks(plan_training(parse_train(words(site))))

    before = marks()
    os.utime(site / "town.tif")
    assert marks() == before
    brighter(site / "town.tif")
    assert marks() != before


def test_label_rasters_are_watched_with_the_sources_of_virtual_ones(site):
    town = site / "town.tif"
    labels = np.zeros((*read(town).shape[:2], 1), np.uint8)
    labels[10:50, 10:60] = 1
    source = write(site / "part.tif", labels)
    virtual = mosaic(site / "town.vrt", [(source, (0, 0, *labels.shape[:2]))], labels.shape[:2], bands=(1,))
    names = ("--images", town, "--labels", virtual, "--classes", "ground,roof", "--output", site / "bundle")
    network = ("--architecture", "unet", "--encoder", "none", "--set", "width=4", "--chip-size", 32)
    chips = ("--block-size", 24, "--val-fraction", 0.4)
    plan = plan_training(parse_train([*map(str, (*names, *network, *chips))]))
    assert {str(town), str(source), str(virtual)} == {file for one in plan.watched for file in one.files}
