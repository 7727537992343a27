"""FCN: bilinear start, scores added on the way up, the width of fc6 and fc7."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from nets import tiny_network

from terraseam.models.layers.bilinear import BilinearKernel
from terraseam.models.networks.fcn import fcn

layers = keras.layers


def enlarged(image: np.ndarray, factor: int) -> np.ndarray:
    """What a transposed convolution makes of an image ``(height, width, channels)`` at its start."""
    layer = layers.Conv2DTranspose(
        image.shape[-1],
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=BilinearKernel(),
    )
    return keras.ops.convert_to_numpy(layer(image[None].astype(np.float32)))[0]


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_transposed_convolutions_start_as_a_ramp_enlarged(factor):
    rows, columns = np.mgrid[:5, :7].astype(float)
    made = enlarged(np.stack([rows, columns, 3 * rows - 2 * columns], axis=-1), factor)
    fine_rows, fine_columns = (np.mgrid[: 5 * factor, : 7 * factor] + 0.5) / factor - 0.5
    want = np.stack([fine_rows, fine_columns, 3 * fine_rows - 2 * fine_columns], axis=-1)
    inner = (slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(made[inner], want[inner], atol=1e-4)


@pytest.mark.parametrize("factor", [2, 8])
def test_transposed_convolutions_start_as_bilinear_upsampling(factor):
    image = np.random.default_rng(0).normal(size=(6, 5, 2)).astype(np.float32)
    want = keras.ops.convert_to_numpy(layers.UpSampling2D(factor, interpolation="bilinear")(image[None]))[0]
    inner = (slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(enlarged(image, factor)[inner], want[inner], atol=1e-5)


def test_a_bilinear_kernel_mixes_no_channels():
    with pytest.raises(ValueError, match="as many channels in as out, got 2 and 3"):
        BilinearKernel()((4, 4, 3, 2))


def without(model: keras.Model, images: np.ndarray, *names: str) -> np.ndarray:
    """Logits where some layers make zeros."""
    kept = {name: model.get_layer(name).get_weights() for name in names}
    for name, weights in kept.items():
        model.get_layer(name).set_weights([np.zeros_like(values) for values in weights])
    logits = np.asarray(model(images))
    for name, weights in kept.items():
        model.get_layer(name).set_weights(weights)
    return logits


@pytest.mark.parametrize("encoder", ["vgg16", "mobilenet"])
@pytest.mark.parametrize(("stride", "scores"), [(32, {32}), (16, {32, 16}), (8, {32, 16, 8})])
def test_each_score_reaches_the_logits_and_no_finer_one_is_made(encoder, stride, scores):
    images = np.random.default_rng(1).normal(size=(1, 64, 96, 3)).astype(np.float32)
    names = {f"score{finer}" for finer in scores}
    model = tiny_network(f"fcn{stride}s", encoder)
    assert {layer.name for layer in model.layers if layer.name.startswith("score")} == names
    for name in names:
        assert not np.allclose(without(model, images, name), np.asarray(model(images)), rtol=1e-6, atol=0)
    assert (without(model, images, *names) == 0).all()


def test_vgg16_is_scored_where_the_paper_scores_it():
    model = tiny_network("fcn8s", "vgg16")
    read = {score: model.get_layer(score).input for score in ("score8", "score16")}
    assert read["score8"] is model.get_layer("block3_pool").output
    assert read["score16"] is model.get_layer("block4_pool").output
    assert model.get_layer("fc6").input is model.get_layer("block5_pool").output


@pytest.mark.parametrize(
    ("encoder", "given", "width"), [("mobilenet", None, 512), ("vgg16", 24, 24), ("vgg16", None, 4096)]
)
def test_fc6_and_fc7_are_as_wide_as_asked_for(encoder, given, width):
    model = fcn(3, 2, encoder=encoder, head_width=given, encoder_width=1 / 32)
    assert [model.get_layer(name).filters for name in ("fc6", "fc7")] == [width, width]


@pytest.mark.parametrize(("dropout", "same"), [(0.5, False), (0.0, True)])
def test_training_drops_features_and_inference_does_not(dropout, same):
    model = tiny_network("fcn32s", "mobilenet", dropout=dropout, head_width=64)
    images = np.random.default_rng(1).normal(size=(2, 64, 64, 3)).astype(np.float32)
    for training, equal in ((False, True), (True, same)):
        first, second = (np.asarray(model(images, training=training)) for _ in range(2))
        assert np.array_equal(first, second) == equal


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"stride": 4}, "the stride of an FCN must be one of 32, 16, 8, got 4"),
        ({"head_width": 0}, "head_width must be 1 or more, got 0"),
        ({"dropout": 1.0}, "dropout must be 0 or more and less than 1, got 1.0"),
        ({"encoder": "vgg99"}, "no encoder is called 'vgg99'; choose one of mobilenet, resnet50, vgg16"),
    ],
)
def test_impossible_arguments_are_refused_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        fcn(3, 2, **arguments)
