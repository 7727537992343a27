"""Whatever kind of answer a network gives, the engine makes the same logits of it."""

from __future__ import annotations

import numpy as np
import pytest
from nets import card_fields

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.engines.outputs import logits_of, logits_of_scores, scores_of
from terraseam.models.engines.profile import EngineError

HEIGHT, WIDTH = 5, 7


def card(classes=3, output_type="logits", layout="channels_last"):
    computed = {
        "format": 2,
        "encoder": None,
        "task": "semantic",
        "network": NetworkFile("model.onnx", layout, output_type),
        "stride": 1,
        "reach": None,
        "reach_source": "declared",
        "halo": None,
        "memory_per_pixel": 1,
        "weights_sha256": "0" * 64,
        "training": {},
        "metrics": {},
    }
    return Card(**computed, **card_fields(classes, 3))


def logits(classes=3, seed=0, spread=4.0):
    made = np.random.default_rng(seed).normal(0, spread, (2, HEIGHT, WIDTH, classes))
    return made.astype(np.float32)


def softmax(values):
    powers = np.exp(values.astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


def test_logits_stay_what_they_are():
    raw = logits()
    assert np.array_equal(logits_of(raw, card(), HEIGHT, WIDTH), raw)
    halves = logits_of(raw.astype(np.float16), card(), HEIGHT, WIDTH)
    assert halves.dtype == np.float32 and np.array_equal(halves, raw.astype(np.float16))


@pytest.mark.parametrize("output_type", ["logits", "scores", "labels"])
def test_channels_first_is_the_same_answer(output_type):
    raw = {"logits": logits(), "scores": scores_of(logits()), "labels": logits().argmax(-1)[..., None]}[
        output_type
    ]
    want = logits_of(raw, card(output_type=output_type), HEIGHT, WIDTH)
    turned = np.moveaxis(raw, -1, 1)
    got = logits_of(turned, card(output_type=output_type, layout="channels_first"), HEIGHT, WIDTH)
    assert np.array_equal(got, want) and got.flags.c_contiguous


def test_the_softmax_of_logits_of_scores_are_the_scores():
    scores = softmax(logits()).astype(np.float32)
    made = logits_of(scores, card(output_type="scores"), HEIGHT, WIDTH)
    np.testing.assert_allclose(scores_of(made), scores, atol=1e-6)
    assert (made.argmax(-1) == scores.argmax(-1)).all()


def test_scores_of_nothing_and_of_everything_stay_finite():
    scores = np.zeros((1, HEIGHT, WIDTH, 3), np.float32)
    scores[..., 1] = 1
    made = logits_of(scores, card(output_type="scores"), HEIGHT, WIDTH)
    assert np.isfinite(made).all()
    np.testing.assert_allclose(scores_of(made), scores, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, HEIGHT, WIDTH), (2, HEIGHT, WIDTH, 1)])
@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_labels_get_nearly_all_of_the_score(shape, dtype):
    labels = logits().argmax(-1)
    made = logits_of(labels.astype(dtype).reshape(shape), card(output_type="labels"), HEIGHT, WIDTH)
    assert made.dtype == np.float32 and (made.argmax(-1) == labels).all()
    best = scores_of(made).max(-1)
    assert (best > 0.9999).all() and (best < 1).all()


@pytest.mark.parametrize("axis", [True, False])
def test_one_channel_speaks_of_the_second_of_two_classes(axis):
    two = logits(2)
    difference = two[..., 1:] - two[..., :1]
    score = softmax(two)[..., 1:].astype(np.float32)
    for output_type, raw in (("binary_logits", difference), ("binary_scores", score)):
        made = logits_of(raw if axis else raw[..., 0], card(2, output_type), HEIGHT, WIDTH)
        assert made.shape == two.shape
        np.testing.assert_allclose(scores_of(made), softmax(two), atol=1e-5)


def test_certain_binary_scores_stay_finite():
    made = logits_of(np.ones((1, HEIGHT, WIDTH, 1), np.float32), card(2, "binary_scores"), HEIGHT, WIDTH)
    assert np.isfinite(made).all() and (made.argmax(-1) == 1).all()


@pytest.mark.parametrize(
    ("made", "kind", "words"),
    [
        (np.zeros((1, 5, 7, 4)), {}, "outputs 4 channels, but its card has 3 classes and the answer logits"),
        (
            np.zeros((1, 5, 7, 3)),
            {"classes": 2, "output_type": "binary_logits"},
            "outputs 3 channels, but its card has 2 classes",
        ),
        (np.zeros((1, 5, 7, 3)), {"output_type": "labels"}, "outputs 3 channels.*labels, which takes 1"),
        (np.zeros((1, 3, 5, 7)), {}, "outputs maps of 3 x 5 px for chips of 5 x 7 px"),
        (np.zeros((1, 5, 7, 3)), {"layout": "channels_first"}, "outputs maps of 7 x 3 px for chips of 5 x 7 px"),
        (np.zeros((1, 5, 7)), {}, r"outputs an array of shape \(1, 5, 7\)"),
        (np.full((1, 5, 7), 3), {"output_type": "labels"}, "returned the label 3, but its card has 3 classes, 0 to 2"),
        (np.full((1, 5, 7), -1), {"output_type": "labels"}, "returned the label -1"),
        (
            np.full((1, 5, 7, 3), 2.5),
            {"output_type": "scores"},
            "returned values from 2.5 to 2.5, but its card says that these are scores",
        ),
        (np.full((1, 5, 7), -3.0), {"classes": 2, "output_type": "binary_scores"}, "does it return logits?"),
    ],
)  # fmt: skip
def test_answers_that_are_not_the_cards_are_said_with_both_numbers(made, kind, words):
    with pytest.raises(EngineError, match=words):
        logits_of(made, card(**kind), HEIGHT, WIDTH)


def test_scores_are_the_softmax_also_of_large_logits():
    raw = logits(spread=300.0)
    assert np.isfinite(scores_of(raw)).all()
    np.testing.assert_allclose(scores_of(logits()), softmax(logits()), atol=1e-6)
    np.testing.assert_allclose(scores_of(raw).sum(-1), 1, atol=1e-6)
    assert scores_of(raw).dtype == logits_of_scores(scores_of(raw)).dtype == np.float32
