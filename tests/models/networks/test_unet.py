"""The U-Net and its encoders."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import pytest
import tensorflow as tf

from terraseam.models.networks.encoders import ENCODERS, Encoder, encoder
from terraseam.models.networks.plain_unet import plain_unet
from terraseam.models.networks.unet import unet
from terraseam.models.reach.network import network_reach

IMAGENET = Path(os.environ.get("TERRASEAM_DATA", "/")).parent / "weights/mobilenet_imagenet_notop.weights.h5"


def noise(height: int, width: int, bands: int, count: int = 1) -> np.ndarray:
    """Images like those that a scaled raster makes."""
    return np.random.default_rng(5).uniform(-1, 1, (count, height, width, bands)).astype(np.float32)


def run(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """All outputs for some images, as in inference."""
    return [keras.ops.convert_to_numpy(y) for y in keras.tree.flatten(model(images, training=False))]


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(3)
    return unet(3, 2, decoder_width=4)


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keras.utils.set_random_seed(4)
    path = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    keras.applications.MobileNet(input_shape=(None, None, 3), include_top=False, weights=None).save_weights(
        path
    )
    return path


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 80), (112, 16)])
def test_logits_are_as_large_as_the_image(small: keras.Model, height: int, width: int) -> None:
    (logits,) = run(small, noise(height, width, 3))
    assert logits.shape == (1, height, width, 2)
    assert np.isfinite(logits).all()
    assert logits.std() > 0


@pytest.mark.parametrize(("bands", "classes", "cut", "size"), [(1, 3, 8, (8, 24)), (5, 7, 32, (96, 32))])
def test_any_bands_classes_and_cut_make_a_network(
    bands: int, classes: int, cut: int, size: tuple[int, int]
) -> None:
    model = unet(bands, classes, cut=cut, decoder_width=4)
    (logits,) = run(model, noise(*size, bands))
    assert logits.shape == (1, *size, classes)
    assert network_reach(model)[0] == cut


def test_decoder_is_as_wide_as_asked_for_and_twice_at_each_coarser_stride(small: keras.Model) -> None:
    channels = {stride: small.get_layer(f"decoder{stride}_mix").output.shape[-1] for stride in (2, 4, 8)}
    assert channels == {2: 4, 4: 8, 8: 16}


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("name", "finest", "logits"),
    [("vgg16", 1, keras.layers.Conv2D), ("resnet50", 2, keras.layers.Conv2DTranspose)],
)
def test_decoders_go_to_the_finest_features_of_their_encoder(name: str, finest: int, logits: type) -> None:
    model = unet(3, 2, encoder=name, cut=8, decoder_width=1, encoder_width=1 / 32)
    strides = [stride for stride in (1, 2, 4, 8) if f"decoder{stride}_mix" in {x.name for x in model.layers}]
    assert strides == [stride for stride in (1, 2, 4) if stride >= finest]
    assert type(model.get_layer("logits")) is logits
    assert run(model, noise(24, 40, 3))[0].shape == (1, 24, 40, 2)


@pytest.mark.parametrize("level", [1, 2, 4, 8])
def test_every_level_of_the_papers_network_joins_its_skip(level: int) -> None:
    model = plain_unet(3, 2, width=2)
    skip, up = model.get_layer(f"decoder{level}_join").input
    size = keras.Model(model.input, [skip, up])
    assert [tensor.shape for tensor in run(size, noise(32, 48, 3))] == [
        (1, 32 // level, 48 // level, 2 * level)
    ] * 2
    drops = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert drops == ["encoder8_drop", "middle_drop"]


def test_cutting_the_encoder_at_16_keeps_the_reach_below_150_pixels(small: keras.Model) -> None:
    stride, reach = network_reach(small)
    assert stride == 16
    assert reach is not None
    assert max(reach.top, reach.bottom, reach.left, reach.right) <= 150


@pytest.mark.slow
def test_one_gradient_step_changes_every_trainable_weight() -> None:
    keras.utils.set_random_seed(6)
    model = unet(3, 2, decoder_width=4)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    before = [weight.numpy() for weight in model.trainable_weights]
    labels = np.random.default_rng(7).integers(0, 2, (2, 48, 80))
    model.train_on_batch(noise(48, 80, 3, count=2), labels)
    pairs = zip(model.trainable_weights, before, strict=True)
    assert [weight.path for weight, old in pairs if np.array_equal(weight.numpy(), old)] == []


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_the_coarse_half_learns_however_large_the_features_of_an_encoder_are(name: str) -> None:
    """VGG16's are hundreds: joined as they are, each level would divide the gradient of the coarser one by that."""
    keras.utils.set_random_seed(6)
    model = unet(3, 2, encoder=name, decoder_width=4, encoder_width=0.1)
    stem = model.get_layer(ENCODERS[name].stem)
    stem.kernel.assign(1e4 * stem.kernel)
    coarse, fine = (model.get_layer(f"decoder{stride}_mix").kernel for stride in (8, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(noise(64, 64, 3, count=2), training=True) - 1))
    sizes = [float(tf.norm(gradient)) for gradient in tape.gradient(loss, [coarse.value, fine.value])]
    assert sizes[0] > 0.05 * sizes[1]


def test_a_saved_network_gives_the_same_logits_bit_for_bit(small: keras.Model, tmp_path: Path) -> None:
    small.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    images = noise(48, 80, 3)
    assert run(loaded, images)[0].tobytes() == run(small, images)[0].tobytes()


def test_every_tap_has_the_stride_that_the_table_says() -> None:
    model = encoder("mobilenet", 3, 32)
    features = run(model, noise(64, 96, 3))
    assert [y.shape[1:3] for y in features] == [(64 // s, 96 // s) for s in ENCODERS["mobilenet"].taps]


def test_scaling_is_that_of_keras_applications() -> None:
    row = ENCODERS["mobilenet"]
    raw = np.arange(256, dtype=np.float32)
    expected = keras.applications.mobilenet.preprocess_input(raw.copy())
    np.testing.assert_allclose(raw * row.scale + row.offset, expected, atol=1e-6)


@pytest.mark.parametrize("bands", [1, 5])
def test_grey_images_give_the_same_features_with_any_number_of_bands(weights_file: Path, bands: int) -> None:
    grey = noise(32, 48, 1)
    expected = run(encoder("mobilenet", 3, 8, weights_file), np.repeat(grey, 3, axis=-1))
    found = run(encoder("mobilenet", bands, 8, weights_file), np.repeat(grey, bands, axis=-1))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_every_weight_of_the_encoder_comes_from_the_file(weights_file: Path) -> None:
    whole = keras.applications.MobileNet(
        input_shape=(None, None, 3), include_top=False, weights=str(weights_file)
    )
    model = unet(3, 2, decoder_width=4, encoder_weights=weights_file)
    decoder = ("decoder", "logits")
    for layer in (layer for layer in model.layers if layer.weights and not layer.name.startswith(decoder)):
        for ours, theirs in zip(layer.get_weights(), whole.get_layer(layer.name).get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.skipif(
    not IMAGENET.is_file(), reason="TERRASEAM_DATA has no mobilenet_imagenet_notop.weights.h5 beside it"
)
def test_imagenet_weights_tell_images_apart() -> None:
    model = encoder("mobilenet", 3, 16, IMAGENET)
    features = run(model, noise(48, 80, 3))[-1]
    assert np.isfinite(features).all()
    assert (features.max(axis=(0, 1, 2)) > 0).mean() > 0.3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"encoder": "vgg99"}, "no encoder is called 'vgg99'; choose one of mobilenet, resnet50, vgg16"),
        ({"cut": 12}, "cannot be cut at stride 12; choose one of 2, 4, 8, 16, 32"),
        ({"cut": 2}, "cut at stride 4 or more, got 2"),
        ({"bands": 0}, "bands must be 1 or more, got 0"),
        ({"classes": 1}, "classes must be 2 or more, got 1"),
        ({"decoder_width": 0}, "decoder_width must be 1 or more, got 0"),
        ({"encoder_weights": "nowhere.weights.h5"}, "nowhere.weights.h5 is not a file"),
    ],
)
def test_impossible_arguments_are_refused_in_words(arguments: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        unet(**{"bands": 3, "classes": 2, **arguments})


@pytest.mark.usefixtures("no_weights")
def test_an_encoder_without_a_tap_at_every_stride_is_refused() -> None:
    with pytest.raises(ValueError, match=r"without a gap, got \(2, 8\)"):
        Encoder(keras.applications.MobileNet, "conv1", {2: "a", 8: "b"}, 1.0, 0.0)
