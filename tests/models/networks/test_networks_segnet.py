"""SegNet: pooling with places against TensorFlow's own, the mirrored decoders, weights from a file."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from nets import exported, tiny_network
from tiers import some

from terraseam.models.layers.pooling import IndexedMaxPooling2D, Unpooling2D
from terraseam.models.networks.encoders import EncoderOptions, whole_encoder
from terraseam.models.networks.segnet import segnet, segnet_basic

layers = keras.layers


def pooled_and_put_back(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    maxima, places = IndexedMaxPooling2D()(images)
    return np.asarray(maxima), np.asarray(Unpooling2D()([maxima, places]))


def reference(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by TensorFlow's pooling with flat indices, scattered back."""
    maxima, indices = tf.nn.max_pool_with_argmax(images, 2, 2, "VALID", include_batch_in_index=True)
    flat = tf.scatter_nd(tf.reshape(indices, (-1, 1)), tf.reshape(maxima, (-1,)), (images.size,))
    return maxima.numpy(), tf.reshape(flat, images.shape).numpy()


@pytest.mark.parametrize("seed", range(8))
def test_pooling_and_unpooling_are_bit_equal_to_tensorflows(seed):
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(1, 4)), *(2 * rng.integers(1, 20, 2)), int(rng.integers(1, 5)))
    images = rng.normal(size=shape).astype(np.float32)
    for ours, theirs in zip(pooled_and_put_back(images), reference(images), strict=True):
        assert ours.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("seed", range(8))
def test_of_equal_values_the_first_counts_as_in_tensorflow(seed):
    images = np.random.default_rng(seed).integers(-1, 2, (2, 26, 38, 3)).astype(np.float32)
    for ours, theirs in zip(pooled_and_put_back(images), reference(images), strict=True):
        assert np.array_equal(ours, theirs)


def test_places_count_through_the_window_row_by_row():
    windows = np.eye(4, dtype=np.float32).reshape(4, 2, 2, 1)
    _, places = IndexedMaxPooling2D()(windows)
    assert np.asarray(places).ravel().tolist() == [0, 1, 2, 3]


def test_pooling_again_gives_back_what_was_unpooled():
    values = np.random.default_rng(0).uniform(1, 2, (1, 6, 8, 3)).astype(np.float32)
    places = np.random.default_rng(1).integers(0, 4, values.shape).astype(np.int32)
    maxima, found = IndexedMaxPooling2D()(Unpooling2D()([values, places]))
    assert np.array_equal(maxima, values) and np.array_equal(found, places)


def test_maps_of_odd_size_are_refused():
    with pytest.raises(ValueError, match="odd pools maps of even height and width, got 7 x 8"):
        IndexedMaxPooling2D(name="odd")(keras.Input((7, 8, 1)))


def test_shapes_are_known_before_anything_runs():
    maxima, places = IndexedMaxPooling2D()(keras.Input((10, None, 3)))
    assert maxima.shape == places.shape == (None, 5, None, 3)
    assert (maxima.dtype, places.dtype) == ("float32", "int32")
    assert Unpooling2D()([maxima, places]).shape == (None, 10, None, 3)


@pytest.mark.usefixtures("no_weights")
@pytest.mark.parametrize(
    ("encoder", "pools"),
    some([("vgg16", 5), ("mobilenet", 0), (None, 4), ("resnet50", 1)], quick=3),
)
def test_decoders_unpool_once_for_each_pool_of_the_encoder(encoder, pools):
    model = tiny_network("segnet" if encoder else "segnet_basic", encoder)
    assert sum(isinstance(layer, Unpooling2D) for layer in model.layers) == pools
    assert sum(isinstance(layer, IndexedMaxPooling2D) for layer in model.layers) == pools


@pytest.mark.parametrize("level", some([1, 2, 5, 3, 4], quick=3))
def test_every_level_of_places_reaches_the_logits(level):
    model = tiny_network("segnet", "vgg16")
    images = np.random.default_rng(1).normal(size=(1, 64, 64, 3)).astype(np.float32)
    unpool, pool = model.get_layer(f"decoder{level}_unpool"), model.get_layer(f"block{level}_pool")
    assert unpool.input[1] is pool.output[1]
    made = keras.Model(model.input, unpool.output)(images)
    maxima, places = keras.Model(model.input, pool.output)(images)
    filled = np.asarray(IndexedMaxPooling2D()(np.abs(np.asarray(made)))[1])
    lively = np.asarray(IndexedMaxPooling2D()(np.abs(np.asarray(made)))[0]) > 0
    assert lively.mean() > 0.2 and maxima.shape == places.shape
    assert np.array_equal(filled[lively], np.asarray(places)[lively])


def test_vgg16_has_the_papers_layers():
    model = segnet(3, 12, encoder_width=1 / 32)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert (len(convolutions), len(norms)) == (26, 25)
    shapes = [layer.kernel.shape[2:] for layer in convolutions]
    assert shapes[1:13] == [shape[::-1] for shape in reversed(shapes[13:25])]


def test_the_convolutions_of_vgg16_take_their_weights_from_the_file(tmp_path: Path):
    options = EncoderOptions(encoder_width=1 / 16)
    trained = whole_encoder("vgg16", 3, options)
    for layer in trained.layers:
        layer.set_weights([np.random.default_rng(3).normal(size=w.shape) for w in layer.get_weights()])
    path = tmp_path / "vgg16.weights.h5"
    trained.save_weights(path)
    model = segnet(3, 2, encoder_width=1 / 16, encoder_weights=path)
    for layer in (layer for layer in trained.layers if layer.weights):
        kernel, bias = layer.get_weights()
        kernel = kernel[:, :, ::-1] if layer.name == "block1_conv1" else kernel
        found = model.get_layer(layer.name).get_weights()
        assert np.array_equal(found[0], kernel) and np.array_equal(found[1], bias)


@pytest.mark.usefixtures("no_weights")
def test_resnet50_keeps_its_pool_and_takes_places_from_before_it():
    model = tiny_network("segnet", "resnet50")
    assert model.get_layer("pool1_pool").pool_size == (3, 3)
    assert model.get_layer("pool1_places").input is model.get_layer("conv1_relu").output


def test_basic_has_no_relu_and_no_bias_in_its_decoder():
    model = segnet_basic(3, 2, width=4)
    decoder = [layer for layer in model.layers if layer.name.startswith("decoder")]
    assert not any(isinstance(layer, layers.ReLU) for layer in decoder)
    assert not any(getattr(layer, "use_bias", False) for layer in decoder)
    assert {layer.kernel_size for layer in decoder if isinstance(layer, layers.Conv2D)} == {(7, 7)}


def test_unknown_encoders_are_answered_with_those_there_are():
    with pytest.raises(
        ValueError, match="no SegNet is built on 'vgg99'; choose one of mobilenet, resnet50, vgg16"
    ):
        segnet(3, 2, encoder="vgg99")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tf_saved_model", "onnx", "openvino"])
@pytest.mark.parametrize(
    ("architecture", "encoder"), [("segnet", "vgg16"), ("segnet", "resnet50"), ("segnet_basic", None)]
)
def test_exported_networks_give_the_same_labels(architecture, encoder, kind, tmp_path: Path):
    model = tiny_network(architecture, encoder)
    call = exported(model, kind, tmp_path)
    for shape in ((1, 96, 160, 3), (2, 64, 32, 3)):
        chips = np.random.default_rng(4).normal(size=shape).astype(np.float32)
        made, want = np.asarray(call(chips)), np.asarray(model(chips, training=False))
        assert made.shape == want.shape
        assert len(np.unique(want.argmax(-1))) > 1
        assert (made.argmax(-1) == want.argmax(-1)).mean() >= 0.999
