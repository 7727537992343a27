"""Training batches: a pure function of the seed, the epoch and the step, prefetched by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from terraseam.models.bundle.values import Scaling
from terraseam.models.training.augment import UNCHANGED, Augmentation, change
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.recipe import Recipe


@dataclass(frozen=True, slots=True, eq=False)
class ChipBatch:
    """Chips with their ground truth, as read from rasters.

    Attributes:
        pixels: Values 0 to 255, float32, ``(n, height, width, bands)``.
        labels: Uint8, 255 for pixels without a label, ``(n, height, width)``; None for detectors.
        weights: Border weights, float32, ``(n, height, width)``, if the recipe uses them.
        truth: Output of `terraseam.models.detection.truth.pad_truth`, for detectors.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None
    weights: np.ndarray | None = None
    truth: Mapping[str, np.ndarray] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Training and validation data of a network.

    Attributes:
        chips: Returns the chips with the given numbers, always the same for the same numbers; must be thread-safe.
            Numbers count up from 0 through all epochs.
        validation: Pairs of pixels ``(n, height, width, bands)``, float32 of 0 to 255, and ground truth: labels
            ``(n, height, width)``, or for detectors a sequence of `ChipInstance` for each chip. It is iterated
            once an epoch, so it must be re-iterable, like a list.
        scaling: Scaling from values of 0 to 255 to the network's input.
        augmentation: Photometric augmentation of training chips.
        description: JSON values that identify these data: a run only resumes on the same data.
    """

    chips: Callable[[Sequence[int]], ChipBatch]
    validation: Iterable[tuple[np.ndarray, Any]]
    scaling: Scaling
    augmentation: Augmentation = UNCHANGED
    description: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The input of one training step.

    Attributes:
        chips: Input of the network, float32, ``(n, height, width, bands)``.
        labels: See `ChipBatch`.
        weights: See `ChipBatch`.
        truth: See `ChipBatch`.
    """

    chips: np.ndarray
    labels: np.ndarray | None
    weights: np.ndarray | None
    truth: Mapping[str, np.ndarray] | None


class Batches:
    """The batches of a training run.

    Args:
        data: Source of the chips.
        recipe: Batch size, steps and seed.
    """

    def __init__(self, data: TrainingData, recipe: Recipe) -> None:
        self.data, self.recipe = data, recipe

    def numbers(self, epoch: int, step: int) -> range:
        """Return the numbers of a batch's chips."""
        first = (epoch * self.recipe.steps + step) * self.recipe.batch
        return range(first, first + self.recipe.batch)

    def batch(self, epoch: int, step: int) -> Batch:
        """Build one batch.

        Raises:
            TrainingError: If the chips do not have the expected shape.
        """
        numbers = self.numbers(epoch, step)
        chips = self.data.chips(numbers)
        _check(chips, len(numbers), len(self.data.scaling.scale))
        seeds = [self.recipe.seed * 2**40 + number for number in numbers]
        return Batch(
            scaled(change(chips.pixels, self.data.augmentation, seeds), self.data.scaling),
            chips.labels,
            chips.weights,
            chips.truth,
        )

    def epoch(self, epoch: int) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch in order, prefetched by threads."""
        steps, prefetch = self.recipe.steps, self.recipe.workers + 1
        waiting: deque[Future[Batch]] = deque()
        pool = ThreadPoolExecutor(self.recipe.workers, thread_name_prefix="chips")
        try:
            for step in range(steps):
                while len(waiting) < min(prefetch, steps - step):
                    waiting.append(pool.submit(self.batch, epoch, step + len(waiting)))
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def scaled(pixels: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Return the network's input for values of 0 to 255, float32."""
    chips = pixels * np.asarray(scaling.scale, np.float32)
    chips += np.asarray(scaling.offset, np.float32)
    return chips


def _check(batch: ChipBatch, count: int, bands: int) -> None:
    shape = batch.pixels.shape
    if len(shape) != 4 or shape[0] != count or shape[-1] != bands:
        raise TrainingError(
            f"got chips of shape {shape}, expected {count} chips of {bands} bands; "
            "chips are (n, height, width, bands)"
        )
    for name, map_ in (("labels", batch.labels), ("weights", batch.weights)):
        if map_ is not None and map_.shape != shape[:3]:
            raise TrainingError(f"{name} of shape {map_.shape} do not match chips of {shape[:3]}")
