"""Comparisons of trained networks: figures, folds, chips, and each script as it is called, on tiny data."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from conftest import NORTH_UP
from evaluate_scenes import write_geojson
from nets import QUICK_JAX
from places import ROOT

from terraseam.tiles.raster.georef import Georef

sys.path.append(str(ROOT / "benchmarks"))

import architectures
import buildings
import camvid
import comparing
import isbi2012
import peers
import telling

PLACE = Georef("EPSG:32632", tuple(NORTH_UP)[:6], 160, 192)
CHIPS = ["--gsd", "0.5", "--chip", "32", "--batch", "2"]


@pytest.fixture
def town(tmp_path: Path, make_raster: Callable[..., Path]) -> Path:
    """A folder as `buildings` is: a raster with outlines to train on, and one to validate on."""
    for seed, name in enumerate(("train", "val")):
        rng = np.random.default_rng(seed)
        pixels = rng.integers(70, 110, (160, 192, 3)).astype(np.uint8)
        corners = [(row, col) for row in range(6, 150, 36) for col in range(5, 180, 40)]
        sides = rng.integers(14, 30, (len(corners), 2))
        for (row, col), (height, width) in zip(corners, sides, strict=True):
            pixels[row : row + height, col : col + width] = (200, 70, 60)
        boxes = [
            shapely.box(col, row, min(col + width, 192), min(row + height, 160))
            for (row, col), (height, width) in zip(corners, sides, strict=True)
        ]
        make_raster(pixels=pixels, name=f"data/{name}/{name}_town.tif")
        write_geojson(tmp_path / "data" / name / f"{name}_town.geojson", boxes, PLACE)
    return tmp_path / "data"


def call(script: str, *argv: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user does."""
    command = [sys.executable, ROOT / "benchmarks" / f"{script}.py", *map(str, argv)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


# What is more than noise


def test_a_difference_counts_where_it_is_larger_than_what_seeds_make():
    figures = {"low": [0.50, 0.51, 0.49], "high": [0.70, 0.71, 0.69], "wild": [0.4, 0.6, 0.8]}
    assert telling.beyond_noise(figures) == ["high > low"]
    assert "3 pairs): high > low." in telling.noise_line(figures)


def test_holm_asks_more_of_a_difference_among_many_pairs():
    two = {"a": [0.50, 0.52, 0.51], "b": [0.53, 0.55, 0.54]}
    many = two | {f"{name}": [0.52, 0.53, 0.51] for name in "cdefg"}
    assert 0.05 / 21 < telling.welch(two["a"], two["b"]) < 0.05
    assert telling.beyond_noise(two) == ["b > a"]
    assert telling.beyond_noise(many) == []


def test_one_seed_says_nothing_of_noise():
    assert telling.welch([0.1], [0.9, 0.8]) == 1
    assert "unknown" in telling.noise_line({"a": [0.1], "b": [0.9]})
    some = {"a": [0.1], "b": [0.9, 0.91, 0.89], "c": [0.5, 0.51, 0.49]}
    assert telling.noise_line(some).endswith("1 pairs): b > c; of one seed: a.")


def test_the_order_of_the_fcns_is_told_with_its_chance():
    figures = {"fcn32s": [0.5, 0.52], "fcn16s": [0.6, 0.62], "fcn8s": [0.58, 0.6], "unet": [0.7, 0.7]}
    line = architectures.order_line(figures)
    assert "fcn32s to fcn16s +0.100" in line and "fcn16s to fcn8s -0.020" in line
    assert architectures.order_line({"unet": [0.7]}) == ""


# Runs that are kept

SCRIPT = """
import sys
from pathlib import Path
import comparing

def measure(run):
    with Path("runs.txt").open("a") as file:
        file.write(f"{run} {arguments.setting}\\n")
    if run == "b" and not Path("mended").exists():
        sys.exit(1)
    return {"figure": 1}

def told(found):
    return " ".join(one["run"] for one in found)

parser = comparing.make_parser(None, "none")
parser.add_argument("--setting", type=int, default=0)
arguments = parser.parse_args()
runs = comparing.Runs(__file__, sys.argv[1:], arguments.folder, {"setting": arguments.setting})
comparing.compare(runs, arguments, "abc", measure, told)
"""


def test_runs_that_are_done_are_not_made_again_and_failed_ones_are(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)

    def made(*argv: str) -> tuple[str, list[str]]:
        (tmp_path / "runs.txt").write_text("")
        command = [sys.executable, "script.py", "--folder", "kept", *argv]
        variables = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
        done = subprocess.run(
            command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True
        )
        return done.stdout.strip(), (tmp_path / "runs.txt").read_text().splitlines()

    assert made() == ("a c", ["a 0", "b 0", "c 0"])
    assert made("--done") == ("a c", [])
    (tmp_path / "mended").touch()
    assert made() == ("a b c", ["b 0"])
    assert made() == ("a b c", [])
    assert made("--setting", "1") == ("a b c", ["a 1", "b 1", "c 1"])


def test_results_say_when_and_with_what_they_were_made(tmp_path):
    runs = comparing.Runs("script.py", [], tmp_path, {"budget": 3})
    runs.keep("one", {"iou": 0.5})
    kept = runs.result("one")
    assert kept["iou"] == 0.5 and kept["settings"] == {"budget": 3} and "keras" in kept["versions"]
    assert replace(runs, settings={"budget": 4}).result("one") is None


def test_a_script_without_data_says_what_to_set():
    done = call("isbi2012", "--run", "fold0", TERRASEAM_DATA="")
    assert done.returncode == 1
    assert "TERRASEAM_DATA does not name a folder" in done.stderr


@pytest.mark.parametrize(
    ("script", "option", "kind"),
    [(architectures, "--networks", "network"), (camvid, "--networks", "network"), (peers, "--sides", "side")],
)
def test_a_name_that_nothing_has_is_told_with_those_to_choose_of(script, option, kind, capsys):
    with pytest.raises(SystemExit):
        script.parse([option, "lenet"])
    assert f"no {kind} is called lenet; choose of " in capsys.readouterr().err


# Architectures on buildings


def test_what_is_done_is_told_whatever_networks_and_seeds_it_was_made_for(tmp_path, capsys):
    kept = {"iou_of_rasters": {"town": 0.5}, "iou": 0.5, "about": "random", "parameters": 7, "steps": 3}
    argv = ["--folder", str(tmp_path)]
    settings = comparing.settings_of(architectures.parse([*argv, "--seeds", "1"]), "networks", "seeds")
    runs = comparing.Runs("architectures.py", argv, tmp_path, settings)
    for network, seed in (("unet", 0), ("unet", 1), ("fcn8s", 0)):
        result = {"network": network, "seed": seed, "cpu_seconds": 9}
        runs.keep(f"{network}-seed{seed}", kept | result)
    architectures.main([*argv, "--networks", "fcn8s,segnet,unet", "--seeds", "5", "--done"])
    rows = capsys.readouterr().out.splitlines()[2:4]
    assert [row.split(" | ")[:4] for row in rows] == [
        ["| fcn8s", "random", "0.00 M", "1"],
        ["| unet", "random", "0.00 M", "2"],
    ]
    with pytest.raises(SystemExit, match="no run gave a result"):
        architectures.main([*argv, "--budget", "1", "--done"])


def plan_of(town: Path, tmp_path: Path, seed: int = 0):
    arguments = architectures.parse(["--data", str(town), "--folder", str(tmp_path / "out"), *CHIPS])
    words = buildings.network_words("unet", "none", None, {"width": 2})
    return buildings.plan_buildings(arguments, words, seed)


@pytest.mark.slow
def test_training_stops_at_its_budget_and_is_measured_on_each_raster(town, tmp_path):
    plan = plan_of(town, tmp_path)
    network = buildings.made(plan)
    before = network.model.get_weights()
    taken, spent = buildings.take_steps(network, replace(plan.recipe, steps=100_000), budget=0.5)
    assert 1 <= taken < 100_000
    assert 0.5 <= spent < 3
    assert any((one != other).any() for one, other in zip(before, network.model.get_weights(), strict=True))
    found = network.measured()
    assert list(found["iou_of_rasters"]) == ["val_town"]
    assert found["iou"] == found["iou_of_rasters"]["val_town"]


@pytest.mark.slow
def test_all_networks_see_the_same_chips_of_a_seed_and_others_of_another(town, tmp_path):
    one, other = plan_of(town, tmp_path), plan_of(town, tmp_path, seed=1)
    again = buildings.plan_buildings(
        architectures.parse(["--data", str(town), "--folder", str(tmp_path / "out"), *CHIPS]),
        buildings.network_words("fcn8s", "mobilenet", None, {}),
        0,
    )
    assert (one.chips([5]).pixels == again.chips([5]).pixels).all()
    assert (one.chips([5]).pixels != other.chips([5]).pixels).any()


def test_chips_are_measured_over_all_pixels_of_all_rasters(town, tmp_path):
    validation = plan_of(town, tmp_path).validation
    truths = np.stack([validation.chip(number)[1] for number in range(len(validation.views))])
    answers = iter(truths == 1)

    def answer(pixels):
        assert pixels.shape[0] == 1
        # Right but for the left half of each chip, which is all ground.
        found = next(answers).copy()
        found[:, : found.shape[1] // 2] = False
        return np.stack([~found, found], axis=-1)[None].astype(np.float32)

    measured = buildings.measure_chips(answer, validation, 2)
    right = (truths[:, :, truths.shape[2] // 2 :] == 1).sum()
    assert measured["iou"] == pytest.approx(right / (truths == 1).sum())


@pytest.mark.slow
def test_architectures_are_compared_and_gone_on_with(town, tmp_path):
    argv = ["--data", town, "--folder", tmp_path / "out", *CHIPS, "--budget", "1"]
    networks = ["--networks", "unet-quarter,segnet-basic-quarter"]
    done = call("architectures", *argv, *networks, "--seeds", "1")
    assert done.returncode == 0, done.stderr
    assert "| unet-quarter | own path" in done.stdout
    again = call("architectures", *argv, *networks, "--seeds", "2")
    assert "seed0" not in again.stderr and "segnet-basic-quarter-seed1" in again.stderr
    assert "Differences beyond noise (Welch" in again.stdout
    found = summary(tmp_path / "out")
    assert found["command"].startswith("python benchmarks/architectures.py --data")
    assert [(one["network"], one["seed"]) for one in found["results"]] == [
        (name, seed) for seed in (0, 1) for name in ("unet-quarter", "segnet-basic-quarter")
    ]
    assert all(0 < one["cpu_seconds"] < 5 for one in found["results"])


# U-Net on ISBI 2012


@pytest.mark.parametrize("folds", [2, 5, 7])
def test_folds_measure_each_section_once_and_share_none_with_training(folds):
    parts = [isbi2012.parted(30, folds, fold) for fold in range(folds)]
    assert sorted(place for *_, measured in parts for place in measured) == list(range(30))
    for training, choosing, measured in parts:
        assert sorted([*training, *choosing, *measured]) == list(range(30))
        assert len(choosing) == isbi2012.CHOOSING
        assert measured == list(range(measured[0], measured[0] + len(measured)))


def blocks(count: int = 3, side: int = 96) -> isbi2012.Sections:
    """Sections whose membranes are black, in blocks of 12 px."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 2, (count, side // 12, side // 12)), np.ones((1, 12, 12)))
    return isbi2012.Sections((255 - 255 * labels).astype(np.float32), labels.astype(np.uint8))


def test_chips_are_deformed_together_with_their_labels():
    maker = isbi2012.ChipMaker(blocks(), 48, elastic=True, borders=True, seed=3)
    made, again = maker([0, 1, 7]), maker([7])
    assert (made.pixels[2] == again.pixels[0]).all()
    assert made.pixels.shape == (3, 48, 48, 1) and made.weights.shape == (3, 48, 48)
    assert ((made.pixels[..., 0] < 127.5) == (made.labels == 1)).mean() > 0.99
    plain = isbi2012.ChipMaker(blocks(), 48, elastic=False, borders=False, seed=3)([0])
    assert (plain.labels != made.labels[0]).any()
    assert ((plain.pixels[..., 0] == 0) == (plain.labels == 1)).all()


def test_figures_of_membranes_are_those_of_a_plain_count():
    scores = np.array([[0.95, 0.45, 0.55, 0.05, 0.62]])
    labels = np.array([[1, 1, 0, 0, 0]], np.uint8)
    found = isbi2012.figures(scores, labels)
    assert found["pixel_error"] == pytest.approx(3 / 5)
    assert found["foreground_iou"] == pytest.approx(1 / 4)
    assert found["least_pixel_error"] == pytest.approx(1 / 5)
    assert found["threshold_of_least"] == 0.7
    logits = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 2))
    softmax = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(isbi2012.membrane_scores(logits), softmax[..., 1])


@pytest.mark.slow
@pytest.mark.usefixtures("data_folder")
def test_unet_is_measured_on_a_fold_of_isbi2012(tmp_path):
    small = ["--width", "2", "--epochs", "1", "--steps", "2", "--batch", "1", "--chip", "64"]
    done = call("isbi2012", "--only-fold", "1", *small, "--border-weights", "--folder", tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = summary(tmp_path)["results"]
    assert found["sections"]["measured"] == [6, 7, 8, 9, 10, 11]
    assert 0 < found["membrane_share"] < 0.5
    assert found["least_pixel_error"] <= found["pixel_error"]


# SegNet and FCN-8s on CamVid


def test_weights_are_the_median_frequency_by_that_of_each_class():
    labels = np.full((3, 4, 5), camvid.IGNORED, np.uint8)
    labels[0, :2], labels[0, 2] = 0, 1
    labels[1, :2], labels[1, 2:] = 0, 3
    frequency = {0: 20 / 35, 1: 5 / 15, 3: 10 / 20}
    expected = [0.5 / frequency[label] if label in frequency else 1 for label in range(11)]
    assert camvid.median_frequency(labels) == pytest.approx(expected, abs=1e-4)


def test_figures_of_camvid_are_those_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 9, 500), rng.integers(0, 11, 500)
    counts = metrics.confusion_matrix(truth, found, labels=range(11))
    figures = camvid.figures(counts)
    seen = {"labels": range(9), "average": "macro"}
    assert figures["global_accuracy"] == pytest.approx(metrics.accuracy_score(truth, found))
    assert figures["class_average"] == pytest.approx(metrics.recall_score(truth, found, **seen))
    # A class that is answered and never true counts as 0.
    answered = metrics.jaccard_score(truth, found, labels=range(11), average="macro")
    assert figures["mean_iou"] == pytest.approx(answered)


def test_each_image_comes_once_each_time_through():
    pixels = np.arange(5, dtype=np.uint8)[:, None, None, None] + np.zeros((5, 4, 6, 3), np.uint8)
    pixels[:, :, 0] += 100
    maker = camvid.ChipMaker(camvid.Images(pixels, pixels[..., 0]), seed=1)
    made = maker(range(10))
    shown = np.minimum(made.pixels[:, 0, 0, 0], made.pixels[:, 0, -1, 0])
    assert sorted(shown[:5]) == sorted(shown[5:]) == [0, 1, 2, 3, 4]
    assert (made.pixels[..., 0] == made.labels).all()
    mirrored = made.pixels[:, 0, -1, 0] >= 100
    assert mirrored.any() and not mirrored.all()


def test_images_are_mirrored_up_to_whole_strides_where_nothing_counts(data_folder):
    images = camvid.read_images(data_folder / "camvid", "val", limit=2, shrink=1)
    assert images.pixels.shape == (2, 384, 480, 3)
    assert (images.labels[:, :12] == 255).all() and (images.labels[:, -12:] == 255).all()
    assert (images.pixels[:, 11] == images.pixels[:, 13]).all()
    assert set(np.unique(images.labels[:, 12:-12])) <= {*range(11), 255}


BLOCK = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "rasterio", "shapely", "apache_beam"):
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, Blocked())
"""


@pytest.mark.slow
@pytest.mark.usefixtures("data_folder")
def test_camvid_runs_on_jax_without_tensorflow_and_rasterio(tmp_path):
    pytest.importorskip("jax")
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    small = ["--limit", "2", "--shrink", "8", "--encoder-width", "0.0625", "--head-width", "8"]
    done = call(
        "camvid", *small, "--epochs", "1", "--batch", "2", "--folder", tmp_path / "out",
        KERAS_BACKEND="jax", PYTHONPATH=f"{ROOT}:{tmp_path}", **QUICK_JAX,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = summary(tmp_path / "out")["results"]
    assert [one["network"] for one in found] == ["segnet", "fcn8s", "unet"]
    assert all(one["settings"]["backend"] == "jax" and 0 < one["global_accuracy"] < 1 for one in found)
    assert "| SegNet's paper |  |  | 367/101/233 | 0.904 | 0.712 | 0.601 |" in done.stdout


# A peer's U-Net


@pytest.mark.slow
def test_our_unet_runs_beside_the_peers(town, tmp_path):
    there = all(importlib.util.find_spec(name) for name in ("torch", "segmentation_models_pytorch"))
    sides = "terraseam,smp" if there else "terraseam"
    argv = ["--data", town, "--folder", tmp_path / "out", *CHIPS, "--steps", "2", "--random", "--seeds", "1"]
    done = call("peers", *argv, "--sides", sides)
    assert done.returncode == 0, done.stderr
    assert ",".join(one["side"] for one in summary(tmp_path / "out")["results"]) == sides


def test_a_peer_that_is_not_there_is_said_with_what_to_do(town, tmp_path):
    if importlib.util.find_spec("segmentation_models_pytorch"):
        pytest.skip("segmentation-models-pytorch is installed")
    done = call("peers", "--data", town, "--folder", tmp_path / "out", *CHIPS, "--run", "smp-seed0")
    assert done.returncode == 1
    assert "pip install torch segmentation-models-pytorch" in done.stderr
