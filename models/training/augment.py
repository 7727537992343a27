"""Photometric augmentation of chips: variation in light, atmosphere and camera.

Keras has layers for most of it, but they blur all chips of a batch alike, darken the edges of what they blur, let
saturation exceed 1 on 8-bit ranges, and convert colours separately for hue and saturation. So parameters are drawn
here, chip by chip, and applied with Keras' colour operations and SciPy's filter, which is also faster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import keras
import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter

WHITE = 255.0
"""Brightest value of a chip."""
SALT = 0x5EED
"""Separates the random numbers drawn here from those of other users of the same seed."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Strength of photometric augmentation; each number bounds a uniform draw per chip, and 0 disables it.

    Attributes:
        brightness: Added to all bands, as a share of 255: from -x to x.
        contrast: Factor of the deviation from the chip's mean, band by band: 1 - x to 1 + x.
        saturation: Factor of saturation: 1 - x to 1 + x; only for three bands.
        hue: Rotation of the hue, as a share of the circle: from -x to x; only for three bands.
        blur: Standard deviation of a Gaussian blur, in pixels: 0 to x.
        noise: Standard deviation of sensor noise, as a share of 255: 0 to x.
        gamma: Exponent of the value: exp(-x) to exp(x).
        gain: Independent factor of each band: 1 - x to 1 + x.
        share: Share of the chips that are augmented at all, 0 to 1.
    """

    brightness: float = 0.1
    contrast: float = 0.2
    saturation: float = 0.2
    hue: float = 0.03
    blur: float = 1.0
    noise: float = 0.02
    gamma: float = 0.2
    gain: float = 0.05
    share: float = 0.8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = MOST.get(field.name, 1.0)
            if not 0 <= value <= most:
                raise ValueError(f"{field.name} of the augmentation must be 0 to {most:g}, got {value}")

    def times(self, strength: float) -> Augmentation:
        """Return an augmentation scaled by `strength`; the share of augmented chips stays the same."""
        numbers = {field.name: getattr(self, field.name) for field in fields(self)}
        stronger = {
            name: min(number * strength, MOST.get(name, 1.0))
            for name, number in numbers.items()
            if name != "share"
        }
        return replace(self, **stronger)


MOST = {"hue": 0.5, "blur": 10.0, "gamma": 2.0}
"""Maximum of each field where it is not 1."""
UNCHANGED = Augmentation(**{field.name: 0.0 for field in fields(Augmentation)})
"""Augmentation that leaves chips unchanged."""


def change(chips: np.ndarray, augmentation: Augmentation, seeds: int | Sequence[int]) -> np.ndarray:
    """Augment chips photometrically; the same seed gives the same change.

    Args:
        chips: Values 0 to 255, possibly a few outside, float32, shape ``(n, height, width, bands)``; not modified.
        augmentation: Strength of the augmentation.
        seeds: One seed per chip, or one number, from which the seeds of the chips count up.

    Returns:
        Chips of the same shape, each within 0 to 255, or its own range if that is larger. Chips that were not
        selected are unchanged to the bit.

    Raises:
        ValueError: If the numbers of seeds and chips differ.
    """
    numbers = range(seeds, seeds + len(chips)) if isinstance(seeds, int) else seeds
    if len(numbers) != len(chips):
        raise ValueError(f"{len(chips)} chips need as many seeds, got {len(numbers)}")
    augmented = np.array(chips, np.float32)
    draws = [np.random.default_rng((SALT, seed)) for seed in numbers]
    chosen = [place for place, draw in enumerate(draws) if draw.random() < augmentation.share]
    if not chosen:
        return augmented
    with keras.device("cpu"):
        for place in chosen:
            augmented[place] = _changed(augmented[place], augmentation, draws[place])
    return augmented


def _changed(chip: np.ndarray, augmentation: Augmentation, draw: np.random.Generator) -> np.ndarray:
    """Augment one chip ``(height, width, bands)``: light first, then the camera's lens and sensor."""
    low, high = np.minimum(chip.min(), np.float32(0)), np.maximum(chip.max(), np.float32(WHITE))
    steps = (
        (augmentation.hue or augmentation.saturation, _recoloured),
        (augmentation.contrast or augmentation.brightness or augmentation.gain, _relit),
        (augmentation.gamma, _bent),
        (augmentation.blur, _blurred),
        (augmentation.noise, _noisy),
    )
    for size, step in steps:
        if size:
            chip = step(chip, augmentation, draw)
            np.clip(chip, low, high, out=chip)
    return chip


def _recoloured(chip: np.ndarray, augmentation: Augmentation, draw: np.random.Generator) -> np.ndarray:
    """Rotate the hue and scale the saturation of red, green and blue."""
    if chip.shape[-1] != 3:
        return chip.copy()
    turn, factor = (
        draw.uniform(-augmentation.hue, augmentation.hue),
        1 + draw.uniform(-augmentation.saturation, augmentation.saturation),
    )
    low = np.minimum(chip.min(), np.float32(0))  # Values below 0 have no hue.
    colours = np.array(ops.convert_to_numpy(ops.image.rgb_to_hsv((chip - low) / np.float32(WHITE))))
    hue = colours[..., 0] + np.float32(turn)
    colours[..., 0] = hue - np.floor(hue)
    colours[..., 1] = np.minimum(colours[..., 1] * np.float32(factor), np.float32(1))
    return ops.convert_to_numpy(ops.image.hsv_to_rgb(colours)) * np.float32(WHITE) + low


def _relit(chip: np.ndarray, augmentation: Augmentation, draw: np.random.Generator) -> np.ndarray:
    """Change contrast, brightness and the gain of each band in one linear step."""
    contrast = 1 + draw.uniform(-augmentation.contrast, augmentation.contrast)
    brightness = draw.uniform(-augmentation.brightness, augmentation.brightness) * WHITE
    gain = 1 + np.asarray(draw.uniform(-augmentation.gain, augmentation.gain, chip.shape[-1]))
    pixels = chip.reshape(-1, chip.shape[-1])
    # A product with ones is 10 times as fast as numpy's mean over the outer axes.
    means = np.full(len(pixels), 1 / len(pixels), np.float32) @ pixels
    offset = means * (1 - contrast) + brightness
    adjusted = chip * np.float32(contrast * gain)
    adjusted += np.float32(offset * gain)
    return adjusted


def _bent(chip: np.ndarray, augmentation: Augmentation, draw: np.random.Generator) -> np.ndarray:
    """Apply a gamma curve, mirrored for values below 0."""
    exponent = math.exp(draw.uniform(-augmentation.gamma, augmentation.gamma))
    bent = np.power(np.abs(chip) / np.float32(WHITE), np.float32(exponent)) * np.float32(WHITE)
    return np.copysign(bent, chip)


def _blurred(chip: np.ndarray, augmentation: Augmentation, draw: np.random.Generator) -> np.ndarray:
    """Apply a Gaussian blur with mirrored edges, so that these do not darken."""
    sigma = draw.uniform(0, augmentation.blur)
    blurred: np.ndarray = gaussian_filter(chip, sigma, axes=(0, 1), mode="mirror", truncate=3.0)
    return blurred


def _noisy(chip: np.ndarray, augmentation: Augmentation, draw: np.random.Generator) -> np.ndarray:
    """Add sensor noise."""
    deviation = np.float32(draw.uniform(0, augmentation.noise) * WHITE)
    noise = draw.standard_normal(chip.shape, dtype=np.float32)
    noise *= deviation
    noise += chip
    return noise
