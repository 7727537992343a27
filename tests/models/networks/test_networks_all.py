"""What every semantic network of the zoo must hold, on narrow ones."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from nets import ON_OTHER_BACKENDS, SEMANTIC, make_bundle, tiny_network

from terraseam.models import zoo
from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.card import Card


def some(networks: list[tuple[str, str | None]]) -> pytest.MarkDecorator:
    """Networks as parameters; those that are put together as others are, of the same parts, are for slow tests."""
    parameters = [
        pytest.param(*names, id=f"{names[0]}-{names[1]}", marks=[pytest.mark.slow] * (names in ALIKE))
        for names in networks
    ]
    return pytest.mark.parametrize(("architecture", "encoder"), parameters)


ALIKE = [
    *((architecture, encoder) for architecture in ("fcn32s", "fcn16s") for encoder in ("vgg16", "resnet50")),
    *((architecture, "resnet50") for architecture in ("fcn8s", "segnet", "unet", "pspnet")),
    *((architecture, "mobilenet") for architecture in ("fcn32s", "fcn16s", "fcn8s")),
    ("pspnet", "vgg16"),
]
every_network = some(SEMANTIC)
every_builder = some(
    [
        ("fcn8s", "vgg16"),
        ("segnet", "vgg16"),
        ("segnet_basic", None),
        ("unet", None),
        ("unet", "vgg16"),
        ("pspnet", "mobilenet"),
    ]
)
network = cache(tiny_network)


@pytest.fixture(scope="module", autouse=True)
def _forget_networks():
    yield
    network.cache_clear()


def noise(height: int, width: int, bands: int = 3, count: int = 1, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, height, width, bands)).astype(np.float32)


def run(model: keras.Model, images: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=False))


@every_network
def test_logits_have_the_size_of_the_chip_on_odd_multiples_of_the_stride(architecture, encoder):
    stride = zoo.find(architecture, encoder).stride
    model = network(architecture, encoder)
    for rows, columns in ((1, 3), (3, 5)):
        logits = run(model, noise(rows * stride, columns * stride))
        assert logits.shape == (1, rows * stride, columns * stride, 3)
        assert np.isfinite(logits).all() and logits.std(axis=(0, 1, 2)).min() > 0


@every_network
def test_a_bundle_gives_the_same_logits_bit_for_bit(architecture, encoder, tmp_path: Path):
    model = network(architecture, encoder)
    bundle = make_bundle(tmp_path / "tiny", model, architecture=architecture, encoder=encoder)
    images = noise(64, 96)
    assert np.array_equal(run(load_model(bundle), images), run(model, images))
    row, card = zoo.find(architecture, encoder), Card.read(bundle)
    assert (card.stride, card.reach) == (row.stride, row.reach)


def biases_before_normalization(model: keras.Model) -> set[str]:
    """Biases that normalization takes out again: their gradients are zero but for rounding."""
    readers: dict[int, list] = {}
    for layer in model.layers:
        for tensor in keras.tree.flatten(layer.input):
            readers.setdefault(id(tensor), []).append(layer)
    return {
        layer.bias.path
        for layer in model.layers
        if getattr(layer, "bias", None) is not None
        and any(isinstance(r, keras.layers.BatchNormalization) for r in readers.get(id(layer.output), ()))
    }


@every_network
def test_one_gradient_step_changes_every_trainable_weight(architecture, encoder):
    source = network(architecture, encoder)
    model = keras.models.clone_model(source)
    model.set_weights(source.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=True)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    labels = np.random.default_rng(7).integers(0, 3, (3, 96, 160))
    model.train_on_batch(noise(96, 160, count=3), labels)
    pairs = zip(model.trainable_weights, before, strict=True)
    same = {weight.path for weight, old in pairs if np.array_equal(keras.ops.convert_to_numpy(weight), old)}
    assert same <= biases_before_normalization(model)


@every_builder
def test_any_number_of_bands_and_classes_makes_a_network(architecture, encoder):
    model = tiny_network(architecture, encoder, bands=5, classes=2)
    assert run(model, noise(64, 32, bands=5)).shape == (1, 64, 32, 2)


@every_builder
def test_weight_decay_counts_every_kernel_once(architecture, encoder):
    model = tiny_network(architecture, encoder, weight_decay=0.5)
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    assert len(model.losses) == len(kernels) > 5
    want = sum(0.5 * np.square(keras.ops.convert_to_numpy(kernel)).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(want, rel=1e-4)


@every_builder
def test_impossible_arguments_are_refused_in_words(architecture, encoder):
    def refused(words: str, bands: int = 3, classes: int = 3, **options: object) -> None:
        with pytest.raises(ValueError, match=words):
            zoo.build(architecture, encoder, bands, classes, **options)

    refused("bands must be 1 or more, got 0", bands=0)
    refused("classes must be 2 or more, got 1", classes=1)
    refused("takes no option 'colour'; it takes .*weight_decay", colour="red")
    if encoder:
        refused("encoder_width must be more than 0, got 0", encoder_width=0)
        refused("nowhere.h5 is not a file; encoder weights are", encoder_weights="nowhere.h5")
    else:
        refused("width must be 1 or more, got 0", width=0)
        refused("weight_decay must be 0 or more, got -1", width=1, weight_decay=-1)


def planted_scene(side: int) -> tuple[np.ndarray, np.ndarray]:
    """One scene of three classes: a disc on two fields; each class has a colour of its own, under noise."""
    rows, columns = np.mgrid[:side, :side]
    labels = (columns + rows // 3 > 0.6 * side).astype(int)
    labels[(rows - 0.55 * side) ** 2 + (columns - 0.45 * side) ** 2 < (0.27 * side) ** 2] = 2
    colours = np.array([[0.9, 0.1, -0.6], [-0.5, 0.8, 0.2], [-0.2, -0.9, 0.7]], np.float32)
    image = colours[labels] + np.random.default_rng(0).normal(0, 0.2, (side, side, 3))
    return image[None].astype(np.float32), labels[None]


def kinds(architecture: str, encoder: str | None) -> set[tuple[str, ...]]:
    """The layers of a network that backends may differ in: their class and how they are set, but not how wide they are."""
    settings = (
        "padding",
        "strides",
        "dilation_rate",
        "pool_size",
        "size",
        "interpolation",
        "use_bias",
        "activation",
    )
    return {
        (type(layer).__name__, *(f"{name}={layer.get_config().get(name)}" for name in settings))
        for layer in network(architecture, encoder).layers
    }


@pytest.mark.slow
def test_networks_that_are_run_on_other_backends_have_every_kind_of_layer():
    tried = set.union(*(kinds(*names) for names in ON_OTHER_BACKENDS))
    for names in SEMANTIC:
        assert kinds(*names) <= tried, (names, kinds(*names) - tried)


BY_HEART = [
    ("fcn32s", "vgg16"),
    ("fcn16s", "vgg16"),
    ("fcn8s", "vgg16"),
    ("segnet", "vgg16"),
    ("segnet", "resnet50"),
    ("segnet_basic", None),
    ("unet", None),
    ("unet", "mobilenet"),
    ("pspnet", "vgg16"),
]
"""Every architecture and every encoder; what else is put together of them differs in nothing that learns."""


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [pytest.param(*names, marks=[] if names == ("unet", None) else [pytest.mark.slow]) for names in BY_HEART],
)
def test_one_small_scene_is_learned_by_heart(architecture, encoder):
    images, labels = (np.repeat(array, 2, axis=0) for array in planted_scene(64))
    options = {"encoder_width": 1 / 8} if encoder else {"width": 8}
    options |= {"head_width": 32, "dropout": 0.0} if architecture.startswith("fcn") else {}
    model = tiny_network(architecture, encoder, **options)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # inference follows so short a training
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    agreement = 0.0
    for step in range(300):
        model.train_on_batch(images, labels)
        if step % 10 == 9:
            agreement = (run(model, images).argmax(-1) == labels).mean()
        if agreement > 0.95:
            return
    pytest.fail(f"{agreement:.3f} of the labels after 300 steps")
