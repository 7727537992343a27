"""Losses of semantic networks; unlabelled pixels are excluded from sums and gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from terraseam.models.training.recipe import Term, parse_loss

Tensor = Any

IGNORED = 255
"""Label of unlabelled pixels."""
GAMMA = 2.0
"""Exponent of the focal loss (https://arxiv.org/abs/1708.02002, section 3.2)."""
SMOOTH = 1.0
"""Smoothing term on both sides of the Dice fraction, so that a class of a few pixels does not dominate."""


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Inputs of the loss terms.

    Attributes:
        target: Labels, with 0 for unlabelled pixels, int32, ``(n, height, width)``.
        labelled: Which pixels are labelled, bool.
        logits: Float32, ``(n, height, width, classes)``.
        weights: Class weight of each pixel; 0 where unlabelled, ``(n, height, width)``.
        border: Border weights of the U-Net paper, or None; 0 where unlabelled.
        class_weights: Float32, ``(classes,)``.
    """

    target: Tensor
    labelled: Tensor
    logits: Tensor
    weights: Tensor
    border: Tensor | None
    class_weights: Tensor


def make_loss(text: str, class_weights: Sequence[float] | None = None) -> SegmentationLoss:
    """Build a loss from its text.

    Args:
        text: See `terraseam.models.training.recipe.parse_loss`.
        class_weights: Weight of each class, None for 1.

    Raises:
        RecipeError: If there is no such loss.
    """
    return SegmentationLoss(parse_loss(text), class_weights)


class SegmentationLoss(keras.losses.Loss):
    """A weighted sum of losses on logits; called like any Keras loss, with border weights as `sample_weight`.

    Args:
        terms: Its terms.
        class_weights: Weight of each class, None for 1.
    """

    def __init__(self, terms: Sequence[Term], class_weights: Sequence[float] | None = None) -> None:
        super().__init__(name="segmentation", reduction="sum")
        self.terms = tuple(terms)
        self.class_weights = None if class_weights is None else tuple(class_weights)

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Args:
            y_true: Labels ``(n, height, width)``, integers, `IGNORED` where unlabelled.
            y_pred: Logits ``(n, height, width, classes)``.
            sample_weight: Border weights ``(n, height, width)``, which terms with ``:border`` add to the class
                weights, as in U-Net (https://arxiv.org/abs/1505.04597, equation 2); None for 0.

        Returns:
            A number of at least 0; 0 if no pixel is labelled.
        """
        pixels = self._pixels(y_true, y_pred, sample_weight)
        total: Tensor = 0.0
        for term in self.terms:
            total = total + term.weight * TERMS[term.name](pixels, term)
        return total

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the loss without border weights."""
        return self(y_true, y_pred)

    def _pixels(self, labels: Tensor, logits: Tensor, border: Tensor | None) -> Pixels:
        logits = ops.cast(logits, "float32")
        classes = logits.shape[-1]
        factors = ops.convert_to_tensor(self.class_weights or (1.0,) * classes, "float32")
        labels = ops.cast(labels, "int32")
        labelled = ops.not_equal(labels, IGNORED)
        target = ops.where(labelled, labels, 0)
        weights = ops.where(labelled, ops.take(factors, target, axis=0), 0.0)
        if border is not None:
            border = ops.where(labelled, ops.cast(border, "float32"), 0.0)
        return Pixels(target, labelled, logits, weights, border, factors)


def _entropy(pixels: Pixels) -> Tensor:
    return ops.sparse_categorical_crossentropy(pixels.target, pixels.logits, from_logits=True)


def _mean(values: Tensor, weights: Tensor, border: Tensor | None = None) -> Tensor:
    """Return a weighted mean, 0 if all weights are 0; border weights count in the numerator only."""
    total = ops.sum(weights)
    whole = weights if border is None else weights + border
    return ops.sum(values * whole) / ops.where(total > 0, total, 1.0)


def cross_entropy(pixels: Pixels, term: Term) -> Tensor:
    """Return the mean cross-entropy of labelled pixels, in nats."""
    return _mean(_entropy(pixels), pixels.weights, pixels.border if term.border else None)


def focal(pixels: Pixels, term: Term) -> Tensor:
    """Return the mean focal loss (https://arxiv.org/abs/1708.02002, equation 4); easy pixels count less."""
    del term
    entropy = _entropy(pixels)
    return _mean((1.0 - ops.exp(-entropy)) ** GAMMA * entropy, pixels.weights)


def dice(pixels: Pixels, term: Term) -> Tensor:
    """Return 1 minus the soft Dice coefficient (https://arxiv.org/abs/1606.04797), computed over the whole batch.

    It is the mean over the classes present in the batch's labels, weighted by the class weights.
    """
    del term
    labelled = ops.cast(pixels.labelled, "float32")[..., None]
    scores = ops.softmax(pixels.logits, axis=-1) * labelled
    truth = ops.one_hot(pixels.target, pixels.logits.shape[-1], dtype="float32") * labelled
    both, predicted, actual = (ops.sum(part, axis=(0, 1, 2)) for part in (scores * truth, scores, truth))
    coefficient = (2.0 * both + SMOOTH) / (predicted + actual + SMOOTH)
    return _mean(1.0 - coefficient, ops.where(actual > 0, pixels.class_weights, 0.0))


TERMS: Mapping[str, Callable[[Pixels, Term], Tensor]] = {
    "cross_entropy": cross_entropy,
    "focal": focal,
    "dice": dice,
}
