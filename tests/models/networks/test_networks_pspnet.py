"""PSPNet: means over bins, bilinear enlargement, output stride and auxiliary head."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from nets import exported, make_bundle, tiny_network
from tiers import some

from terraseam.models.layers.bilinear import EnlargeLike2D
from terraseam.models.layers.pooling import BinMean2D
from terraseam.models.networks.pspnet import PYRAMID, pspnet, without_auxiliary
from terraseam.models.reach.graph import GraphError

layers = keras.layers


@pytest.mark.parametrize("bins", PYRAMID)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 12), (7, 13), (23, 40)])
def test_means_over_bins_are_those_of_slices(bins, size):
    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    want = np.empty((2, bins, bins, 3))
    edges = [[(i * n // bins, -(-(i + 1) * n // bins)) for i in range(bins)] for n in size]
    for row, (top, bottom) in enumerate(edges[0]):
        for column, (left, right) in enumerate(edges[1]):
            want[:, row, column] = image[:, top:bottom, left:right].mean(axis=(1, 2))
    np.testing.assert_allclose(np.asarray(BinMean2D(bins)(image)), want, atol=1e-5)


@pytest.mark.parametrize("size", [(7, 13), (24, 30)])
def test_means_over_bins_are_those_of_keras_where_sizes_are_known(size):
    image = np.random.default_rng(0).normal(size=(2, *size, 3)).astype(np.float32)
    want = np.asarray(layers.AdaptiveAveragePooling2D(6)(image))
    np.testing.assert_allclose(np.asarray(BinMean2D(6)(image)), want, atol=1e-5)


def test_no_bins_are_refused():
    with pytest.raises(ValueError, match="bins must be 1 or more, got 0"):
        BinMean2D(0)


@pytest.mark.parametrize(
    ("source", "target"), [((1, 1), (7, 5)), ((3, 3), (12, 9)), ((6, 6), (13, 22)), ((6, 2), (6, 2))]
)
def test_enlargement_is_that_of_keras(source, target):
    image = np.random.default_rng(1).normal(size=(2, *source, 3)).astype(np.float32)
    want = np.asarray(keras.ops.image.resize(image, target, interpolation="bilinear"))
    made = np.asarray(EnlargeLike2D()([image, np.zeros((2, *target, 1), np.float32)]))
    np.testing.assert_allclose(made, want, atol=1e-5)


def test_enlargement_finds_its_place_in_half_precision():
    stripes = (np.arange(100, dtype=np.float32) % 2)[None, :, None, None] * np.ones((1, 1, 3, 1), np.float32)
    like = np.zeros((1, 800, 3, 1), np.float32)
    want = np.asarray(EnlargeLike2D()([stripes, like]))
    made = np.asarray(keras.ops.cast(EnlargeLike2D(dtype="bfloat16")([stripes, like]), "float32"))
    # Weights are rounded to steps of 2**-8; a place that is off by a tenth of an element would change all by as much.
    np.testing.assert_allclose(made, want, atol=2**-7)


def test_shapes_are_known_before_anything_runs():
    features = keras.Input((None, 24, 8))
    means = BinMean2D(6)(features)
    assert means.shape == (None, 6, 6, 8)
    assert EnlargeLike2D()([means, features]).shape == (None, None, 24, 8)


ENCODERS = some(["vgg16", "mobilenet", "resnet50"], quick=2)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("output_stride", [8, 16])
def test_features_have_the_output_stride_and_all_go_into_the_pyramid(encoder, output_stride):
    model = pspnet(3, 2, encoder=encoder, output_stride=output_stride, encoder_width=1 / 16)
    joined = model.get_layer("pyramid_join")
    made = keras.Model(model.input, joined.input)(np.zeros((1, 96, 160, 3), np.float32))
    assert {tensor.shape[1:3] for tensor in made} == {(96 // output_stride, 160 // output_stride)}
    features, *levels = (tensor.shape[-1] for tensor in joined.input)
    assert levels == [features // 4] * 4


@pytest.mark.parametrize("encoder", some(["vgg16", "mobilenet", "resnet50"], 1))
def test_the_auxiliary_head_learns_beside_the_logits_and_is_dropped_after_training(encoder, tmp_path):
    model = tiny_network("pspnet", encoder, auxiliary=True)
    images = np.random.default_rng(0).normal(size=(2, 48, 72, 3)).astype(np.float32)
    logits, auxiliary = model(images)
    assert logits.shape == auxiliary.shape == (2, 48, 72, 3)
    bare = without_auxiliary(model)
    assert np.array_equal(bare(images), logits)
    assert not any(layer.name.startswith("auxiliary") for layer in bare.layers)
    assert bare.count_params() < model.count_params()
    with pytest.raises(GraphError, match="1 inputs and 2 outputs"):
        make_bundle(tmp_path / "two", model)
    make_bundle(tmp_path / "one", bare)


def test_both_heads_train_with_their_weights():
    model = tiny_network("pspnet", "mobilenet", auxiliary=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), [loss, loss], loss_weights=[1.0, 0.4], run_eagerly=True)
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    images = np.random.default_rng(0).normal(size=(2, 48, 72, 3)).astype(np.float32)
    labels = np.random.default_rng(1).integers(0, 3, (2, 48, 72))
    model.train_on_batch(images, [labels, labels])
    for path in ("auxiliary_mix/kernel", "auxiliary_score/bias", "logits_mix/kernel", "pyramid1/kernel"):
        assert not np.array_equal(before[path], next(w for w in model.trainable_weights if w.path == path))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"output_stride": 4}, "output_stride must be one of 8, 16, got 4"),
        ({"dropout": -0.1}, "dropout must be 0 or more and less than 1, got -0.1"),
        ({"encoder": "vgg99"}, "no encoder is called 'vgg99'"),
    ],
)
def test_impossible_arguments_are_refused_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        pspnet(3, 2, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tf_saved_model", "onnx", "openvino"])
def test_exported_networks_take_chips_of_any_size_and_give_the_same_logits(kind, tmp_path):
    model = tiny_network("pspnet", "mobilenet")
    call = exported(model, kind, tmp_path)
    for shape in ((1, 72, 104, 3), (2, 64, 32, 3)):
        chips = np.random.default_rng(4).normal(size=shape).astype(np.float32)
        made, want = np.asarray(call(chips)), np.asarray(model(chips, training=False))
        np.testing.assert_allclose(made, want, atol=1e-4 * np.abs(want).max())


@pytest.mark.parametrize("output_stride", some([8, 16], quick=1))
def test_logits_are_the_scores_enlarged_to_the_chip(output_stride):
    model = tiny_network("pspnet", "mobilenet", output_stride=output_stride)
    chips = np.random.default_rng(4).normal(size=(1, 64, 96, 3)).astype(np.float32)
    scores = keras.Model(model.input, model.get_layer("logits_score").output)(chips)
    want = layers.UpSampling2D(output_stride, interpolation="bilinear")(scores)
    np.testing.assert_allclose(np.asarray(model(chips)), np.asarray(want), atol=1e-5)
