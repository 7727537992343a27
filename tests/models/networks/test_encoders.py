"""Encoders: the same features as keras.applications, for any number of bands, width and output stride."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from nets import with_batch_statistics
from places import ROOT
from tiers import some

from terraseam.models.networks.encoders import (
    ENCODERS,
    Encoder,
    EncoderOptions,
    cut_encoder,
    load_encoder_weights,
    whole_encoder,
)
from terraseam.models.networks.rewrite import dilated

WEIGHTS = Path(os.environ.get("TERRASEAM_DATA", "/")).parent / "weights"
REFERENCES = {
    "vgg16": (keras.applications.VGG16, keras.applications.vgg16.preprocess_input),
    "resnet50": (keras.applications.ResNet50, keras.applications.resnet50.preprocess_input),
    "mobilenet": (keras.applications.MobileNet, keras.applications.mobilenet.preprocess_input),
}
NARROW = EncoderOptions(encoder_width=1 / 16)


def raster(height: int, width: int, bands: int = 3, seed: int = 2) -> np.ndarray:
    """Raw 8-bit values."""
    return np.random.default_rng(seed).integers(0, 256, (1, height, width, bands)).astype(np.uint8)


def scaled(name: str, raw: np.ndarray) -> np.ndarray:
    scale, offset = (np.asarray(values, np.float32) for values in ENCODERS[name].scaling(raw.shape[-1]))
    return raw * scale + offset


def run(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    made = model(np.asarray(images, np.float32), training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(made)]


def close(ours: np.ndarray, theirs: np.ndarray) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max() and np.abs(theirs).max() > 0)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name == "resnet50")) for name in REFERENCES],
)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """An application that was trained on what Keras feeds it, and the file of its weights."""
    keras.utils.set_random_seed(4)
    application, preprocess = REFERENCES[request.param]
    model = with_batch_statistics(application(input_shape=(None, None, 3), include_top=False, weights=None))
    path = tmp_path_factory.mktemp("weights") / f"{request.param}.weights.h5"
    model.save_weights(path)
    return request.param, model, preprocess, path


def test_raw_red_green_blue_give_the_features_of_the_application(trained):
    name, model, preprocess, path = trained
    raw = raster(64, 32)
    (theirs,) = run(model, preprocess(raw.astype(np.float32)))
    whole = whole_encoder(name, 3, EncoderOptions(encoder_weights=path))
    assert close(run(whole, scaled(name, raw))[0], theirs)
    assert not close(run(whole, scaled(name, raw[..., ::-1]))[0], theirs)


@pytest.mark.parametrize("bands", some([5, 1], quick=1))
def test_grey_images_give_the_same_features_with_any_number_of_bands(bands, tmp_path):
    whole_encoder("vgg16", 3, NARROW).save_weights(tmp_path / "narrow.weights.h5")
    options = EncoderOptions(encoder_weights=tmp_path / "narrow.weights.h5", encoder_width=1 / 16)
    grey = np.random.default_rng(3).normal(0, 50, (1, 32, 64, 1))
    expected = run(cut_encoder("vgg16", 3, 4, options), np.repeat(grey, 3, axis=-1))
    found = run(cut_encoder("vgg16", bands, 4, options), np.repeat(grey, bands, axis=-1))
    assert all(close(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


def test_weights_of_another_encoder_are_refused(trained):
    name, _, _, path = trained
    other = "mobilenet" if name != "mobilenet" else "vgg16"
    with pytest.raises(
        ValueError, match=rf"does not hold the weights of {other} of this width, without top \("
    ):
        whole_encoder(other, 3, EncoderOptions(encoder_weights=path))


@pytest.mark.parametrize("name", ["vgg16", "mobilenet"])
def test_imagenet_weights_give_the_features_of_the_application(name):
    path = WEIGHTS / f"{name}_imagenet_notop.weights.h5"
    if not path.is_file():
        pytest.skip(f"TERRASEAM_DATA has no weights/{path.name} beside it")
    application, preprocess = REFERENCES[name]
    model = application(input_shape=(None, None, 3), include_top=False, weights=str(path))
    raw = raster(96, 64)
    (theirs,) = run(model, preprocess(raw.astype(np.float32)))
    assert close(
        run(whole_encoder(name, 3, EncoderOptions(encoder_weights=path)), scaled(name, raw))[0], theirs
    )


@pytest.mark.slow
def test_imagenet_weights_that_cannot_be_fetched_are_one_sentence(tmp_path):
    code = (
        "from terraseam.models.networks.encoders import encoder\n"
        "try:\n    encoder('vgg16', 3, 16, 'imagenet')\n"
        "except ValueError as error:\n    print('said:', error)"
    )
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    environment = {**os.environ, **nowhere, "KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("said:")]
    assert len(said) == 1
    assert said[0].startswith("said: the ImageNet weights of vgg16 cannot be downloaded (")
    assert said[0].endswith(
        "download them on a machine with internet access, and give the file as encoder weights"
    )


def test_imagenet_weights_are_of_full_width():
    with pytest.raises(ValueError, match=r"ImageNet weights need encoder_width 1, got 0.5"):
        EncoderOptions(encoder_weights="imagenet", encoder_width=0.5)


@pytest.mark.parametrize("name", ENCODERS)
def test_scaling_is_that_of_keras_applications(name):
    raw = raster(16, 16)
    expected = REFERENCES[name][1](raw.astype(np.float32))
    expected = expected[..., ::-1] if ENCODERS[name].bgr else expected
    np.testing.assert_allclose(scaled(name, raw), expected, atol=1e-4)


def test_other_than_three_bands_take_the_mean_of_the_offsets():
    scale, offset = ENCODERS["vgg16"].scaling(4)
    assert scale == (1.0,) * 4
    assert offset == pytest.approx(((-123.68 - 116.779 - 103.939) / 3,) * 4)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", ENCODERS)
def test_every_tap_has_the_stride_that_the_table_says(name):
    row = ENCODERS[name]
    whole = whole_encoder(name, 3, NARROW)
    taps = keras.Model(whole.input, [whole.get_layer(layer).output for layer in row.taps.values()])
    assert [made.shape[1:3] for made in run(taps, raster(64, 96))] == [(64 // s, 96 // s) for s in row.taps]


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize("name", ENCODERS)
def test_every_tap_is_the_last_layer_of_its_stride(name):
    whole = whole_encoder(name, 3, NARROW)
    assert last_layers(whole) == ENCODERS[name].taps


def last_layers(whole: keras.Model) -> dict[int, str]:
    """The last layer of each stride, frames and what never leaves its stride aside."""
    names = [layer.name for layer in whole.layers[1:] if "pad" not in layer.name]
    made = run(keras.Model(whole.input, [whole.get_layer(name).output for name in names]), raster(64, 64))
    return {64 // array.shape[1]: name for name, array in zip(names, made, strict=True)}


@pytest.mark.parametrize("width", some([0.25, 0.5], quick=1))
def test_a_narrow_mobilenet_is_that_of_keras(width):
    theirs = keras.applications.MobileNet(
        input_shape=(None, None, 3), alpha=width, include_top=False, weights=None
    )
    ours = whole_encoder("mobilenet", 3, EncoderOptions(encoder_width=width))
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]


DILATED = [
    ("vgg16", "block5_conv3", 8),
    ("vgg16", "block4_conv3", 4),
    ("resnet50", "conv5_block3_out", 8),
    ("resnet50", "conv5_block3_out", 16),
    ("resnet50", "conv4_block6_out", 4),
    ("mobilenet", "conv_pw_13_relu", 8),
    ("mobilenet", "conv_pw_13_relu", 2),
]


@pytest.mark.parametrize(
    ("name", "layer", "output_stride"),
    [pytest.param(*one, marks=[pytest.mark.slow] * (one[0] == "resnet50" or one[2] == 4)) for one in DILATED],
)
def test_a_dilated_encoder_has_the_old_features_on_the_coarse_lattice(name, layer, output_stride):
    keras.utils.set_random_seed(8)
    whole = with_batch_statistics(whole_encoder(name, 3, NARROW))
    coarse = keras.Model(whole.input, whole.get_layer(layer).output)
    fine = dilated(coarse, output_stride)
    images = np.random.default_rng(9).normal(size=(1, 128, 192, 3))
    (old,), (new,) = run(coarse, images), run(fine, images)
    step = new.shape[1] // old.shape[1]
    assert new.shape[1:3] == (128 // output_stride, 192 // output_stride)
    assert step > 1
    assert close(new[:, ::step, ::step], old)
    assert not close(new[:, 1::step, 1::step], old)


def test_a_dilated_encoder_of_its_own_stride_is_the_same():
    whole = with_batch_statistics(whole_encoder("mobilenet", 3, NARROW))
    images = raster(64, 64)
    assert np.array_equal(run(dilated(whole, 32), images)[0], run(whole, images)[0])


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("name", "output_stride", "words"),
    [
        (
            "vgg16",
            8,
            "'block5_pool' pools 2 x 2 elements that would lie 2 apart, and pooling cannot be dilated",
        ),
        ("resnet50", 2, "'pool1_pool' pools 3 x 3 elements .* cut the encoder before it"),
        ("mobilenet", 1, "'conv1' steps with padding 'same', which has no dilated form"),
        ("mobilenet", 12, "output_stride must be a power of two, got 12"),
    ],
)
def test_what_cannot_be_dilated_is_refused_by_name(name, output_stride, words):
    with pytest.raises(ValueError, match=words):
        dilated(whole_encoder(name, 3, NARROW), output_stride)


@pytest.mark.parametrize("strides", [(2, 8), (4, 8), (1, 4), ()])
def test_an_encoder_without_a_tap_at_every_stride_is_refused(strides):
    with pytest.raises(ValueError, match="without a gap"):
        Encoder(keras.applications.MobileNet, "conv1", dict.fromkeys(strides, "a"), 1.0, 0.0)


def test_unknown_encoders_are_answered_with_those_there_are():
    with pytest.raises(
        ValueError, match="no encoder is called 'vgg99'; choose one of mobilenet, resnet50, vgg16"
    ):
        load_encoder_weights(keras.Model(), "vgg99", EncoderOptions())
