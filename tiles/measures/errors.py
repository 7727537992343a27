"""Draw an image of errors: correct, missed and false pixels."""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np

from terraseam.tiles.measures.ground import read_ground
from terraseam.tiles.measures.maps import Maps
from terraseam.tiles.raster.picture import Colour
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import IGNORED


class ErrorKind(IntEnum):
    """The kind of agreement or error of a pixel."""

    NOTHING = 0
    TRUE = 1
    MISSED = 2
    FALSE = 3
    OTHER = 4
    UNKNOWN = 5


COLOURS: dict[ErrorKind, Colour] = {
    ErrorKind.NOTHING: (250, 250, 250),
    ErrorKind.TRUE: (0, 158, 115),
    ErrorKind.MISSED: (240, 200, 0),
    ErrorKind.FALSE: (150, 20, 120),
    ErrorKind.OTHER: (120, 190, 255),
    ErrorKind.UNKNOWN: (50, 50, 50),
}
"""Colours that people with any colour blindness can distinguish, by hue or brightness."""
WORDS = "green true, yellow missed, purple false, blue another class, dark grey not compared"
_SAMPLES = 4
"""Maximum number of samples along a side of an output pixel."""
_READ_PIXELS = 1 << 24
_MIX = 0.7


def kinds(truth: np.ndarray, predicted: np.ndarray, background: int | None) -> np.ndarray:
    """Classify each pixel as an `ErrorKind`, uint8.

    Args:
        truth: True labels, uint8.
        predicted: Predicted labels of the same pixels.
        background: Label of the background; None if there is none.
    """
    error_map = np.where(truth == predicted, np.uint8(ErrorKind.TRUE), np.uint8(ErrorKind.OTHER))
    if background is not None:
        error_map[(truth == background) & (predicted == background)] = ErrorKind.NOTHING
        error_map[(truth != background) & (predicted == background)] = ErrorKind.MISSED
        error_map[(truth == background) & (predicted != background)] = ErrorKind.FALSE
    error_map[(truth == IGNORED) | (predicted == IGNORED)] = ErrorKind.UNKNOWN
    return error_map


def error_picture(maps: Maps, background: int | None, size: int, image: str | None = None) -> np.ndarray:
    """Draw where two label maps differ.

    Args:
        maps: The label maps to compare.
        background: Label of the background; None if there is none.
        size: Longest side of the output, in pixels; a small raster is drawn pixel by pixel.
        image: Raster drawn underneath, on any grid; None for a plain background.

    Returns:
        uint8 ``(height, width, 3)``.

    Raises:
        RasterReadError: If a raster cannot be read.
    """
    georef = maps.georef
    step = max(1.0, max(georef.height, georef.width) / size)
    height, width = max(1, round(georef.height / step)), max(1, round(georef.width / step))
    samples = min(_SAMPLES, math.ceil(step))
    row_step, col_step = georef.height / height, georef.width / width
    picture = np.empty((height, width, 3), np.uint8)
    strip = max(1, int(_READ_PIXELS / (georef.width * row_step)))
    ground = (
        None if image is None else read_ground(image, georef, (height, width), COLOURS[ErrorKind.NOTHING])
    )
    for row in range(0, height, strip):
        rows = slice(row, min(row + strip, height))
        count = rows.stop - rows.start
        view = View(
            row * row_step, 0, row_step / samples, col_step / samples, count * samples, width * samples
        )
        sample_kinds = kinds(*maps.read(view), background).reshape(count, samples, width, samples)
        picture[rows] = _mixed(sample_kinds, None if ground is None else ground[rows])
    return picture


def _mixed(sample_kinds: np.ndarray, ground: np.ndarray | None) -> np.ndarray:
    """Return the colours of pixels, each the mean of its samples ``(rows, samples, columns, samples)``."""
    shares = np.stack([(sample_kinds == kind).mean(axis=(1, 3)) for kind in ErrorKind], axis=-1)
    colours = np.array([COLOURS[kind] for kind in ErrorKind], np.float64)
    if ground is None:
        return np.rint(shares @ colours).astype(np.uint8)
    clear = shares[..., [ErrorKind.NOTHING]]
    drawn = shares @ np.where(np.arange(len(ErrorKind))[:, None] == ErrorKind.NOTHING, 0, colours)
    return np.rint(ground * (clear + (1 - clear) * (1 - _MIX)) + drawn * _MIX).astype(np.uint8)
