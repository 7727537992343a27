"""What a training tells of itself while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Predict = Callable[[np.ndarray], Any]
"""From chips ``(n, height, width, bands)`` of 0 to 255 to labels ``(n, height, width)``, uint8, or a list of
`ChipInstance` for each chip."""


@dataclass(frozen=True, slots=True)
class EpochBegan:
    """An epoch begins.

    Attributes:
        epoch: Its number, from 1.
        epochs: Epochs of the whole training.
        steps: Steps of an epoch.
        frozen: Whether the encoder stays as it is in this epoch.
    """

    epoch: int
    epochs: int
    steps: int
    frozen: bool


@dataclass(frozen=True, slots=True)
class StepEnd:
    """A step was taken.

    Attributes:
        epoch: Number of the epoch, from 1.
        step: Number of the step in the epoch, from 1.
        steps: Steps of an epoch.
        loss: Mean loss of the epoch so far.
        rate: Learning rate of the step.
        seconds_left: Estimate of what the rest of the training takes, validations too.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    rate: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """An epoch ended with its validation; this is a line of the history.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean loss of its steps.
        rate: Learning rate of its last step.
        figure: What weights are chosen by: mean IoU, or F1 of instances.
        better: Whether it is the best so far.
        seconds_left: Estimate of what the rest of the training takes, validations too.
        measures: Further figures by name, such as ``val_loss`` and ``iou_roof``; NaN where there is none.
    """

    epoch: int
    loss: float
    rate: float
    figure: float
    better: bool
    seconds_left: float
    measures: dict[str, float]


class Watcher:
    """Somebody who looks on; this one does nothing, and subclasses do what they want to."""

    def resumed(self, epochs_done: int) -> None:
        """See that a training goes on from its kept state, after so many epochs; before any other call."""

    def epoch_began(self, began: EpochBegan) -> None:
        """See that an epoch begins."""

    def step(self, done: StepEnd) -> None:
        """See that a step was taken."""

    def validated(self, done: EpochEnd) -> None:
        """See how an epoch ended; its state is saved by then."""

    def pictures(self, epoch: int, predict: Predict) -> None:
        """Draw predictions of an epoch, numbered from 1, by the weights that were validated."""
