"""Callbacks and events of a training run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Predict = Callable[[np.ndarray], Any]
"""Function from chips ``(n, height, width, bands)`` of 0 to 255 to labels ``(n, height, width)``, uint8, or a list of
`ChipInstance` for each chip."""


@dataclass(frozen=True, slots=True)
class EpochBegan:
    """Event: an epoch begins.

    Attributes:
        epoch: Its number, from 1.
        epochs: Maximum epochs of the run.
        steps: Steps per epoch.
        frozen: Whether the encoder is frozen in this epoch.
    """

    epoch: int
    epochs: int
    steps: int
    frozen: bool


@dataclass(frozen=True, slots=True)
class StepEnd:
    """Event: a step has been taken.

    Attributes:
        epoch: Number of the epoch, from 1.
        step: Number of the step in the epoch, from 1.
        steps: Steps per epoch.
        loss: Mean loss of the epoch so far.
        learning_rate: Learning rate of the step.
        seconds_left: Estimated time to the end of training, including validations.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    seconds_left: float


@dataclass(frozen=True, slots=True)
class EpochEnd:
    """Event: an epoch and its validation have ended; an entry of the history.

    Attributes:
        epoch: Its number, from 1.
        loss: Mean loss of its steps.
        learning_rate: Learning rate of its last step.
        figure: Score by which weights are selected: mean IoU, or F1 of instances.
        better: Whether it is the best so far.
        seconds_left: Estimated time to the end of training, including validations.
        measures: Further metrics by name, such as ``val_loss`` and ``iou_roof``; NaN where undefined.
    """

    epoch: int
    loss: float
    learning_rate: float
    figure: float
    better: bool
    seconds_left: float
    measures: dict[str, float]


class Watcher:
    """Base class for training callbacks; all methods are no-ops."""

    def resumed(self, completed_epochs: int) -> None:
        """Handle a resumed run after `completed_epochs` epochs; called before any other method."""

    def epoch_began(self, began: EpochBegan) -> None:
        """Handle the start of an epoch."""

    def step(self, event: StepEnd) -> None:
        """Handle the end of a step."""

    def validated(self, event: EpochEnd) -> None:
        """Handle the end of an epoch; its state has been saved by then."""

    def pictures(self, epoch: int, predict: Predict) -> None:
        """Draw predictions of an epoch, numbered from 1, with the validated weights."""
