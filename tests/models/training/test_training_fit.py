"""Training ends with the same weights however often it was interrupted, and says what stops it."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from nets import QUICK_JAX
from places import ROOT, python_path
from sklearn import metrics
from tiers import some
from training_cases import (
    CLASSES,
    HELD_OUT,
    RECIPE,
    SCALING,
    TASK,
    Note,
    chips_of,
    digest,
    last_state,
    run,
    some_data,
    tiny_network,
)

from terraseam.models.networks.pspnet import pspnet
from terraseam.models.training.batches import Batches, ChipBatch, scaled
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.fit import TrainingFolder, train
from terraseam.models.training.learner import Task, all_layers, encoder_layers, is_norm
from terraseam.models.training.optimizers import SCHEDULES, averages, make_optimizer, make_schedule
from terraseam.models.training.pixels import confusion, overlaps, validate_pixels
from terraseam.models.training.recipe import Recipe
from terraseam.models.training.state import check_same, load_best, read_state
from terraseam.models.training.watch import Watcher
from terraseam.tiles.measures.confusion import mean_of_known, pixel_figures

VARIANTS = {
    "plain": RECIPE,
    "frozen": replace(RECIPE, freeze_epochs=2),
    "averaged": replace(RECIPE, ema=0.7),
    "frozen and averaged": replace(RECIPE, freeze_epochs=1, ema=0.7, optimizer="sgd", warm_up=2),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Trainings that nobody interrupted, made as they are asked for."""
    known: dict[str, tuple] = {}

    def of(name: str):
        if name not in known:
            watcher = Note()
            folder = tmp_path_factory.mktemp("finished")
            network, trained = run(folder, VARIANTS[name], watcher, tensorboard=name == "plain")
            known[name] = (digest(network), trained, watcher, folder)
        return known[name]

    return of


STOPS = [("frozen and averaged", (2, 1))]
OTHER_STOPS = [
    (name, stop) for name in VARIANTS for stop in ((1, 2), (2, 1), (3, 3)) if (name, stop) not in STOPS
]


@pytest.mark.parametrize(("name", "stop"), some([*STOPS, *OTHER_STOPS], quick=len(STOPS)))
def test_an_interrupted_training_ends_with_the_same_weights(name, stop, finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, VARIANTS[name], Note(stop))
    again = Note()
    network, trained = run(tmp_path, VARIANTS[name], again)
    assert [began.epoch for began in again.began] == list(range(stop[0], 4))
    assert again.resumed_after == ([stop[0] - 1] if stop[0] > 1 else [])
    assert digest(network) == finished(name)[0]
    assert trained == finished(name)[1]
    assert last_state(tmp_path) == last_state(finished(name)[3])
    written, whole = ((folder / "history.csv").read_text() for folder in (tmp_path, finished(name)[3]))
    assert written == whole


@pytest.mark.slow
def test_a_training_interrupted_after_every_epoch_ends_with_the_same_weights(finished, tmp_path):
    name = "frozen and averaged"
    for epoch in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path, VARIANTS[name], Note((epoch, 1)))
    assert digest(run(tmp_path, VARIANTS[name])[0]) == finished(name)[0]
    assert last_state(tmp_path) == last_state(finished(name)[3])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_killed_training_ends_with_the_same_weights(backend, tmp_path):
    def go(folder: str, how: str) -> int:
        command = [sys.executable, "tests/models/training/training_cases.py", str(tmp_path / folder), how]
        paths = {"PYTHONPATH": python_path(), "KERAS_BACKEND": backend, **QUICK_JAX}
        environment = {**os.environ, **paths}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False, capture_output=True).returncode

    assert go("whole", "through") == 0
    assert go("again", "killed") == -signal.SIGKILL
    assert read_state(tmp_path / "again")[1].epochs_done == 1
    assert go("again", "through") == 0
    assert (tmp_path / "again/weights").read_bytes() == (tmp_path / "whole/weights").read_bytes()


@pytest.mark.slow
def test_averages_change_nothing_of_what_is_averaged(finished):
    count = len(tiny_network().weights)
    plain, averaged = (read_state(finished(name)[3])[2][:count] for name in ("plain", "averaged"))
    assert all(np.array_equal(*pair) for pair in zip(plain, averaged, strict=True))
    assert finished("plain")[0] != finished("averaged")[0]


def test_an_optimizer_that_begins_late_goes_on_from_its_weights_and_its_step():
    network = tiny_network()
    optimizer = make_optimizer(VARIANTS["averaged"], network.trainable_variables, 5)
    assert int(optimizer.iterations) == 5
    pairs = averages(optimizer, network.trainable_variables)
    assert len(pairs) == len(network.trainable_variables)
    assert all(np.array_equal(average, variable) for average, variable in pairs)


@pytest.mark.slow
def test_a_frozen_encoder_leaves_the_schedule_as_it_is(finished):
    plain, frozen = ([done.learning_rate for done in finished(name)[2].steps] for name in ("plain", "frozen"))
    assert plain == frozen and plain[0] == pytest.approx(0.01) and plain[-1] < 0.001


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_rise_and_then_follow_their_schedule(schedule):
    recipe = Recipe(epochs=5, steps=20, learning_rate=0.1, warm_up=10, schedule=schedule)
    rates = [float(make_schedule(recipe)(step)) for step in range(100)]
    share = np.arange(90) / 90
    after = {
        "constant": np.ones(90),
        "cosine": (1 + np.cos(np.pi * share)) / 2,
        "poly": (1 - share) ** 0.9,
    }[schedule]
    assert rates == pytest.approx([*(0.01 * step for step in range(1, 11)), *(0.1 * after)], abs=1e-6)


def test_norms_and_biases_are_free_of_weight_decay():
    network = tiny_network()
    before = {variable.path: variable.numpy() for variable in network.trainable_variables}
    recipe = Recipe(optimizer="sgd", weight_decay=0.1, learning_rate=0.5, schedule="constant")
    optimizer = make_optimizer(recipe, network.trainable_variables, 0)
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in network.trainable_variables])
    for variable in network.trainable_variables:
        left = 0.95 if variable.name == "kernel" else 1.0
        assert np.allclose(variable, before[variable.path] * left, atol=1e-7), variable.path


@pytest.mark.slow
def test_another_seed_gives_other_weights(finished, tmp_path):
    assert digest(run(tmp_path, replace(RECIPE, seed=4))[0]) != finished("plain")[0]


@pytest.mark.slow
def test_more_threads_change_nothing(finished, tmp_path):
    assert digest(run(tmp_path, replace(RECIPE, workers=5))[0]) == finished("plain")[0]


def test_a_finished_training_is_not_trained_again(finished):
    weights, trained, _, folder = finished("plain")
    watcher = Note()
    network, again = run(folder, watcher=watcher)
    assert not watcher.began and again == trained and digest(network) == weights


@pytest.mark.slow
def test_a_restart_begins_anew(finished, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, replace(RECIPE, learning_rate=0.5), Note((2, 1)))
    watcher = Note()
    network, _ = run(tmp_path, watcher=watcher, restart=True)
    assert [began.epoch for began in watcher.began] == [1, 2, 3] and not watcher.resumed_after
    assert digest(network) == finished("plain")[0]


def test_the_best_weights_are_kept_and_no_others(finished):
    weights, trained, watcher, folder = finished("plain")
    figures = [done.figure for done in watcher.done]
    assert trained.figure == max(figures) and trained.best_epoch == 1 + int(np.argmax(figures))
    assert [done.better for done in watcher.done] == [
        one > max(figures[:place], default=-1) for place, one in enumerate(figures)
    ]
    assert [path.name for path in folder.glob("best-*")] == [f"best-{trained.best_epoch:05d}.npz"]
    network = tiny_network(7)
    assert load_best(folder, network) == trained.best_epoch
    assert digest(network) == weights


@pytest.mark.parametrize("name", ["plain", "frozen and averaged"])
def test_the_figure_is_that_of_the_weights_that_are_kept(name, finished):
    _, trained, watcher, folder = finished(name)
    network = tiny_network(7)
    load_best(folder, network)
    held_out = chips_of(range(HELD_OUT, HELD_OUT + 8))
    found = network.predict(scaled(held_out.pixels, SCALING), verbose=0).argmax(axis=-1)
    each = overlaps(confusion(held_out.labels, found, 2))
    assert trained.figure == pytest.approx(each.mean(), abs=2e-4)
    assert trained.measures["iou_field"] == pytest.approx(each[1], abs=2e-4)
    epoch, drawn = watcher.drawn[trained.best_epoch - 1]
    assert epoch == trained.best_epoch and drawn.dtype == np.uint8
    assert (drawn == found[:1]).mean() > 0.999


def test_a_network_learns(tmp_path):
    _, trained = run(tmp_path, replace(RECIPE, epochs=4, steps=30, schedule="constant"))
    assert trained.figure > 0.9


def test_the_watcher_is_told_of_every_step(finished):
    _, _, watcher, _ = finished("frozen and averaged")
    assert [(done.epoch, done.step) for done in watcher.steps] == [
        (epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3)
    ]
    assert [began.frozen for began in watcher.began] == [True, False, False]
    assert watcher.steps[-1].seconds_left >= 0
    assert watcher.steps[4].seconds_left > watcher.steps[-1].seconds_left
    assert watcher.done[0].seconds_left > 0 == watcher.done[-1].seconds_left
    assert [done.learning_rate for done in watcher.steps[:3]] == pytest.approx([0.005, 0.01, 0.01], rel=1e-5)
    assert watcher.done[0].loss == watcher.steps[2].loss


def test_the_history_is_a_table_with_a_line_for_each_epoch(finished):
    _, _, watcher, folder = finished("plain")
    with (folder / "history.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [int(line["epoch"]) for line in lines] == [1, 2, 3]
    assert [float(line["figure"]) for line in lines] == [done.figure for done in watcher.done]
    assert {"loss", "rate", "val_loss", "accuracy", "iou_ground", "iou_field"} < set(lines[0])


@pytest.mark.slow
def test_tensorboard_shows_each_epoch_once_after_an_interruption(finished, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util import tensor_util

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, RECIPE, Note((3, 1)), tensorboard=True)
    run(tmp_path, RECIPE, tensorboard=True)
    shown = EventAccumulator(str(tmp_path / "tensorboard/train"), {TENSORS: 0})
    shown.Reload()
    told = [
        (event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in shown.Tensors("epoch_figure")
    ]
    expected = [(done.epoch, done.figure) for done in finished("plain")[2].done]
    assert told == [(epoch, pytest.approx(figure)) for epoch, figure in expected]


def test_a_frozen_encoder_stays_as_it_came_and_then_learns(tmp_path):
    before = tiny_network()
    kept = [weights for layer in encoder_layers(before, TASK) for weights in layer.get_weights()]
    heads = before.get_layer("logits").get_weights()

    def learned(recipe: Recipe, folder: str) -> tuple[bool, bool]:
        network, _ = run(tmp_path / folder, recipe)
        now = [weights for layer in encoder_layers(network, TASK) for weights in layer.get_weights()]
        same = [np.array_equal(*pair) for pair in zip(kept, now, strict=True)]
        return not all(same), not np.array_equal(network.get_layer("logits").get_weights()[0], heads[0])

    assert learned(replace(RECIPE, freeze_epochs=3, epochs=1), "frozen") == (False, True)
    assert learned(replace(RECIPE, epochs=1), "free") == (True, True)


def test_frozen_norms_keep_their_statistics_and_kernels_learn(tmp_path):
    before = {layer.name: layer.get_weights() for layer in encoder_layers(tiny_network(), TASK)}
    network, _ = run(tmp_path, replace(RECIPE, epochs=1, freeze_norm=True))
    for layer in encoder_layers(network, TASK):
        same = all(
            np.array_equal(*pair) for pair in zip(before[layer.name], layer.get_weights(), strict=True)
        )
        assert same == is_norm(layer), layer.name


@pytest.mark.slow
def test_norms_learn_with_the_recipes_momentum_and_are_left_as_they_came(tmp_path):
    network = tiny_network()
    momenta = [layer.momentum for layer in all_layers(network) if is_norm(layer)]
    config = network.to_json()
    statistics = []
    for number, momentum in enumerate((None, 0.5)):
        network, _ = run(tmp_path / str(number), replace(RECIPE, epochs=1, steps=1, norm_momentum=momentum))
        assert [layer.momentum for layer in all_layers(network) if is_norm(layer)] == momenta
        assert all(layer.trainable for layer in all_layers(network))
        assert _without_names(network.to_json()) == _without_names(config)
        norm = next(layer for layer in all_layers(network) if is_norm(layer))
        statistics.append(keras.ops.convert_to_numpy(norm.moving_mean))
    assert np.allclose(statistics[1] / statistics[0], 0.5 / 0.01, rtol=1e-3)


def _without_names(text: str) -> str:
    """The config of a network without the numbers that Keras gives to layers of one kind."""
    return re.sub(r"_\d+\"", '"', text)


def test_early_stopping_waits_for_its_patience(tmp_path):
    def still() -> keras.Model:
        network = tiny_network()
        for layer in all_layers(network):
            layer.trainable = layer.name == "logits"
        return network

    recipe = replace(RECIPE, epochs=9, patience=2, learning_rate=1e-9, schedule="constant", steps=1)
    watcher, again = Note(), Note()
    trained = train(still(), TASK, recipe, some_data(), TrainingFolder(tmp_path), watcher)
    assert (trained.best_epoch, trained.epochs) == (1, 3)
    assert (
        train(still(), TASK, recipe, some_data(), TrainingFolder(tmp_path), again) == trained
        and not again.began
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"learning_rate": 0.02}, "rate was 0.01, now 0.02"),
        ({"seed": 4, "batch": 2}, "batch was 4, now 2; seed was 3, now 4"),
        ({"epochs": 5}, "planned for 3 epochs, not 5, and its cosine schedule depends on their number"),
        ({"epochs": 2}, "epochs was 3, now 2"),
    ],
)
def test_a_training_is_not_gone_on_with_by_another_recipe(change, words, finished):
    with pytest.raises(TrainingError) as told:
        run(finished("plain")[3], replace(RECIPE, **change))
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rasters": ["circles"]}, '(data.rasters was ["squares"], now ["circles"])'),
        ({"bands": [1, 2]}, "(data.bands was null, now [1, 2])"),
        (
            {"values": {"low": [0]}, "labels": "c" * 80},
            '(data.values was null, now {"low": [0]}; data.labels differs)',
        ),
    ],
)
def test_a_training_is_not_gone_on_with_by_other_data(change, words, finished):
    data = some_data()
    other = replace(data, description={**data.description, **change})
    with pytest.raises(TrainingError) as told:
        train(tiny_network(), TASK, RECIPE, other, TrainingFolder(finished("plain")[3]), Watcher())
    assert words in str(told.value)


def test_of_values_within_values_those_that_differ_are_told(tmp_path):
    before = {"data": {"values": {"low": [0], "high": [255]}, "bands": [1, 2]}, "rate": 1}
    now = {"data": {"values": {"low": [0], "high": [99]}, "bands": [2, 1]}, "rate": 2}
    words = "data.values.high was [255], now [99]; data.bands was [1, 2], now [2, 1]; rate was 1, now 2"
    with pytest.raises(TrainingError, match=re.escape(f"({words})")):
        check_same(before, now, tmp_path)
    check_same(before, before, tmp_path)


@pytest.mark.slow
def test_more_epochs_follow_a_constant_schedule(tmp_path):
    constant = replace(RECIPE, schedule="constant", steps=2)
    whole, _ = run(tmp_path / "whole", constant)
    run(tmp_path / "parts", replace(constant, epochs=2))
    more, trained = run(tmp_path / "parts", constant)
    assert trained.epochs == 3 and digest(more) == digest(whole)


@pytest.mark.parametrize("text", [b"", b"PK\x03\x04 not a state", json.dumps({}).encode()])
def test_a_broken_state_is_told(text, tmp_path):
    (tmp_path / "state.npz").write_bytes(text)
    with pytest.raises(TrainingError, match=r"state.npz is not the state of a training .*restart"):
        run(tmp_path)


def test_a_state_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    def full(file, **_):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, RECIPE, Note((2, 1)))
    before = (tmp_path / "state.npz").read_bytes()
    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space left"):
        patched.setattr("numpy.savez", full)
        run(tmp_path)
    assert (tmp_path / "state.npz").read_bytes() == before
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_loss_that_is_no_number_stops_at_once_and_keeps_the_best_weights(tmp_path):
    def broken(numbers):
        batch = chips_of(numbers)
        if numbers[0] >= 16:  # step 2 of epoch 2
            batch.pixels[0] = np.nan
        return batch

    network = tiny_network()
    data = some_data(chips=broken, augmentation=replace(some_data().augmentation, share=0.0))
    watcher = Note()
    with pytest.raises(TrainingError) as told:
        train(network, TASK, RECIPE, data, TrainingFolder(tmp_path), watcher)
    assert "the loss became nan in step 2 of epoch 2; lower --learning-rate (now 0.01)" in str(told.value)
    assert len(watcher.steps) == 4
    best = tiny_network(9)
    assert load_best(tmp_path, best) == 1
    assert all(np.isfinite(weights).all() for weights in best.get_weights())
    assert all(layer.trainable for layer in all_layers(network))


@pytest.mark.parametrize("kind", ["plain", "tensorflow", "jax"])
def test_memory_that_runs_out_is_told_with_advice(kind, tmp_path):
    import tensorflow as tf

    errors = {
        "plain": MemoryError(),
        "tensorflow": tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"),
        "jax": RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 1 bytes"),
    }

    def greedy(_):
        raise errors[kind]

    with pytest.raises(
        TrainingError, match=r"out of memory in epoch 1 with batches of 4 chips; use smaller batches"
    ):
        train(tiny_network(), TASK, RECIPE, some_data(chips=greedy), TrainingFolder(tmp_path), Watcher())


def test_an_error_of_the_chips_is_told_as_it_is(tmp_path):
    def lost(_):
        raise FileNotFoundError("scene.tif has gone")

    with pytest.raises(FileNotFoundError, match=r"scene.tif has gone"):
        train(tiny_network(), TASK, RECIPE, some_data(chips=lost), TrainingFolder(tmp_path), Watcher())


def test_chips_that_are_wholly_without_labels_change_only_statistics(tmp_path):
    def blank(numbers):
        batch = chips_of(numbers)
        return ChipBatch(batch.pixels, np.full_like(batch.labels, 255), batch.weights)

    network, before = tiny_network(), tiny_network()
    train(
        network, TASK, replace(RECIPE, epochs=1), some_data(chips=blank), TrainingFolder(tmp_path), Watcher()
    )
    for now, then in zip(network.trainable_variables, before.trainable_variables, strict=True):
        assert np.array_equal(now, then)


def test_validation_without_a_label_is_told(tmp_path):
    batch = chips_of(range(4))
    data = some_data(validation=[(batch.pixels, np.full_like(batch.labels, 255))])
    with pytest.raises(TrainingError, match="no pixel of the validation chips has a label"):
        train(tiny_network(), TASK, RECIPE, data, TrainingFolder(tmp_path), Watcher())


def test_labels_beyond_the_classes_are_told():
    with pytest.raises(TrainingError, match="labels hold 4, but there are 2 classes"):
        confusion(np.array([[4, 255]], np.uint8), np.zeros((1, 2)), 2)


def test_measures_are_those_of_all_chips_together():
    labels = [np.array([[[0, 0, 1, 255]]], np.uint8), np.array([[[1, 1, 255, 255]]], np.uint8)]
    predictions = [np.array([[[0, 1, 1, 2]]]), np.array([[[1, 0, 0, 0]]])]
    by_pixels = dict(zip((0, 1), predictions, strict=True))

    def predictor(pixels):
        return np.eye(3, dtype=np.float32)[by_pixels[int(pixels)]]

    from terraseam.models.training.losses import make_loss

    measured = validate_pixels(
        predictor, [(np.array(0), labels[0]), (np.array(1), labels[1])], ("a", "b", "c"), make_loss("dice")
    )
    assert measured.figure == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert measured.measures["iou_a"] == pytest.approx(1 / 3)
    assert measured.measures["iou_b"] == pytest.approx(2 / 4)
    assert np.isnan(measured.measures["iou_c"])
    assert measured.measures["accuracy"] == pytest.approx(3 / 5)


def test_the_mean_is_that_of_evaluate_and_scikit_learn_also_of_a_class_that_is_answered_and_never_true():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 2, 500), rng.choice([0, 1, 2], 500)
    counts = confusion(labels, predicted, 4)
    each = overlaps(counts)
    assert each[2] == 0 and np.isnan(each[3])
    wanted = metrics.jaccard_score(labels, predicted, average="macro")
    assert np.nanmean(each) == pytest.approx(wanted)
    assert mean_of_known(pixel_figures(counts).iou) == pytest.approx(wanted)


@pytest.mark.slow
def test_a_pspnet_trains_its_auxiliary_head_too(tmp_path):
    keras.utils.set_random_seed(1)
    network = pspnet(3, 2, encoder="vgg16", encoder_width=1 / 16, output_stride=16, auxiliary=True)
    before = network.get_layer("auxiliary_score").get_weights()[0]
    recipe = Recipe(epochs=1, steps=2, batch=2, freeze_epochs=0)
    data = some_data()
    trained = train(network, Task(CLASSES, "vgg16"), recipe, data, TrainingFolder(tmp_path), Watcher())
    assert not np.array_equal(network.get_layer("auxiliary_score").get_weights()[0], before)
    assert np.isfinite(trained.measures["val_loss"])


def test_batches_are_a_function_of_epoch_and_step():
    batches = Batches(some_data(), replace(RECIPE, workers=3))
    run_through = list(batches.epoch(1))
    assert len(run_through) == RECIPE.steps
    for step, batch in enumerate(run_through):
        alone = batches.batch(1, step)
        assert np.array_equal(batch.chips, alone.chips) and np.array_equal(batch.labels, alone.labels)
    numbers = [number for epoch in (0, 1) for step in range(3) for number in batches.numbers(epoch, step)]
    assert numbers == list(range(24))


def test_batches_are_scaled_as_the_card_says():
    data = some_data(augmentation=replace(some_data().augmentation, share=0.0))
    batch = Batches(data, RECIPE).batch(0, 0)
    assert np.allclose(batch.chips, chips_of(range(4)).pixels / 127.5 - 1, atol=1e-6)


def test_chips_of_another_shape_are_told():
    data = some_data(chips=lambda numbers: chips_of(numbers[:-1]))
    with pytest.raises(TrainingError, match="expected 4 chips of 3 bands"):
        Batches(data, RECIPE).batch(0, 0)


def test_a_network_without_the_encoder_cannot_freeze_it(tmp_path):
    network = tiny_network()
    with pytest.raises(TrainingError, match=r"has no encoder 'of the zoo'.*set freeze_epochs to 0"):
        train(
            network,
            Task(CLASSES),
            replace(RECIPE, freeze_epochs=1),
            some_data(),
            TrainingFolder(tmp_path),
            Watcher(),
        )
