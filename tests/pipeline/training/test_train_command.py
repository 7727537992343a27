"""``terraseam train`` from end to end: the same again and again, interrupted or not, and a sentence where it ends."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import rasterio
from train_cases import card_of, planned, said, write_outlines
from train_town import SIDE, make_town, words

import terraseam.pipeline.training.run
from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import Scaling
from terraseam.models.training.batches import Batches, TrainingData
from terraseam.models.training.making import new_network
from terraseam.models.training.recipe import Recipe
from terraseam.models.training.watch import EpochBegan, StepEnd
from terraseam.models.zoo import find
from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.cli import main
from terraseam.pipeline.run import watchdog
from terraseam.pipeline.training.progress import Teller

MORE = [
    "--epochs", "2", "--steps-per-epoch", "20", "--pictures", "3", "--val-fraction", "0.4",
    "--learning-rate", "0.005", "--set", "dropout=0.1",
    "--class-weights", "1,4,4",
]  # fmt: skip
TINY_MOBILENET = ["--encoder", "mobilenet", "--set", "encoder_width=0.25", "--set", "decoder_width=4"]
TINY_DETECTOR = [
    "--architecture", "mask_rcnn", "--encoder", "mobilenet_fpn", "--set", "slim=1", "--set", "width=16", "--set",
    "encoder_width=0.25", "--chip-size", "64", "--block-size", "48", "--val-fraction", "0.5", "--batch-size", "2",
    "--steps-per-epoch", "3",
    "--epochs", "2",
]  # fmt: skip


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A site with a training that nobody interrupted."""
    site = tmp_path_factory.mktemp("whole")

    def write(pixels: np.ndarray, name: str) -> None:
        height, width, bands = pixels.shape
        transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_600_000)
        shape = {"height": height, "width": width, "count": bands, "dtype": "uint8"}
        with rasterio.open(site / name, "w", crs="EPSG:32632", transform=transform, **shape) as dataset:
            dataset.write(np.moveaxis(pixels, -1, 0))

    make_town(site, write)
    assert main(["train", *words(site, *MORE)]) == 0
    return site


def made(site: Path, *more: object) -> bytes:
    """The network that a command writes."""
    assert main(["train", *words(site, *MORE, *map(str, more))]) == 0
    return (site / "bundle" / "model.keras").read_bytes()


def interrupt_at(monkeypatch, epoch: int, step: int) -> None:
    """Let the user press Ctrl-C when a step is done."""

    class Stopped(Teller):
        def step(self, event) -> None:
            super().step(event)
            if (event.epoch, event.step) == (epoch, step):
                raise KeyboardInterrupt

    monkeypatch.setattr(terraseam.pipeline.training.run, "Teller", Stopped)


@pytest.mark.slow
def test_chips_and_steps_are_seen_while_a_training_goes_on(site):
    plan = planned(site)
    teller = Teller(plan.validation, plan.classes.infos(), site, 0, 1)
    teller.epoch_began(EpochBegan(1, 1, 9, frozen=False))
    step = StepEnd(1, 1, 9, 0.5, 0.1, 60.0)
    for action in (lambda: plan.chips([0, 1]), lambda: plan.validation.chip(0), lambda: teller.step(step)):
        before = ACTIVITY.finished
        action()
        assert ACTIVITY.finished == before + 1


@pytest.mark.slow
def test_a_training_that_waits_for_its_first_step_says_so(site, monkeypatch, capsys):
    monkeypatch.setattr(watchdog, "PACE", watchdog.WatchIntervals(poll=0.05, stalled=0.2))
    monkeypatch.setattr(ACTIVITY, "longest", 0.0)
    assert main(["train", *words(site, "--epochs", "1", "--steps-per-epoch", "1", "--pictures", "0")]) == 0
    said = capsys.readouterr().err
    assert "terraseam: no chip or step has finished for" in said
    assert "Ctrl-C ends it (run the same command again to continue from the last complete epoch)" in said


@pytest.mark.slow
def test_an_interrupted_command_ends_with_the_same_network(site, whole, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2, 2)
        assert main(["train", *words(site, *MORE)]) == 130
    assert "terraseam: interrupted; run the same command again to continue" in capsys.readouterr().err
    assert not (site / "bundle").exists()
    assert made(site) == (whole / "bundle" / "model.keras").read_bytes()
    told = capsys.readouterr().out
    assert "\nresuming after epoch 1 of 2\nepoch 2 of 2" in told and "\nepoch 1 of 2" not in told
    assert card_of(whole / "bundle")["training"]["best epoch"] == 2
    ours, theirs = (card_of(folder / "bundle") for folder in (site, whole))
    assert ours == theirs


@pytest.mark.slow
def test_the_same_command_makes_the_same_network_anywhere(site, whole):
    assert made(site, "--work", site / "a") == (whole / "bundle" / "model.keras").read_bytes()


@pytest.mark.slow
def test_the_first_weights_come_from_the_seed(site):
    line = words(site, "--learning-rate", "1e-12", "--steps-per-epoch", "1", "--epochs", "1", "--seed", "1")
    assert main(["train", *line]) == 0
    written = load_model(site / "bundle").get_weights()[0]
    own, other = (
        new_network(find("unet", "none"), 3, 3, {"width": 4}, seed).get_weights()[0] for seed in (1, 0)
    )
    assert np.allclose(written, own, atol=1e-6)
    assert not np.allclose(written, other, atol=1e-2)


def test_every_chip_of_a_training_has_a_number_of_its_own():
    def chips(numbers):
        raise AssertionError(f"nobody asked for {numbers}")

    data = TrainingData(chips, [], Scaling((1.0,), (0.0,)))
    batches = Batches(data, Recipe(epochs=3, steps=5, batch=4))
    numbers = [number for epoch in range(3) for step in range(5) for number in batches.numbers(epoch, step)]
    assert numbers == list(range(60))


def test_the_bundle_is_whole(whole):
    card, network = Card.read(whole / "bundle"), load_model(whole / "bundle")
    assert network.count_params() > 1000
    assert (card.task, card.architecture, card.encoder) == ("semantic", "unet", None)
    assert (card.gsd, card.bands, card.fill) == (0.5, ("red", "green", "blue"), (127.0,) * 3)
    assert card.license == "not stated" and card.training["start"] == "random weights"
    assert card.training["epochs"] == 2 and card.training["best epoch"] == 2
    assert card.training["chips seen"] == card.training["best epoch"] * 20 * 4
    assert card.training["data"]["rasters"] == ["town"] == card.training["data"]["validated on"]
    assert card.openvino.same_labels


def test_the_history_has_a_line_an_epoch_and_agrees_with_the_card(whole):
    with (whole / "bundle.training" / "history.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["1", "2"]
    card = card_of(whole / "bundle")
    best = lines[card["training"]["best epoch"] - 1]
    reached = card["metrics"]["validation"]
    for name in ("loss", "val_loss", "accuracy", "iou_roof"):
        assert float(best[name]) == pytest.approx(reached[name], abs=1e-4)
    assert float(best["figure"]) == pytest.approx(reached["mean_iou"], abs=1e-4)


def test_each_epoch_has_a_picture_of_chips_truth_and_predictions(whole):
    pictures = sorted((whole / "bundle.training" / "pictures").iterdir())
    assert [path.name for path in pictures] == ["epoch-0001.png", "epoch-0002.png"]
    with rasterio.open(pictures[0]) as one, rasterio.open(pictures[1]) as other:
        first, second = one.read(), other.read()
    chip = 32 + 2 * 16
    assert first.shape[1] >= 3 * chip and first.shape[2] >= 3 * chip
    left, right = slice(0, 2 * first.shape[2] // 3), slice(2 * first.shape[2] // 3, None)
    assert (first[:, :, left] == second[:, :, left]).all()
    assert (first[:, :, right] != second[:, :, right]).any()


REFUSED = {
    "an option that the network does not have": (("--set", "depth=4"), "takes no option 'depth'; it takes width"),
    "an impossible option": (("--set", "width=-1"), "width must be 1 or more"),
    "half a channel": (("--set", "width=2.5"), "cannot be built with these settings"),
    "a stride at which no encoder ends": ((*TINY_MOBILENET, "--set", "cut=5"), "cannot be cut at stride 5"),
    "a chip that does not fit the stride that was set": (
        (*TINY_MOBILENET, "--set", "cut=32", "--chip-size", "48"),
        "not a multiple of 32 px, the stride of unet with these --set values; use 64",
    ),
    "weights of another width": (
        (*TINY_MOBILENET, "--encoder-weights", "imagenet"),
        "ImageNet weights need encoder_width 1",
    ),
    "weights that are none": (
        ("--encoder", "mobilenet", "--encoder-weights", "SITE/town.tif"),
        "does not hold the weights of mobilenet",
    ),
    "a start that does not fit": (
        ("--set", "width=2", "--initial-bundle", "WHOLE"),
        "no layer of plain_unet matches a layer of",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("more", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_a_network_cannot_be_is_refused_in_one_sentence(site, whole, more, expected, capsys):
    more = [word.replace("SITE", str(site)).replace("WHOLE", str(whole / "bundle")) for word in more]
    assert main(["train", *said(site, *more, without=["set"])]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1 or all("the validation data has no labels of" in line for line in told[:-1])
    assert expected in told[-1] and told[-1].startswith("terraseam: ")
    assert not (site / "bundle").exists()
    assert not (site / "bundle.training" / "state.npz").exists()


@pytest.mark.slow
def test_a_loss_that_is_no_number_ends_with_advice(site, capsys):
    line = words(
        site, "--learning-rate", "1e9", "--steps-per-epoch", "8", "--epochs", "2", "--val-fraction", "0.7"
    )
    assert main(["train", *line]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("terraseam: ") and "lower --learning-rate (now 1e+09)" in told
    assert not (site / "bundle").exists()


@pytest.mark.slow
def test_an_encoder_starts_from_a_file_and_rests_while_it_is_frozen(site):
    from terraseam.models.networks.encoders import EncoderOptions, whole_encoder

    file = site / "encoder.weights.h5"
    encoder = whole_encoder("mobilenet", 3, EncoderOptions(encoder_width=0.25))
    encoder.save_weights(file)
    more = [
        *TINY_MOBILENET,
        "--encoder-weights",
        file,
        "--epochs",
        "1",
        "--freeze-epochs",
        "1",
        "--freeze-norm",
    ]
    assert main(["train", *said(site, *more, without=["set"])]) == 0
    network = load_model(site / "bundle")
    for name in ("conv1", "conv_pw_3", "conv_pw_3_bn"):
        ours, given = (model.get_layer(name).get_weights() for model in (network, encoder))
        assert all(np.array_equal(one, other) for one, other in zip(ours, given, strict=True)), name
    card = card_of(site / "bundle")
    assert card["training"]["start"] == "encoder: encoder.weights.h5"
    assert card["encoder"] == "mobilenet"


@pytest.mark.slow
def test_a_detector_is_drawn_and_measured(site):
    write_outlines(site / "town.geojson")
    assert main(["train", *said(site, *TINY_DETECTOR, "--pictures", "2", without=["set"])]) == 0
    card = card_of(site / "bundle")
    assert (card["task"], card["halo"], card["reach"]) == ("instances", 32, None)
    assert {"f1", "precision", "recall"} <= set(card["metrics"]["validation"])
    assert card["training"]["data"]["things"] == {"roof": 5, "pool": 2}
    with rasterio.open(site / "bundle.training" / "pictures" / "epoch-0002.png") as picture:
        assert picture.width >= 3 * 128 and picture.count == 3
    assert SIDE == 192
