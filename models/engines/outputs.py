"""Convert the outputs of networks to logits: scores, labels and single channels become one logit per class."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from terraseam.models.bundle.card import Card
from terraseam.models.engines.profile import EngineError

SCORE_FLOOR = np.float32(1e-30)
"""Lower bound of scores before taking the logarithm, so that it stays finite in float32."""

LABEL_GAP = np.float32(16)
"""Logit of a predicted label, where all others are 0: a score of 0.99997 or more."""

CLOSE_SCORES = 1e-4
"""Difference of two scores up to which engines may prefer either class."""

SCORE_SLACK = 0.01
"""Tolerance beyond 0 and 1 for outputs declared as scores: half precision rounds that much."""


def logits_of(output: np.ndarray, card: Card, height: int, width: int) -> np.ndarray:
    """Convert a network's output for some chips to logits.

    Args:
        output: The output, of the type and in the layout given by ``card.network``; a label map may lack
            the channel axis.
        card: Card of the bundle.
        height: Height of the chips, in pixels.
        width: Width of the chips, in pixels.

    Returns:
        Logits, float32, shape ``(n, height, width, classes)``. Their softmax gives the scores, if the network
        returns scores or logits; if it returns labels, the predicted class has a score of nearly 1.

    Raises:
        EngineError: If the output does not have the size of the chips, the card's number of channels, or values
            valid for its output type.
    """
    maps = _channels_last(output, card)
    channels = CHANNELS.get(card.network.answer, len(card.classes))
    if maps.shape[1:3] != (height, width):
        raise EngineError(
            f"the network of {card.name} outputs maps of {maps.shape[1]} x {maps.shape[2]} px for chips of "
            f"{height} x {width} px; the maps must have the size of the chips"
        )
    if maps.shape[3] != channels:
        raise EngineError(
            f"the network of {card.name} outputs {maps.shape[3]} channels, but its card has {len(card.classes)} "
            f"classes and the answer {card.network.answer}, which takes {channels}; change the card to match the network"
        )
    return TURNED[card.network.answer](maps, card)


CHANNELS = {"labels": 1, "binary_logits": 1, "binary_scores": 1}
"""Channels of an output, where these are not one per class."""


def scores_of(logits: np.ndarray) -> np.ndarray:
    """Return the scores of logits: their softmax along the last axis, float32."""
    scores = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float32)
    scores /= scores.sum(axis=-1, keepdims=True)
    return scores


def labels_agree(expected: np.ndarray, actual: np.ndarray) -> bool:
    """Return whether two arrays of logits give the same labels, wherever the expected ones are clear.

    Labels are clear if the two best scores, from 0 to 1, differ by more than `CLOSE_SCORES`.
    """
    best = np.sort(scores_of(expected), axis=-1)[..., -2:]
    clear = best[..., -1] - best[..., 0] > CLOSE_SCORES if best.shape[-1] > 1 else np.True_
    return not (clear & (expected.argmax(axis=-1) != actual.argmax(axis=-1))).any()


def logits_of_scores(scores: np.ndarray) -> np.ndarray:
    """Return logits whose softmax gives the scores: their logarithm, finite even for a score of 0."""
    return np.log(np.maximum(scores, SCORE_FLOOR), dtype=np.float32)


def _channels_last(output: np.ndarray, card: Card) -> np.ndarray:
    """Return an output in the shape ``(n, height, width, channels)``."""
    if output.ndim == 3 and CHANNELS.get(card.network.answer) == 1:
        return output[..., None]
    if output.ndim != 4:
        raise EngineError(
            f"the network of {card.name} outputs an array of shape {output.shape}, but its card says "
            f"{card.network.answer}; a map of them has four axes"
        )
    return np.moveaxis(output, 1, -1) if card.network.layout == "channels_first" else output


def _from_logits(output: np.ndarray, _: Card) -> np.ndarray:
    return np.ascontiguousarray(output, np.float32)


def _from_scores(output: np.ndarray, card: Card) -> np.ndarray:
    return logits_of_scores(_checked_scores(output, card))


def _from_labels(output: np.ndarray, card: Card) -> np.ndarray:
    labels = output[..., 0]
    least, most = labels.min(), labels.max()
    if least < 0 or most >= len(card.classes):
        wrong = least if least < 0 else most
        raise EngineError(
            f"the network of {card.name} returned the label {wrong:g}, but its card has {len(card.classes)} classes, "
            f"0 to {len(card.classes) - 1}; change the card to match the network"
        )
    named = labels[..., None] == np.arange(len(card.classes))
    return np.where(named, LABEL_GAP, np.float32(0))


def _from_binary_logits(output: np.ndarray, _: Card) -> np.ndarray:
    logit = output.astype(np.float32, copy=False)
    return np.concatenate([np.zeros_like(logit), logit], axis=-1)


def _from_binary_scores(output: np.ndarray, card: Card) -> np.ndarray:
    score = _checked_scores(output, card)
    return logits_of_scores(np.concatenate([1 - score, score], axis=-1))


def _checked_scores(output: np.ndarray, card: Card) -> np.ndarray:
    scores = output.astype(np.float32, copy=False)
    least, most = float(scores.min()), float(scores.max())
    if least < -SCORE_SLACK or most > 1 + SCORE_SLACK:
        raise EngineError(
            f"the network of {card.name} returned values from {least:.3g} to {most:.3g}, but its card says that these are "
            f"scores, which lie between 0 and 1; does it return logits?"
        )
    return scores


TURNED: dict[str, Callable[[np.ndarray, Card], np.ndarray]] = {
    "logits": _from_logits,
    "scores": _from_scores,
    "labels": _from_labels,
    "binary_logits": _from_binary_logits,
    "binary_scores": _from_binary_scores,
}
