"""Draw the chips that a network is trained on, each reproducible by its number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import shapely

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View
from terraseam.tiles.vectors.area import random_point


class Places(Protocol):
    """The positions of the instances of a raster."""

    def counts(self) -> np.ndarray:
        """Return the number of instances of each label, int64 ``(classes,)``."""

    def place(self, label: int, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` in a random instance of a label, in pixels of the raster."""


@dataclass(frozen=True)
class Site:
    """A raster that chips are drawn from.

    Attributes:
        georef: Its CRS, transform and shape.
        places: The positions of its instances.
        gsd: Its ground sample distance, in metres.
        parts: Disjoint polygons, in its pixels ``(col, row)``, that chips lie on; None for all of it.
    """

    georef: Georef
    places: Places
    gsd: float
    parts: np.ndarray | None = None

    @property
    def pixels(self) -> float:
        """Number of pixels that chips may lie on."""
        if self.parts is None:
            return self.georef.height * self.georef.width
        return float(self._areas.sum())

    def anywhere(self, rng: np.random.Generator) -> tuple[float, float]:
        """Return a random point ``(row, col)`` that chips may lie on."""
        if self.parts is None:
            return rng.random() * self.georef.height, rng.random() * self.georef.width
        part = self.parts[rng.choice(len(self.parts), p=self._areas / self._areas.sum())]
        return random_point(part, shapely.bounds(part), rng)

    @cached_property
    def _areas(self) -> np.ndarray:
        """Area of each part, in pixels; measured once, as every chip is drawn by them."""
        return np.asarray(shapely.area(self.parts))


@dataclass(frozen=True, slots=True)
class SamplingRule:
    """The distribution that chips are drawn from.

    Attributes:
        size: Side of a chip, in its own pixels.
        gsd: Ground sample distance of the chips, in metres.
        instance_share: Share of the chips that are centred on an instance; the others lie anywhere.
        scales: Range of the magnification factor, drawn uniformly in its logarithm.
        stretch: Largest ratio of a pixel's height to its width, or the reverse.
        balance: Exponent of a raster's area in its probability: 1 weights all pixels equally, 0 all rasters.
    """

    size: int
    gsd: float
    instance_share: float = 0.5
    scales: tuple[float, float] = (1.0, 1.0)
    stretch: float = 1.0
    balance: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 1 or self.gsd <= 0:
            raise ValueError(f"chips need a size and a GSD above 0, got {self.size} px at {self.gsd} m/px")
        if not 0 <= self.instance_share <= 1:
            raise ValueError(f"instance_share must be a share from 0 to 1, got {self.instance_share}")
        if not 0 < self.scales[0] <= self.scales[1] or self.stretch < 1:
            raise ValueError(
                f"scales must rise from above 0 and stretch be 1 or more, got {self.scales} and {self.stretch}"
            )


@dataclass(frozen=True, slots=True)
class Draw:
    """One training chip before it is read.

    Attributes:
        site: Index of the raster that it is cut from.
        view: Its position and scale on the raster.
        symmetry: Number of the symmetry of the square that is applied to it, 0 to 7.
        seed: Seed of all other random choices.
    """

    site: int
    view: View
    symmetry: int
    seed: int


class Sampler:
    """Sampler of training chips: it draws first a class, then a raster, then a position.

    A share of the chips is centred on instances: a class is drawn uniformly, then a raster that has it, then
    uniformly one of its instances, and the chip is placed so that it contains a random point of it. The others lie
    anywhere on a raster, or on the parts of it that are given. Rasters are drawn with a power of their ground area, or
    that of these parts, as weight.
    """

    def __init__(self, sites: Sequence[Site], rule: SamplingRule, seed: int) -> None:
        ground = np.array([site.pixels * site.gsd**2 for site in sites])
        if not ground.any():
            raise ValueError("there is no raster to draw chips from")
        self._sites, self._rule, self._seed = sites, rule, seed
        self._shares = np.where(ground > 0, ground**rule.balance, 0.0)
        counts = np.stack([site.places.counts() for site in sites])
        self._has = counts > 0
        self._classes = np.flatnonzero(self._has.any(axis=0))

    def draw(self, number: int) -> Draw:
        """Draw the chip with a number."""
        rng = np.random.default_rng([self._seed, number])
        symmetry, seed = int(rng.integers(8)), int(rng.integers(2**31))
        if self._classes.size and rng.random() < self._rule.instance_share:
            label = int(rng.choice(self._classes))
            site = self._site(self._has[:, label], rng)
            row, col = self._sites[site].places.place(label, rng)
            jitter = 0.35
        else:
            site = self._site(np.ones(len(self._sites), bool), rng)
            row, col = self._sites[site].anywhere(rng)
            jitter = 0.0
        return Draw(site, self._view(self._sites[site], (row, col), jitter, rng), symmetry, seed)

    def _site(self, possible: np.ndarray, rng: np.random.Generator) -> int:
        shares = np.where(possible, self._shares, 0.0)
        return int(rng.choice(shares.size, p=shares / shares.sum()))

    def _view(self, site: Site, centre: tuple[float, float], jitter: float, rng: np.random.Generator) -> View:
        """Return a view around a point, shifted onto the raster where it extends beyond it and fits."""
        rule = self._rule
        scale = math.exp(rng.uniform(*np.log(rule.scales)))
        stretch = math.exp(rng.uniform(-1, 1) * math.log(rule.stretch) / 2)
        step = rule.gsd / site.gsd / scale
        steps = step * stretch, step / stretch
        moved = rng.uniform(-jitter, jitter, 2)
        row, col = (
            _pushed(middle + (shift - 0.5) * rule.size * size, rule.size * size, extent)
            for middle, shift, size, extent in zip(
                centre, moved, steps, (site.georef.height, site.georef.width), strict=True
            )
        )
        return View(row, col, *steps, rule.size, rule.size)


def _pushed(start: float, length: float, extent: int) -> float:
    """Return the start of an interval shifted onto an axis, or centred on it if it is longer."""
    if length >= extent:
        return (extent - length) / 2
    return min(max(start, 0.0), extent - length)


def grid_views(georef: Georef, step: float, size: int, margin: int) -> list[View]:
    """Return views whose cores cover a raster once, for validation.

    Args:
        georef: The raster.
        step: Side of a chip's pixel, in pixels of the raster.
        size: Side of the core of a view, in its own pixels.
        margin: Context around it, in its own pixels.

    Returns:
        Views of ``size + 2 * margin`` px, row by row.
    """
    rows, cols = (math.ceil(extent / (size * step)) for extent in (georef.height, georef.width))
    side = size + 2 * margin
    return [
        View((row * size - margin) * step, (col * size - margin) * step, step, step, side, side)
        for row in range(rows)
        for col in range(cols)
    ]
