"""Images for people to look at: chips side by side, labels on top, written as PNG."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from rasterio.io import MemoryFile

Colour = tuple[int, int, int]

IGNORED_SHADE = 0.45
"""Factor by which pixels without a label are darkened."""
PAPER: Colour = (255, 255, 255)
GAP = 4
"""Gap between and around the chips of a contact sheet, in pixels."""


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write an image as PNG atomically, leaving no other files behind.

    Args:
        path: The file; its folder is created if missing.
        rgb: Red, green and blue, uint8 ``(height, width, 3)``.

    Raises:
        ValueError: If `rgb` is not such an array.
        OSError: If the file cannot be written.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or 0 in rgb.shape:
        raise ValueError(f"a picture is uint8 (height, width, 3), got {rgb.dtype} {rgb.shape}")
    height, width, bands = rgb.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with MemoryFile(ext=".png") as memory:
            with memory.open(driver="PNG", height=height, width=width, count=bands, dtype="uint8") as image:
                image.write(np.moveaxis(rgb, -1, 0))
            try:
                draft.write_bytes(memory.getbuffer())
                draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert pixels of any type to an RGB image.

    The first three bands are red, green and blue; if there are fewer, the first is shown as grey. uint8 is kept;
    other types are stretched from the 2nd to the 98th percentile of each band.

    Args:
        pixels: Shape ``(height, width, bands)``; samples that are not finite become black.

    Returns:
        uint8 ``(height, width, 3)``.
    """
    shown = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)
    return np.ascontiguousarray(shown) if shown.dtype == np.uint8 else _stretched(shown)


def _stretched(pixels: np.ndarray) -> np.ndarray:
    values = np.where(np.isfinite(pixels), pixels, np.nan).astype(np.float32)
    if np.isnan(values).all():
        return np.zeros(values.shape, np.uint8)
    low, high = np.nanpercentile(values, (2, 98), axis=(0, 1))
    scaled = (values - low) / np.where(high > low, high - low, 1) * 255
    return np.nan_to_num(scaled).clip(0, 255).astype(np.uint8)


def overlay(
    rgb: np.ndarray, labels: np.ndarray, colours: Mapping[int, Colour | None], strength: float = 0.5
) -> np.ndarray:
    """Draw labels on an image: blended with the colour of their class, opaque where classes meet.

    Args:
        rgb: The image, uint8 ``(height, width, 3)``.
        labels: Labels of its pixels, uint8 ``(height, width)``.
        colours: Colour of each label; None leaves its pixels unchanged. Pixels of labels that are not listed, such as
            255 for no label, are darkened.
        strength: Opacity of the colours, 0 to 1.

    Returns:
        A new image of the same shape.
    """
    table = np.zeros((256, 3), np.float32)
    mixed = np.zeros(256, np.float32)
    brightness = np.full(256, IGNORED_SHADE, np.float32)
    for label, colour in colours.items():
        brightness[label] = 1.0
        if colour is not None:
            table[label], mixed[label] = colour, strength
    share = mixed[labels]
    share[outlines(labels) & (share > 0)] = 1.0
    under = rgb * brightness[labels][..., None]
    return np.rint(under * (1 - share[..., None]) + table[labels] * share[..., None]).astype(np.uint8)


def outlines(labels: np.ndarray, unknown: int | None = None) -> np.ndarray:
    """Return whether one of the four neighbours of each pixel has another label, bool ``(height, width)``.

    Args:
        labels: Labels, ``(height, width)``.
        unknown: Label of pixels that neither lie on an outline nor cause one; None if there is no such label.
    """
    edge = np.zeros(labels.shape, bool)
    known = np.ones(labels.shape, bool) if unknown is None else labels != unknown
    for after, before in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        differ = (labels[after] != labels[before]) & known[after] & known[before]
        edge[after] |= differ
        edge[before] |= differ
    return edge


def sheet_of_chips(rows: Sequence[Sequence[np.ndarray]], gap: int = GAP, paper: Colour = PAPER) -> np.ndarray:
    """Arrange images in a contact sheet, such as chip, truth and prediction in each row.

    Args:
        rows: Images, each uint8 ``(height, width, 3)``; sizes and numbers may differ. A column is as wide as its
            widest image, a row as high as its highest.
        gap: Gap between and around them, in pixels.
        paper: Background colour.

    Returns:
        One image, uint8 ``(height, width, 3)``.

    Raises:
        ValueError: If there are no images.
    """
    if not any(len(row) for row in rows):
        raise ValueError("a sheet of chips has at least one chip")
    heights = [max((chip.shape[0] for chip in row), default=0) for row in rows]
    columns = max(len(row) for row in rows)
    widths = [max(row[i].shape[1] for row in rows if i < len(row)) for i in range(columns)]
    shape = (sum(heights) + gap * (len(heights) + 1), sum(widths) + gap * (len(widths) + 1), 3)
    sheet = np.full(shape, paper, np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        left = gap
        for chip, width in zip(row, widths, strict=False):
            sheet[top : top + chip.shape[0], left : left + chip.shape[1]] = chip
            left += width + gap
        top += height + gap
    return sheet
