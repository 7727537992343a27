"""Photometric change of chips: the light, the air and the camera of other days.

Keras has layers for most of it, but blurs all chips of a batch alike and lets saturation exceed 1 on 8-bit ranges;
so numbers are drawn here, chip by chip, and its operations do the work.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import keras
import numpy as np
from keras import ops

WHITE = 255.0
"""Brightest value of a chip."""
SALT = 0x5EED
"""Keeps the numbers drawn here apart from those that other users of the same seed draw."""


@dataclass(frozen=True, slots=True)
class Looks:
    """How much chips are changed; each number bounds what is drawn evenly for every chip, and 0 changes nothing.

    Attributes:
        brightness: Added to all bands, as a share of 255: from -x to x.
        contrast: Distance from the chip's own mean, band by band, times 1 - x to 1 + x.
        saturation: Saturation times 1 - x to 1 + x; of three bands alone.
        hue: Turn of the hue, as a share of the circle: from -x to x; of three bands alone.
        blur: Standard deviation of a Gaussian, in pixels: 0 to x.
        noise: Standard deviation of noise of the sensor, as a share of 255: 0 to x.
        gamma: Exponent of the value: exp(-x) to exp(x).
        gain: Factor of each band by itself: 1 - x to 1 + x.
        share: Share of the chips that are changed at all, 0 to 1.
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
                raise ValueError(f"{field.name} of chips' looks must be 0 to {most:g}, got {value}")


MOST = {"hue": 0.5, "blur": 10.0, "gamma": 2.0}
"""Greatest number of each field where it is not 1."""
UNCHANGED = Looks(**{field.name: 0.0 for field in fields(Looks)})
"""Chips as they are."""


def change(chips: np.ndarray, looks: Looks, seeds: int | Sequence[int]) -> np.ndarray:
    """Change the looks of chips; the same seed gives the same change.

    Args:
        chips: Values 0 to 255, float32, shape ``(n, height, width, bands)``; not written to.
        looks: How much.
        seeds: One seed a chip, or one number: then those of the chips count up from it.

    Returns:
        Chips of the same shape, within 0 to 255. Those that were not drawn are the same to the bit.

    Raises:
        ValueError: If there is not one seed a chip.
    """
    numbers = range(seeds, seeds + len(chips)) if isinstance(seeds, int) else seeds
    if len(numbers) != len(chips):
        raise ValueError(f"{len(chips)} chips need as many seeds, got {len(numbers)}")
    made = np.array(chips, np.float32)
    draws = [np.random.default_rng((SALT, seed)) for seed in numbers]
    chosen = [place for place, draw in enumerate(draws) if draw.random() < looks.share]
    if not chosen:
        return made
    with keras.device("cpu"):
        for place in chosen:
            made[place] = _changed(made[place], looks, draws[place])
    return made


def _changed(chip: np.ndarray, looks: Looks, draw: np.random.Generator) -> np.ndarray:
    """Change one chip ``(height, width, bands)``: light first, then the camera's lens and sensor."""
    steps = (
        (looks.hue or looks.saturation, _recoloured),
        (looks.contrast or looks.brightness or looks.gain, _relit),
        (looks.gamma, _bent),
        (looks.blur, _blurred),
        (looks.noise, _noisy),
    )
    for size, step in steps:
        if size:
            chip = np.clip(step(chip, looks, draw), 0.0, WHITE)
    return chip


def _recoloured(chip: np.ndarray, looks: Looks, draw: np.random.Generator) -> np.ndarray:
    """Turn hue and scale saturation, of red, green and blue."""
    if chip.shape[-1] != 3:
        return chip
    turn, factor = draw.uniform(-looks.hue, looks.hue), 1 + draw.uniform(-looks.saturation, looks.saturation)
    colours = ops.convert_to_numpy(ops.image.rgb_to_hsv(chip / np.float32(WHITE)))
    hue = np.mod(colours[..., 0] + np.float32(turn), np.float32(1.0))
    saturation = np.minimum(colours[..., 1] * np.float32(factor), np.float32(1.0))
    turned = np.stack([hue, saturation, colours[..., 2]], axis=-1)
    return ops.convert_to_numpy(ops.image.hsv_to_rgb(turned)) * np.float32(WHITE)


def _relit(chip: np.ndarray, looks: Looks, draw: np.random.Generator) -> np.ndarray:
    """Change contrast, brightness and the gain of each band, in one step: all three are lines."""
    contrast = 1 + draw.uniform(-looks.contrast, looks.contrast)
    brightness = draw.uniform(-looks.brightness, looks.brightness) * WHITE
    gain = 1 + np.asarray(draw.uniform(-looks.gain, looks.gain, chip.shape[-1]))
    offset = chip.mean(axis=(0, 1), dtype=np.float64) * (1 - contrast) + brightness
    return chip * np.float32(contrast * gain) + np.float32(offset * gain)


def _bent(chip: np.ndarray, looks: Looks, draw: np.random.Generator) -> np.ndarray:
    """Bend the response of the camera."""
    exponent = math.exp(draw.uniform(-looks.gamma, looks.gamma))
    return np.power(chip / np.float32(WHITE), np.float32(exponent)) * np.float32(WHITE)


def _blurred(chip: np.ndarray, looks: Looks, draw: np.random.Generator) -> np.ndarray:
    """Blur by a Gaussian; chips are mirrored at their edges, so that these get no darker."""
    sigma = draw.uniform(0, looks.blur)
    radius = min(math.ceil(2.5 * sigma), *(side - 1 for side in chip.shape[:2]))
    if radius < 1:
        return chip
    framed = np.pad(chip, ((radius, radius), (radius, radius), (0, 0)), mode="reflect")
    size = 2 * radius + 1
    blurred = ops.image.gaussian_blur(framed[None], (size, size), (sigma, sigma))
    return ops.convert_to_numpy(blurred)[0, radius:-radius, radius:-radius]


def _noisy(chip: np.ndarray, looks: Looks, draw: np.random.Generator) -> np.ndarray:
    """Add noise of the sensor."""
    deviation = np.float32(draw.uniform(0, looks.noise) * WHITE)
    return chip + draw.standard_normal(chip.shape, dtype=np.float32) * deviation
