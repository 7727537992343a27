"""Networks compute few pixels beside those of the raster, in calls of chips of one shape: both are counted."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from plan_cases import planner

from terraseam.pipeline.segment.infer import infer_tiles
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.raster.source import Chip

LARGE = {"tile": 2048, "sheet": 4096}


def passed(lattice: Lattice, samples: int = 1) -> list[tuple[int, ...]]:
    """Return the shape of what is passed to the network in each call for the sheets of a raster."""
    shapes = []

    def ask(chips):
        shapes.append(chips.shape)
        return [None] * len(chips)

    for sheet in lattice.sheets():
        window = lattice.sheet_read_window(*sheet)
        blank = np.broadcast_to(np.zeros(1, np.uint8), window.shape)
        chip = Chip(window, blank[..., None], blank > 0)
        reads = lattice.read_windows(lattice.sheet_tiles(*sheet))
        assert {tile for tile, _ in infer_tiles(ask, chip, reads, samples, 1)} == set(reads)
    return shapes


@pytest.mark.parametrize(
    ("height", "width", "most", "options"),
    [
        (256, 256, 4.0, {}),
        (256, 256, 4.0, LARGE),
        (1100, 1100, 1.7, LARGE),
        (2100, 2100, 1.6, LARGE),
        (4096, 4096, 1.3, LARGE),
        (1100, 1100, 2.3, {}),
        (4096, 4096, 1.6, {}),
        (700, 4200, 2.0, LARGE),
    ],
)
def test_few_pixels_are_computed_for_each(height, width, most, options, make_raster, tmp_path):
    path = make_raster(pixels=np.zeros((height, width, 3), np.uint8), compress="deflate")
    plan = planner(make_raster, "coast", tmp_path)(path, **options)
    computed = sum(np.prod(shape[:3]) for shape in passed(plan.lattice(0))) / (height * width)
    assert computed == plan.computed_share() <= most


@pytest.mark.parametrize("samples", [1, 2, 4])
def test_calls_have_chips_of_one_shape_and_follow_each_other_by_shape(samples):
    lattice = Lattice(5 * 32 + 9, 3 * 32 + 20, 32, Halo(8, 16, 0, 8), 6, 8)
    shapes = passed(lattice, samples)
    changes = [
        shapes[0][1:3],
        *(b[1:3] for a, b in pairwise(shapes) if a[1:3] != b[1:3]),
    ]
    assert changes == [(56, 40), (56, 32), (40, 40), (40, 32)]
    assert sum(shape[0] for shape in shapes) == 24
    assert len(shapes) == sum(-(-count // samples) for count in (15, 5, 3, 1))
