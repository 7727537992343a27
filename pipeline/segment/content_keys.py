"""Compute content keys: hashes of everything that a sheet's label map depends on, and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from terraseam.models.engines.profile import Profile
from terraseam.pipeline.plan.plan import Plan
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.labels.stitch import StitchMethod, stitch_ring
from terraseam.tiles.raster.source import Chip

LABELS_VERSION = 1
"""Increased by hand when the labels of an unchanged sheet can change; a golden test guards it."""


def recipe_digest(
    score_fields: Mapping[str, Any],
    profile: Mapping[str, Any],
    core: int,
    halo: Halo,
    stitch: StitchMethod,
    cut: int | None = None,
) -> str:
    """Hash everything except pixels: network, execution profile and the options that affect scores."""
    recipe = {
        "version": LABELS_VERSION,
        "card": score_fields,
        "profile": profile,
        "core": core,
        "halo": halo.sides,
        "stitch": stitch,
        # Without cuts keys are those of earlier versions. The size of a chip affects the last bits of scores.
        **({} if cut is None else {"cut": cut}),
    }
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()


def plan_recipe(plan: Plan, profile: Profile) -> str:
    """Return the recipe digest of a run with an execution profile."""
    return recipe_digest(plan.score_fields, profile.to_json(), plan.core, plan.halo, plan.stitch, plan.cut)


def sheet_key(
    recipe: str,
    chip: Chip,
    lattice: Lattice,
    sheet: tuple[int, int],
    stitch: StitchMethod,
    *,
    with_position: bool = False,
) -> str:
    """Compute the content key of a sheet.

    Args:
        recipe: Digest of everything except pixels, see `recipe_digest`.
        chip: The sheet's read window.
        lattice: The tiles of the raster.
        sheet: Row and column of the sheet.
        stitch: How tiles are stitched.
        with_position: Whether the stored entry contains raster coordinates, as instances do; then the position is part of
            the key.
    """
    window = lattice.sheet_window(*sheet)
    ring = stitch_ring(stitch)
    rows, cols = lattice.shape
    tiles = lattice.sheet_tiles(*sheet, ring)
    # Blending stops at the raster's edges, so they belong to the key; cropped cores do not depend on them.
    edges = [tiles[0][0] == 0, tiles[0][1] == 0, tiles[-1][0] == rows - 1, tiles[-1][1] == cols - 1]
    shape = [
        window.height,
        window.width,
        window.row_off - chip.window.row_off,
        window.col_off - chip.window.col_off,
        *chip.pixels.shape,
        chip.pixels.dtype.str,
        *(edges if ring else []),
        *([window.row_off, window.col_off] if with_position else []),
    ]
    digest = hashlib.sha256(f"{recipe}{json.dumps(shape)}".encode())
    digest.update(np.ascontiguousarray(chip.pixels).data)
    digest.update(np.packbits(chip.valid).data)
    return digest.hexdigest()
