"""Determine a network's output type from its last operation, shape and values, and compare it with the user's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing.common.foreign import Foreign
from terraseam.models.importing.common.shapes import CHANNEL

ONE_CHANNEL = ("labels", "binary_logits", "binary_scores")
CLOSE = 1e-3
"""Tolerance of the sum of scores from 1."""


@dataclass(frozen=True)
class OutputType:
    """Output type of a network.

    Attributes:
        kind: ``logits``, ``scores``, ``labels``, ``binary_logits`` or ``binary_scores``.
        why: How the type was determined, as a phrase.
    """

    kind: str
    why: str


def detect_output_type(foreign: Foreign, output: np.ndarray, classes: int, stated: str | None) -> OutputType:
    """Determine the output type of a network.

    Args:
        foreign: The network.
        output: Its output for random chips, in its own layout.
        classes: Number of classes named by the user.
        stated: Output type stated by the user, or None.

    Raises:
        RefusedError: If the output does not fit the classes, or is not what the user states.
    """
    channels = _channels(foreign, output)
    if channels not in (1, classes):
        raise NetworkRefusedError(
            f"the network outputs {channels} channels, but --classes names {classes}; "
            f"name {channels} classes, in the order of its channels"
        )
    detected = _find(foreign, output, channels, classes)
    if stated is None or stated == detected.kind:
        _check_values(detected.kind, output, foreign.layout, classes)
        return detected
    _check_stated(foreign, stated, detected, channels, classes)
    _check_values(stated, output, foreign.layout, classes)
    return OutputType(stated, "as --output-type says")


def _channels(foreign: Foreign, output: np.ndarray) -> int:
    """Return the number of output channels; a label map may lack the channel axis."""
    if output.ndim == 3:
        return 1
    if output.ndim != 4:
        raise NetworkRefusedError(
            f"the network outputs arrays of {output.ndim} axes; it must output one value per class, or a label, "
            "for each pixel of its chip"
        )
    return int(output.shape[CHANNEL[foreign.layout]])


def _find(foreign: Foreign, output: np.ndarray, channels: int, classes: int) -> OutputType:
    """Return the output type, as far as it can be determined."""
    if channels == 1:
        return _find_single_channel(foreign, output, classes)
    if foreign.ending == "softmax":
        return OutputType("scores", "it ends in a softmax")
    if foreign.ending == "sigmoid":
        return OutputType("", f"it ends in a sigmoid for each of {channels} classes")
    sums = output.sum(axis=CHANNEL[foreign.layout])
    if output.min() >= 0 and np.abs(sums - 1).max() < CLOSE:
        return OutputType("scores", "its outputs sum to 1")
    return OutputType("logits", "its outputs do not sum to 1")


def _find_single_channel(foreign: Foreign, output: np.ndarray, classes: int) -> OutputType:
    if foreign.ending == "argmax":
        return OutputType("labels", "it ends in an argmax")
    if foreign.whole_numbers or (foreign.ending is None and np.array_equal(output, np.rint(output))):
        return OutputType("labels", "it outputs whole numbers")
    if classes != 2:
        raise NetworkRefusedError(
            f"the network outputs one channel, which distinguishes two classes, but --classes names {classes}; "
            "name two classes, the second being the one that the channel stands for"
        )
    if foreign.ending == "sigmoid":
        return OutputType("binary_scores", "it ends in a sigmoid")
    if output.min() >= 0 and output.max() <= 1:
        return OutputType("binary_scores", "its outputs lie between 0 and 1")
    return OutputType("binary_logits", "its outputs do not lie between 0 and 1")


def _check_stated(foreign: Foreign, stated: str, detected: OutputType, channels: int, classes: int) -> None:
    """Check the user's output type against the one found."""
    if (stated in ONE_CHANNEL) != (channels == 1):
        raise NetworkRefusedError(
            f"--output-type {stated} does not fit a network that outputs {channels} channels for {classes} classes; "
            f"{_advice(detected)}"
        )
    if stated.startswith("binary") and classes != 2:
        raise NetworkRefusedError(
            f"--output-type {stated} is for two classes, but --classes names {classes}; {_advice(detected)}"
        )
    certain = foreign.ending is not None and detected.kind != ""
    if certain or foreign.whole_numbers:
        raise NetworkRefusedError(
            f"--output-type {stated} contradicts the network: {detected.why}; {_advice(detected)}"
        )
    if stated == "logits" and detected.kind == "scores":
        raise NetworkRefusedError(
            f"--output-type logits contradicts the network: {detected.why}; {_advice(detected)}"
        )


def _advice(detected: OutputType) -> str:
    return (
        f"pass --output-type {detected.kind} or leave it out"
        if detected.kind
        else "pass --output-type logits"
    )


def _check_values(kind: str, output: np.ndarray, layout: str, classes: int) -> None:
    """Check that the output for random chips is valid for its type."""
    if kind == "":
        raise NetworkRefusedError(
            "the network ends in a sigmoid for each of its classes, so a pixel may have several classes; remove "
            "the sigmoid, or pass --output-type logits to choose the class with the highest value"
        )
    if not np.isfinite(output).all():
        raise NetworkRefusedError(
            "the network outputs NaN or infinite values on random chips; is the file intact?"
        )
    if kind == "labels" and not 0 <= output.min() <= output.max() < classes:
        raise NetworkRefusedError(
            f"the network outputs labels up to {output.max():g} (and down to {output.min():g}), but --classes names "
            f"{classes}; name a class for each label from 0"
        )
    if kind == "scores" and np.abs(output.sum(axis=CHANNEL[layout]) - 1).max() >= CLOSE:
        raise NetworkRefusedError(
            "the network's outputs do not sum to 1, so they are not scores; pass --output-type logits"
        )
    if kind == "binary_scores" and (output.min() < 0 or output.max() > 1):
        raise NetworkRefusedError(
            "the network's outputs do not lie between 0 and 1; pass --output-type binary_logits"
        )


def channels_last(output: np.ndarray, layout: str) -> np.ndarray:
    """Return an output as ``(samples, height, width, channels)``."""
    if output.ndim == 3:
        return output[..., None]
    return np.moveaxis(output, 1, -1) if layout == "channels_first" else output
