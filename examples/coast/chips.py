"""Training chips: windows of the world at any scale, with random changes of colours, sharpness and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from blue_marble import HELD_OUT, LAKE, LAND, MARGIN, TRAINED_ROWS, TRUTH_PER_PIXEL, Box


@dataclass(frozen=True, slots=True)
class Mix:
    """Composition of the training chips.

    Attributes:
        coast: Share of the chips centred near a coast.
        lake: Share centred in a lake, most often in a big one; the rest are anywhere.
        restyled: Share with changed colours, sharpness and noise.
    """

    coast: float
    lake: float
    restyled: float

    def __post_init__(self) -> None:
        if min(self.coast, self.lake) < 0 or self.coast + self.lake > 1 or not 0 <= self.restyled <= 1:
            raise ValueError(f"shares must lie between 0 and 1, coast and lake together too, got {self}")


def resampling_matrix(start: float, step: float, count: int, size: int, smooth: bool) -> np.ndarray:
    """Return the weights that resample `size` samples along a line to `count` others.

    Args:
        start: Start of the first new pixel, in old pixels.
        step: Size of a new pixel, in old pixels.
        count: New pixels; those past either end repeat the last old pixel.
        size: Old pixels.
        smooth: Triangle (interpolates, and averages when shrinking) instead of box (share of the area).

    Returns:
        float32 ``(count, size)``, rows sum to one.
    """
    edges = np.arange(size)[None, :]
    centres = np.clip(start + (np.arange(count) + 0.5) * step, 0.5, size - 0.5)[:, None]
    if smooth:
        weights = np.maximum(0, 1 - np.abs(edges + 0.5 - centres) / max(step, 1.0))
    else:
        low, high = centres - step / 2, centres + step / 2
        weights = np.clip(np.minimum(edges + 1, high) - np.maximum(edges, low), 0, None)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """A chip's window on the scene.

    Attributes:
        row: Top, in pixels of the scene.
        col: Left, in pixels of the scene.
        row_step: Height of a chip's pixel, in pixels of the scene.
        col_step: Width of a chip's pixel, in pixels of the scene.
        shape: Height and width of the chip, in its own pixels.
    """

    row: float
    col: float
    row_step: float
    col_step: float
    shape: tuple[int, int]

    def box(self) -> Box:
        """Return the pixels of the scene that the view touches."""
        row1, col1 = self.row + self.shape[0] * self.row_step, self.col + self.shape[1] * self.col_step
        return Box(int(np.floor(self.row)), int(np.floor(self.col)), int(np.ceil(row1)), int(np.ceil(col1)))


def cut(raster: np.ndarray, view: View, per_pixel: float, smooth: bool) -> np.ndarray:
    """Resample a view of a raster.

    Args:
        raster: ``(height, width)`` or ``(height, width, bands)``.
        view: The window; beyond the raster, its edge is repeated.
        per_pixel: Pixels of `raster` per pixel of the scene.
        smooth: See `resampling_matrix`.

    Returns:
        float32 of the shape of `view` and the bands of `raster`.
    """
    matrices = []
    for axis, corner, size in ((0, view.row, view.row_step), (1, view.col, view.col_step)):
        start, step, count = corner * per_pixel, size * per_pixel, view.shape[axis]
        first = max(0, int(start) - 2)
        last = min(raster.shape[axis], int(np.ceil(start + count * step)) + 2)
        raster = raster[first:last] if axis == 0 else raster[:, first:last]
        matrices.append(resampling_matrix(start - first, step, count, last - first, smooth))
    rows, cols = matrices
    part = np.tensordot(rows, raster.astype(np.float32), axes=(1, 0))
    return np.moveaxis(np.tensordot(cols, part, axes=(1, 1)), 0, 1)


class ChipMaker:
    """Source of chips by number, always the same for the same seed."""

    def __init__(self, scene: np.ndarray, mask: np.ndarray, size: int, seed: int, mix: Mix) -> None:
        self.scene, self.water = scene, mask != LAND
        self.size, self.seed, self.mix = size, seed, mix
        self._forbidden = [box.grown(MARGIN) for box in HELD_OUT.values()]
        self._coast, self._lake = _coast_and_lake_pixels(mask, scene.shape[:2])

    def chip(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Build one chip.

        Returns:
            The image, float32 ``(size, size, 3)`` from 0 to 255, and the labels, uint8 ``(size, size)``.
        """
        random = np.random.default_rng([self.seed, number])
        view = self._view(random)
        image = cut(self.scene, view, 1.0, smooth=True)
        labels = cut(self.water, view, TRUTH_PER_PIXEL, smooth=False) > 0.5
        turns, flip = random.integers(4), random.integers(2)
        image, labels = (np.rot90(a[:, ::-1] if flip else a, turns) for a in (image, labels))
        image = np.ascontiguousarray(image)
        if random.random() < self.mix.restyled:
            image = restyle(image, random)
        return image, labels.astype(np.uint8)

    def _view(self, random: np.random.Generator) -> View:
        """Draw a window that lies in the training rows and does not touch held-out areas."""
        height, width = self.scene.shape[:2]
        while True:
            scale, stretch = np.exp(random.uniform(np.log((0.4, 0.7)), np.log((4.0, 1.4))))
            row_step, col_step = stretch / scale, 1 / (scale * stretch)
            centre = self._centre(random) + random.uniform(-0.4, 0.4, 2) * self.size * (row_step, col_step)
            row, col = centre - np.multiply(self.size / 2, (row_step, col_step))
            view = View(row, col, row_step, col_step, (self.size, self.size))
            box = view.box()
            inside = box.row0 >= TRAINED_ROWS[0] and box.row1 <= TRAINED_ROWS[1]
            inside = inside and box.col0 >= 0 and box.col1 <= width and box.row1 <= height
            if inside and not any(box.meets(other) for other in self._forbidden):
                return view

    def _centre(self, random: np.random.Generator) -> np.ndarray:
        """Draw a row and column of the scene: on a coast, in a lake, or anywhere on the sphere."""
        kind = random.random()
        if kind < self.mix.coast + self.mix.lake:
            pixels = self._coast if kind < self.mix.coast else self._lake
            return pixels[random.integers(len(pixels))].astype(float)
        height, width = self.scene.shape[:2]
        row = np.degrees(np.arccos(random.uniform(-1, 1))) / 180 * height
        return np.array((row, random.uniform(0, width)))


def _coast_and_lake_pixels(mask: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels of the scene at land-water borders, and in lakes, thinned out where meridians converge.

    Returns:
        Two arrays of rows and columns, ``(n, 2)``.
    """
    rows, cols = (((np.arange(size) + 0.5) * TRUTH_PER_PIXEL).astype(int) for size in shape)
    coarse = mask[np.ix_(rows, cols)]
    land = coarse == LAND
    change = np.zeros(shape, bool)
    change[1:] |= land[1:] != land[:-1]
    change[:, 1:] |= land[:, 1:] != land[:, :-1]
    latitude = np.radians(90 - (np.arange(shape[0]) + 0.5) * 180 / shape[0])
    kept = np.random.default_rng(0).random(shape) < np.cos(latitude)[:, None]
    return np.argwhere(change & kept), np.argwhere((coarse == LAKE) & kept)


def restyle(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Change colours, sharpness and noise: float32 ``(height, width, 3)`` in and out, 0 to 255."""
    grey = image.mean(axis=2, keepdims=True)
    image = grey + (image - grey) * random.uniform(0.6, 1.4)
    image = image * random.uniform(0.85, 1.15, 3) * random.uniform(0.75, 1.35) + random.uniform(-12, 12, 3)
    image = 255 * (np.clip(image, 0, 255) / 255) ** random.uniform(0.8, 1.25)
    if random.random() < 0.6:
        image += random.uniform(-1.5, 0.9) * (_blurred(image) - image)
    if random.random() < 0.5:
        image += random.normal(0, random.uniform(0, 6), image.shape)
    if random.random() < 0.4:
        image = _blocky(image, random.uniform(4, 30))
    return np.clip(image, 0, 255).astype(np.float32)


def _blurred(image: np.ndarray) -> np.ndarray:
    """Return the mean of 3 x 3 pixels."""
    for axis in (0, 1):
        before, after = np.roll(image, 1, axis), np.roll(image, -1, axis)
        image = (before + image + after) / 3
    return image


def _blocky(image: np.ndarray, step: float) -> np.ndarray:
    """Quantize the cosine transform of 8 x 8 blocks, as JPEG does, more coarsely at high frequencies."""
    height, width, bands = image.shape
    order = np.arange(8)
    basis = (
        np.cos(np.pi * (order[None, :] + 0.5) * order[:, None] / 8) * np.where(order, 0.5, 8**-0.5)[:, None]
    )
    blocks = image.reshape(height // 8, 8, width // 8, 8, bands)
    steps = step * (1 + (order[:, None] + order[None, :]) / 4)[None, :, None, :, None]
    waves = np.einsum("ui,vj,aibjc->aubvc", basis, basis, blocks, optimize=True)
    waves = np.round(waves / steps) * steps
    return np.einsum("ui,vj,aubvc->aibjc", basis, basis, waves, optimize=True).reshape(image.shape)
