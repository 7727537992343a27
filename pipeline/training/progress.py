"""Report the progress of a training: one line per epoch, and pictures of predictions."""

from __future__ import annotations

import time
from colorsys import hsv_to_rgb
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.bundle.values import ClassInfo
from terraseam.models.training.watch import EpochBegan, EpochEnd, Predict, StepEnd, Watcher
from terraseam.pipeline import terminal
from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.exit_status import show
from terraseam.pipeline.training.chips import ValidationChips
from terraseam.pipeline.units import format_time
from terraseam.tiles.raster.picture import as_rgb, overlay, sheet_of_chips, write_png
from terraseam.tiles.truth.scene import IGNORED

COLOURS = 250
"""Number of colours for instances, which are then repeated."""
GOLDEN = 0.618034
"""Step of the hue from one instance to the next: the golden ratio keeps all colours apart."""


class Teller(Watcher):
    """A training callback that prints progress and draws pictures.

    Args:
        validation: Chips to draw.
        classes: The classes, with their colours.
        folder: Folder of the pictures.
        pictures: Number of chips to draw; 0 for none.
        epochs: Number of epochs of the training.
    """

    def __init__(
        self,
        validation: ValidationChips,
        classes: tuple[ClassInfo, ...],
        folder: Path,
        pictures: int,
        epochs: int,
    ) -> None:
        self._validation, self._folder, self._epochs = validation, folder, epochs
        self._colours = {
            label: None if info.background else _rgb(info.color) for label, info in enumerate(classes)
        }
        count = min(pictures, len(validation.views))
        self._drawn = np.linspace(0, len(validation.views) - 1, count).round().astype(int).tolist()
        self._began = self._told = self._stepped = time.monotonic()

    def resumed(self, completed_epochs: int) -> None:
        """Report the epoch after which an interrupted training resumes."""
        show(f"resuming after epoch {completed_epochs} of {self._epochs}")

    def epoch_began(self, began: EpochBegan) -> None:  # noqa: ARG002
        """Record the start time of the epoch."""
        self._began = self._stepped = time.monotonic()

    def step(self, event: StepEnd) -> None:
        """Count a step, and show the progress of the epoch on a terminal."""
        stepped, self._stepped = self._stepped, time.monotonic()
        ACTIVITY.add(self._stepped - stepped)
        if terminal.watched() and time.monotonic() - self._told >= terminal.PERIOD:
            self._told = time.monotonic()
            line = f"epoch {event.epoch} of {self._epochs}: step {event.step} of {event.steps}, loss {event.loss:.4f}"
            terminal.show(f"{line}, {format_time(event.seconds_left)} left")

    def validated(self, event: EpochEnd) -> None:
        """Print the line of an epoch."""
        if terminal.watched():
            terminal.show()
        show(epoch_line(event, self._epochs, time.monotonic() - self._began))

    def pictures(self, epoch: int, predict: Predict) -> None:
        """Write a picture with a row for each chip: pixels, ground truth and prediction."""
        if not self._drawn:
            return
        rows = [self._row(number, predict) for number in self._drawn]
        write_png(self._folder / f"epoch-{epoch:04d}.png", sheet_of_chips(rows))

    def _row(self, number: int, predict: Predict) -> list[np.ndarray]:
        pixels, labels, instances = self._validation.chip(number)
        predicted = predict(pixels[None])[0]
        picture = as_rgb(np.clip(pixels, 0, 255).astype(np.uint8))
        if self._validation.instances:
            true, predicted = (painted(group, labels.shape) for group in (instances, predicted))
            return [picture, *(overlay(picture, ids % COLOURS, _many_colours()) for ids in (true, predicted))]
        predicted = np.where(labels == IGNORED, IGNORED, predicted).astype(np.uint8)
        return [picture, *(overlay(picture, label_map, self._colours) for label_map in (labels, predicted))]


def painted(instances: Any, shape: tuple[int, int]) -> np.ndarray:
    """Return the instance number of each pixel, counted from 1, with earlier (higher-scoring) instances on top."""
    ids = np.zeros(shape, np.int64)
    for number, instance in reversed(list(enumerate(instances, start=1))):
        height, width = instance.mask.shape
        ids[instance.row : instance.row + height, instance.col : instance.col + width][instance.mask] = number
    return ids


def _many_colours() -> dict[int, tuple[int, int, int] | None]:
    """Return colours that distinguish consecutive numbers; 0 has none."""
    hues = {number: hsv_to_rgb(number * GOLDEN % 1, 1, 1) for number in range(1, COLOURS)}
    shades = {number: (int(255 * r), int(255 * g), int(255 * b)) for number, (r, g, b) in hues.items()}
    return {0: None, **shades}


def epoch_line(epoch_end: EpochEnd, epochs: int, seconds: float) -> str:
    """Return a line such as ``epoch 3 of 30: loss 0.2311, mean IoU 0.712 (roof 0.712), 41 s, about 19 min left``."""
    measures = epoch_end.measures
    classes = ", ".join(
        f"{name.removeprefix('iou_')} {value:.3f}"
        for name, value in measures.items()
        if name.startswith("iou_") and np.isfinite(value)
    )
    if classes:
        figure = f"mean IoU {epoch_end.figure:.3f} ({classes})"
    else:
        figure = f"F1 {epoch_end.figure:.3f} (precision {measures['precision']:.3f}, recall {measures['recall']:.3f})"
    end = f", about {format_time(epoch_end.seconds_left)} left" if epoch_end.epoch < epochs else ""
    best = ", best" if epoch_end.better else ""
    return f"epoch {epoch_end.epoch} of {epochs}: loss {epoch_end.loss:.4f}, {figure}, {seconds:.0f} s{end}{best}"


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)
