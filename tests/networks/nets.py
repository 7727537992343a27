"""Small real networks and bundles for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from terraseam.models import zoo
from terraseam.models.bundle.archive import save_bundle
from terraseam.models.bundle.values import ClassInfo, Scaling
from terraseam.models.engines.openvino import shared_core

COLOURS = ("#c8b45a", "#1e5ac8", "#00ffff", "#ff0000")


def card_fields(classes: int, bands: int, **changes: object) -> dict[str, object]:
    """Return the card fields that are not derived from the network."""
    names = ("land", "water", "lake", "ice")[:classes]
    fields: dict[str, object] = {
        "name": "tiny",
        "version": "1.0.0",
        "architecture": "test",
        "classes": tuple(ClassInfo(n, c, n == "land") for n, c in zip(names, COLOURS, strict=False)),
        "bands": ("red", "green", "blue", "nir")[:bands],
        "gsd": "any",
        "scaling": Scaling((1 / 127.5,) * bands, (-1.0,) * bands),
        "fill": (127.0,) * bands,
        "license": "Apache-2.0",
    }
    return {**fields, **changes}


def brightest_band(bands: int = 3) -> keras.Model:
    """Build a network that labels each pixel by its brightest band; it sees a single pixel."""
    chip = keras.Input((None, None, bands))
    logits = layers.Conv2D(bands, 1, use_bias=False, name="logits")(chip)
    model = keras.Model(chip, logits, name="brightest")
    model.get_layer("logits").set_weights([np.eye(bands, dtype="f4")[None, None] * 4])
    return model


def small_unet(classes: int = 3, bands: int = 3, width: int = 4, seed: int = 0) -> keras.Model:
    """Build a U-Net of stride 4 with random weights and a receptive field of some tens of pixels."""
    keras.utils.set_random_seed(seed)
    chip = keras.Input((None, None, bands))
    fine = layers.Conv2D(width, 3, padding="same", activation="relu")(chip)
    half = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(fine)
    quarter = layers.Conv2D(2 * width, 3, strides=2, padding="same", activation="relu")(half)
    quarter = layers.DepthwiseConv2D(3, padding="same", activation="relu")(quarter)
    up = layers.UpSampling2D(2, interpolation="bilinear")(quarter)
    up = layers.Conv2D(width, 3, padding="same", activation="relu")(layers.Concatenate()([up, half]))
    up = layers.Conv2DTranspose(width, 4, strides=2, padding="same", activation="relu")(up)
    logits = layers.Conv2D(classes, 3, padding="same", name="logits")(layers.Concatenate()([up, fine]))
    return keras.Model(chip, logits, name="small_unet")


def make_bundle(folder: Path, model: keras.Model, **changes: object) -> Path:
    """Write the bundle of a network."""
    classes, bands = model.outputs[0].shape[-1], model.inputs[0].shape[-1]
    save_bundle(model, folder, **card_fields(classes, bands, **changes))
    return folder


SEMANTIC = [(row.architecture, row.encoder) for row in zoo.ZOO if row.task == "semantic"]
"""Architecture and encoder of every semantic network of the zoo."""


QUICK_JAX = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
"""Environment in which JAX compiles quickly: compilation is nearly all it does for networks as small as these."""
ON_OTHER_BACKENDS = [
    ("fcn32s", "vgg16"),
    ("fcn16s", "vgg16"),
    ("fcn8s", "vgg16"),
    ("segnet", "vgg16"),
    ("segnet_basic", None),
    ("unet", None),
    ("unet", "resnet50"),
    ("pspnet", "vgg16"),
    ("pspnet", "mobilenet"),
    ("pspnet", "resnet50"),
]
"""Networks that together contain every kind of layer of the zoo's semantic networks."""


def tiny_options(architecture: str, encoder: str | None) -> dict[str, object]:
    """Return options that make a network of the zoo a sixteenth as wide."""
    if encoder is None:
        return {"width": 4}
    narrow = {"decoder_width": 4} if architecture == "unet" else {}
    narrow |= {"head_width": 6} if architecture.startswith("fcn") else {}
    return {"encoder_width": 1 / 16, **narrow}


def tiny_network(
    architecture: str, encoder: str | None, bands: int = 3, classes: int = 3, **options: object
) -> keras.Model:
    """Build a narrow network of the zoo with random weights whose output varies with position."""
    keras.utils.set_random_seed(11)
    model = zoo.build(
        architecture, encoder, bands, classes, **{**tiny_options(architecture, encoder), **options}
    )
    return with_batch_statistics(model)


def with_batch_statistics(model: keras.Model, seed: int = 0) -> keras.Model:
    """Set all batch normalization statistics to those of noise, so that features neither vanish nor explode."""
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    noise = np.random.default_rng(seed).normal(size=(2, 64, 96, model.inputs[0].shape[-1]))
    for norm in norms:
        norm.momentum = 0.0
    if norms:
        model(noise.astype("f4"), training=True)
    for norm in norms:
        norm.momentum = 0.99
    return model


def exported(model: keras.Model, kind: str, folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Export a network, and return a function that runs the exported file."""
    path = folder / {"tf_saved_model": "saved", "onnx": "model.onnx", "openvino": "model.xml"}[kind]
    model.export(str(path), format=kind, verbose=False)
    if kind == "tf_saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(str(path))
        return lambda chips: loaded.serve(chips)  # noqa: PLW0108 - the call must keep what was loaded alive
    if kind == "onnx":
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        return lambda chips: session.run(None, {session.get_inputs()[0].name: chips})[0]
    pytest.importorskip("openvino")
    compiled = shared_core().compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda chips: compiled(chips)[0]
