"""Scenes with planted objects, and small detectors trained to find them."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers

from terraseam.models.bundle.archive import save_bundle
from terraseam.models.bundle.values import ClassInfo, Scaling
from terraseam.models.detection.instances import ChipInstance
from terraseam.models.detection.mask_rcnn import detector
from terraseam.models.detection.paste import chip_instances
from terraseam.models.detection.settings import Anchors, Choice, Detector, Training
from terraseam.models.detection.training import training_network
from terraseam.models.detection.truth import pad_truth

CLASSES = (
    ClassInfo("land", "#c8b45a", True),
    ClassInfo("roof", "#ff0000", False),
    ClassInfo("pool", "#1e5ac8", False),
)
"""Class 0 is the background; roofs are bright red rectangles, pools bright blue ones."""
GROUND, COLOURS = (90, 100, 80), {1: (210, 60, 50), 2: (40, 90, 220)}
SCALING = Scaling((1 / 127.5,) * 3, (-1.0,) * 3)
SETTINGS = Detector(
    width=24,
    box_width=64,
    anchors=Anchors(sizes=(16.0, 32.0, 64.0, 128.0, 256.0)),
    proposals=Choice(100, 60, 0.7),
    detections=Choice(60, 20, 0.5, 0.5),
)
TRAINING = Training(anchors=128, proposals=Choice(100, 60, 0.7), rois=48, frozen_norm=False)


def planted_scene(
    height: int, width: int, things: int, seed: int, sides: tuple[int, int] = (14, 40)
) -> tuple[np.ndarray, list[ChipInstance]]:
    """Draw a scene of rectangles that neither touch each other nor the edge.

    Args:
        height: Height of the scene, in pixels.
        width: Width of the scene, in pixels.
        things: Number of rectangles to try; fewer are placed if there is no room.
        seed: Seed of the scene.
        sides: Minimum and maximum side of a rectangle, in pixels.

    Returns:
        Pixels ``(height, width, 3)``, uint8; and the rectangles as instances of score 1.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.normal(GROUND, 8, (height, width, 3))
    taken = np.zeros((height, width), bool)
    planted = []
    for _ in range(things):
        rows, columns = (int(side) for side in rng.integers(sides[0], sides[1] + 1, 2))
        if rows + 8 > height or columns + 8 > width:
            continue
        row, col = int(rng.integers(4, height - rows - 3)), int(rng.integers(4, width - columns - 3))
        label = int(rng.integers(1, 3))
        if taken[row - 4 : row + rows + 4, col - 4 : col + columns + 4].any():
            continue
        taken[row : row + rows, col : col + columns] = True
        pixels[row : row + rows, col : col + columns] = rng.normal(COLOURS[label], 8, (rows, columns, 3))
        planted.append(ChipInstance(row, col, np.ones((rows, columns), bool), label, 1.0))
    return np.clip(pixels, 0, 255).astype(np.uint8), planted


def tiny_encoder(bands: int = 3, width: int = 16) -> keras.Model:
    """Build a small convolutional encoder with feature maps at strides 2 to 32."""
    x = chip = keras.Input((None, None, bands))
    maps = []
    for number in range(5):
        x = layers.Conv2D(width * min(number + 1, 3), 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        maps.append(x)
    return keras.Model(chip, maps, name="tiny")


def tiny_detector(seed: int = 0, settings: Detector = SETTINGS) -> keras.Model:
    """Build an untrained Mask R-CNN of three classes on the tiny encoder."""
    keras.utils.set_random_seed(seed)
    return detector(tiny_encoder(), len(CLASSES), settings)


def batch_of_scenes(count: int, size: int, seed: int, things: int = 12) -> dict[str, np.ndarray]:
    """Return scenes of ``size`` x ``size`` px as training data."""
    scenes = [planted_scene(size, size, things, seed + number) for number in range(count)]
    chips = np.stack([pixels for pixels, _ in scenes]) * np.float32(SCALING.scale) + np.float32(
        SCALING.offset
    )
    return {"chips": chips.astype(np.float32), **pad_truth([planted for _, planted in scenes], things)}


def train(
    network: keras.Model, data: dict[str, np.ndarray], epochs: int, batch: int = 4
) -> keras.callbacks.History:
    """Train a detector."""
    trainer = training_network(network, TRAINING)
    steps = epochs * -(-len(data["chips"]) // batch)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
    trainer.compile(keras.optimizers.Adam(rate, clipnorm=5.0))
    return trainer.fit(data, epochs=epochs, batch_size=batch, verbose=0)


def train_planted_detector(folder: Path) -> Path:
    """Train a detector of planted roofs and pools, and write its bundle."""
    network = tiny_detector()
    train(network, batch_of_scenes(48, 128, seed=100), epochs=30)
    return save_planted(network, folder)


def save_planted(network: keras.Model, folder: Path, **changes: object) -> Path:
    """Write the bundle of a detector of planted scenes."""
    fields = {
        "name": "planted",
        "version": "1.0.0",
        "architecture": "mask_rcnn",
        "task": "instances",
        "classes": CLASSES,
        "bands": ("red", "green", "blue"),
        "gsd": "any",
        "scaling": SCALING,
        "fill": (90.0, 100.0, 80.0),
        "halo": 64,
        "license": "Apache-2.0",
    }
    save_bundle(network, folder, **{**fields, **changes})
    return folder


def spread_weights(network: keras.Model) -> keras.Model:
    """Spread the scores of an untrained detector, so that float noise does not change their order."""
    for part, layer, factor in (("proposer", "proposer_scores", 30.0), ("box_head", "classes", 60.0)):
        kernel = network.get_layer(part).get_layer(layer).kernel
        kernel.assign(kernel * factor)
    return network


def found_on(network: keras.Model, pixels: np.ndarray) -> list[ChipInstance]:
    """Run a detector on one scene of raw pixels."""
    chip = pixels * np.float32(SCALING.scale) + np.float32(SCALING.offset)
    outputs = (
        keras.ops.convert_to_numpy(part)[0] for part in network(chip[None].astype(np.float32), training=False)
    )
    return chip_instances(*outputs, *pixels.shape[:2])


def intersection_over_union(one: ChipInstance, other: ChipInstance) -> float:
    """Return the intersection over union of two instances of one chip."""
    top, left = min(one.row, other.row), min(one.col, other.col)
    bottom, right = (
        max(i.row + i.mask.shape[0] for i in (one, other)),
        max(i.col + i.mask.shape[1] for i in (one, other)),
    )
    masks = np.zeros((2, bottom - top, right - left), bool)
    for canvas, i in zip(masks, (one, other), strict=True):
        canvas[i.row - top :, i.col - left :][: i.mask.shape[0], : i.mask.shape[1]] = i.mask
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())
