"""Chips that a small network learns from in seconds, and trainings of them; also run in a process of its own."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers

from terraseam.models.bundle.values import Scaling
from terraseam.models.training.augment import Augmentation
from terraseam.models.training.batches import ChipBatch, TrainingData
from terraseam.models.training.fit import Trained, TrainingFolder, train
from terraseam.models.training.learner import Task
from terraseam.models.training.recipe import Recipe
from terraseam.models.training.state import read_state
from terraseam.models.training.watch import EpochBegan, EpochEnd, Predict, StepEnd, Watcher

SCALING = Scaling((1 / 127.5,) * 3, (-1.0,) * 3)
CLASSES = ("ground", "field")
HELD_OUT = 10**6
"""Numbers from here on are of validation chips."""


def chip(number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """One chip and its labels: squares of 8 px, fields reddish, and a strip without labels."""
    rng = np.random.default_rng(number)
    labels = np.kron(rng.integers(0, 2, (size // 8, size // 8)), np.ones((8, 8))).astype(np.uint8)
    pixels = rng.normal(100, 20, (size, size, 3)) + labels[..., None] * np.array([60, 0, -20])
    labels[: size // 8] = 255
    return np.clip(pixels, 0, 255).astype(np.float32), labels


def chips_of(numbers: Sequence[int], size: int = 32) -> ChipBatch:
    pixels, labels = zip(*(chip(number, size) for number in numbers), strict=True)
    weights = np.stack(labels).astype(np.float32) % 3
    return ChipBatch(np.stack(pixels), np.stack(labels), weights)


def some_data(**changes: object) -> TrainingData:
    held_out = [chips_of(range(HELD_OUT + first, HELD_OUT + first + 4)) for first in (0, 4)]
    fields = {
        "chips": chips_of,
        "validation": [(batch.pixels, batch.labels) for batch in held_out],
        "scaling": SCALING,
        "augmentation": Augmentation(brightness=0.02, contrast=0.05, hue=0.0, blur=0.3, noise=0.01),
        "description": {"rasters": ["squares"]},
    }
    return TrainingData(**{**fields, **changes})


def tiny_network(seed: int = 0) -> keras.Model:
    """A network of a few weights with dropout; its first layers have the names of MobileNet's."""
    keras.utils.set_random_seed(seed)
    chip = x = keras.Input((None, None, 3))
    for number, name in enumerate(("conv1", "conv_pw_1"), start=1):
        x = layers.Conv2D(6, 3, strides=number, padding="same", use_bias=False, name=name)(x)
        x = layers.ReLU()(layers.BatchNormalization(name=f"{name}_bn")(x))
    x = layers.Dropout(0.2)(x)
    x = layers.Conv2D(8, 3, padding="same", name="mix")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="mix_norm")(x))
    logits = layers.Conv2DTranspose(2, 4, strides=2, padding="same", name="logits")(x)
    return keras.Model(chip, logits, name="tiny")


RECIPE = Recipe(
    epochs=3, steps=3, batch=4, learning_rate=1e-2, loss="cross_entropy:border+dice", clip=5.0, seed=3
)
TASK = Task(CLASSES, "mobilenet")


class Note(Watcher):
    """Writes down what it is told, and stops a training in some way where it should."""

    def __init__(self, stop: tuple[int, int] | None = None, kill: bool = False) -> None:
        self.resumed_after: list[int] = []
        self.began: list[EpochBegan] = []
        self.steps: list[StepEnd] = []
        self.done: list[EpochEnd] = []
        self.drawn: list[tuple[int, np.ndarray]] = []
        self.stop, self.kill = stop, kill

    def resumed(self, completed_epochs: int) -> None:
        self.resumed_after.append(completed_epochs)

    def epoch_began(self, began: EpochBegan) -> None:
        self.began.append(began)

    def step(self, event: StepEnd) -> None:
        self.steps.append(event)
        if self.stop == (event.epoch, event.step):
            if self.kill:
                os.kill(os.getpid(), signal.SIGKILL)
            raise KeyboardInterrupt

    def validated(self, event: EpochEnd) -> None:
        self.done.append(event)

    def pictures(self, epoch: int, predict: Predict) -> None:
        self.drawn.append((epoch, predict(chips_of([HELD_OUT]).pixels)))


def run(
    folder: Path, recipe: Recipe = RECIPE, watcher: Watcher | None = None, **place: bool
) -> tuple[keras.Model, Trained]:
    """Train a tiny network anew, or go on where it was interrupted."""
    network = tiny_network()
    return network, train(
        network, TASK, recipe, some_data(), TrainingFolder(folder, **place), watcher or Watcher()
    )


def digest(network: keras.Model) -> bytes:
    """All weights of a network, bit by bit."""
    return b"".join(weights.tobytes() for weights in network.get_weights())


def last_state(folder: Path) -> bytes:
    """All variables of a training after its last epoch, those of the optimizer too, bit by bit."""
    found = read_state(folder)
    return b"" if found is None else b"".join(values.tobytes() for values in found[2])


if __name__ == "__main__":
    stopped = Note((2, 2), kill=True) if sys.argv[2] == "killed" else None
    trained, _ = run(Path(sys.argv[1]), watcher=stopped)
    (Path(sys.argv[1]) / "weights").write_bytes(digest(trained) + last_state(Path(sys.argv[1])))
