"""Losses are what their papers say, pixels without a label left out."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from terraseam.models.training.losses import IGNORED, SMOOTH, make_loss

SHAPE = (2, 7, 5)
CLASSES = 3
WEIGHTS = (0.5, 2.0, 1.0)


def example(seed: int = 0, ignored: float = 0.3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, logits and border weights."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, SHAPE).astype(np.uint8)
    labels[rng.random(SHAPE) < ignored] = IGNORED
    logits = rng.normal(0, 3, (*SHAPE, CLASSES)).astype(np.float32)
    return labels, logits, rng.uniform(0, 5, SHAPE).astype(np.float32)


def told_pixels(labels, logits):
    """The labelled pixels one after another: labels, and logarithms of scores."""
    logits = logits.astype(np.float64)
    scores = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    known = labels != IGNORED
    return labels[known].astype(int), scores[known]


def plain_entropy(labels, logits, weights, border=None):
    total, divisor = 0.0, 0.0
    maps = [] if border is None else border[labels != IGNORED]
    for place, (label, scores) in enumerate(zip(*told_pixels(labels, logits), strict=True)):
        total -= scores[label] * (weights[label] + (maps[place] if len(maps) else 0.0))
        divisor += weights[label]
    return total / divisor


def plain_focal(labels, logits, weights, border=None):
    assert border is None
    total, divisor = 0.0, 0.0
    for label, scores in zip(*told_pixels(labels, logits), strict=True):
        total -= weights[label] * (1 - np.exp(scores[label])) ** 2 * scores[label]
        divisor += weights[label]
    return total / divisor


def plain_dice(labels, logits, weights, border=None):
    assert border is None
    truth, logs = told_pixels(labels, logits)
    total, divisor = 0.0, 0.0
    for number in range(CLASSES):
        one, scores = truth == number, np.exp(logs[:, number])
        if one.any():
            both = (scores * one).sum()
            total += weights[number] * (1 - (2 * both + SMOOTH) / (one.sum() + scores.sum() + SMOOTH))
            divisor += weights[number]
    return total / divisor


PLAIN = {"cross_entropy": plain_entropy, "focal": plain_focal, "dice": plain_dice}


def value(loss, labels, logits, border=None) -> float:
    return float(keras.ops.convert_to_numpy(loss(labels, logits, border)))


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("seed", range(3))
def test_losses_equal_plain_ones(name, weights, seed):
    labels, logits, _ = example(seed)
    expected = PLAIN[name](labels, logits, weights or (1.0,) * CLASSES)
    assert value(make_loss(name, weights), labels, logits) == pytest.approx(expected, rel=1e-5)


def test_border_weights_add_to_those_of_classes():
    labels, logits, border = example(4)
    found = value(make_loss("cross_entropy:border", WEIGHTS), labels, logits, border)
    assert found == pytest.approx(plain_entropy(labels, logits, WEIGHTS, border), rel=1e-5)
    assert value(make_loss("cross_entropy", WEIGHTS), labels, logits, border) == pytest.approx(
        plain_entropy(labels, logits, WEIGHTS), rel=1e-5
    )


def test_a_sum_is_the_sum_of_its_terms_times_their_factors():
    labels, logits, border = example(5)
    found = value(make_loss("0.5*focal+dice+2*cross_entropy:border"), labels, logits, border)
    ones = (1.0,) * CLASSES
    parts = 0.5 * plain_focal(labels, logits, ones) + plain_dice(labels, logits, ones)
    assert found == pytest.approx(parts + 2 * plain_entropy(labels, logits, ones, border), rel=1e-5)


def test_dice_leaves_out_classes_that_no_label_has():
    labels, logits, _ = example(6)
    labels[labels == 2] = IGNORED
    assert value(make_loss("dice"), labels, logits) == pytest.approx(
        plain_dice(labels, logits, (1.0,) * CLASSES), rel=1e-5
    )


def test_a_perfect_answer_costs_nothing():
    labels, _, _ = example(7)
    logits = 60 * np.eye(CLASSES, dtype=np.float32)[np.where(labels == IGNORED, 0, labels)]
    for name in PLAIN:
        assert value(make_loss(name), labels, logits) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("text", ["cross_entropy", "dice", "focal", "cross_entropy:border"])
@pytest.mark.parametrize("ignored", [0.4, 1.0])
def test_pixels_without_a_label_have_no_gradient(text, ignored):
    labels, logits, border = example(8, ignored)
    logits = tf.Variable(logits * 30)
    with tf.GradientTape() as tape:
        loss = make_loss(text, WEIGHTS)(labels, logits, border)
    slopes = tape.gradient(loss, logits).numpy()
    assert np.isfinite(loss.numpy()) and np.isfinite(slopes).all()
    assert not slopes[labels == IGNORED].any()
    assert slopes.any() == (ignored < 1)
    if ignored == 1.0:
        assert loss.numpy() == 0


def test_labels_and_border_weights_of_pixels_without_a_label_change_nothing():
    labels, logits, border = example(9)
    other = logits.copy()
    other[labels == IGNORED] = 50.0
    heavy = np.where(labels == IGNORED, 1e9, border).astype(np.float32)
    for text in ("dice", "focal", "cross_entropy:border"):
        loss = make_loss(text, WEIGHTS)
        assert value(loss, labels, logits, border) == value(loss, labels, other, heavy)


def test_losses_train_as_any_keras_loss():
    labels, _, border = example(10)
    chip = keras.Input((7, 5, CLASSES))
    network = keras.Model(chip, keras.layers.Dense(CLASSES)(chip))
    network.compile("adam", make_loss("cross_entropy:border+dice"), jit_compile=False)
    before = network.evaluate(np.ones((*SHAPE, CLASSES)), labels, sample_weight=border, verbose=0)
    network.fit(np.ones((*SHAPE, CLASSES)), labels, sample_weight=border, epochs=3, verbose=0)
    assert network.evaluate(np.ones((*SHAPE, CLASSES)), labels, sample_weight=border, verbose=0) < before
