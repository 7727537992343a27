"""Scenes of planted objects, and detectors that see only their tile."""

from __future__ import annotations

import numpy as np

from terraseam.models.detection.instances import ChipInstance
from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.instances.instances import SheetInstances, tile_instances
from terraseam.tiles.instances.links import link_sheet
from terraseam.tiles.instances.resolve import gather_views, resolve_instance
from terraseam.tiles.labels.components import find_components


def disk(height, width, row, col, radius):
    rows, cols = np.ogrid[:height, :width]
    return (rows + 0.5 - row) ** 2 + (cols + 0.5 - col) ** 2 <= radius**2


def bar(height, width, centre, size, angle):
    """Return a rectangle of ``(long, short)`` sides, rotated by an angle in degrees."""
    rows, cols = np.ogrid[:height, :width]
    down, across = rows + 0.5 - centre[0], cols + 0.5 - centre[1]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return (abs(across * c + down * s) <= size[0] / 2) & (abs(down * c - across * s) <= size[1] / 2)


def plant(masks):
    """Return a scene: the number of each pixel's object, from 1; 0 for none."""
    scene = np.zeros(masks[0].shape, np.int32)
    for number, mask in enumerate(masks, start=1):
        scene[mask] = number
    return scene


def random_scene(height, width, seed, count=14, largest=40):
    """Return disks and bars that do not touch, some of them at the edges."""
    rng = np.random.default_rng(seed)
    scene = np.zeros((height, width), np.int32)
    near = np.zeros((height, width), bool)
    for _ in range(400):
        if scene.max() == count:
            break
        row, col = rng.integers(-4, height + 4), rng.integers(-4, width + 4)
        size = rng.uniform(8, largest)
        if rng.random() < 0.5:
            mask = disk(height, width, row, col, size / 2)
            wide = disk(height, width, row, col, size / 2 + 4)
        else:
            short, angle = rng.uniform(8, max(9, size)), rng.uniform(0, 180)
            mask = bar(height, width, (row, col), (size, short), angle)
            wide = bar(height, width, (row, col), (size + 8, short + 8), angle)
        if min(mask.any(0).sum(), mask.any(1).sum()) >= 8 and not (near & wide).any():
            scene[mask] = scene.max() + 1
            near |= wide
    return scene


class Detector:
    """A perfect detector of the connected pieces of each object visible on a chip.

    Args:
        jitter: Whether masks are shifted, grown or shrunk by a pixel, differently for each tile and object.
    """

    def __init__(self, jitter=False, seed=0):
        self.jitter = jitter
        self.seed = seed

    def find(self, chip, tile):
        found = []
        for number in np.unique(chip[chip > 0]).tolist():
            labels = (chip == number).astype(np.uint8)
            components = find_components(labels, labels, np.arange(256) == 1)
            numbers = components.numbers[1:-1, 1:-1]
            for piece in range(1, len(components.pixels) + 1):
                mask = self._moved(numbers == piece, (number, piece, *tile))
                rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                if rows.size:
                    cut = mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
                    label = 1 + number % 2
                    found.append(ChipInstance(int(rows[0]), int(cols[0]), cut, label, 0.5 + number / 1000))
        return found

    def _moved(self, mask, key):
        if not self.jitter:
            return mask
        rng = np.random.default_rng([self.seed, *key])
        how = int(rng.integers(6))
        framed = np.pad(mask, 1)
        moved = {
            (0, 1): framed[1:-1, 2:],
            (0, -1): framed[1:-1, :-2],
            (1, 0): framed[2:, 1:-1],
            (-1, 0): framed[:-2, 1:-1],
        }
        if how < 4:
            return list(moved.values())[how]
        grown = mask | np.logical_or.reduce(list(moved.values()))
        # At the chip's edge the mask may continue, and must not shrink.
        ringed = np.pad(mask, 1, mode="edge")
        inner = [ringed[1:-1, 2:], ringed[1:-1, :-2], ringed[2:, 1:-1], ringed[:-2, 1:-1]]
        return grown if how == 4 else mask & np.logical_and.reduce(inner)


def mirrored(scene, window):
    rows = mirror_index(window.row_off, window.row_end, scene.shape[0])
    cols = mirror_index(window.col_off, window.col_end, scene.shape[1])
    return scene[np.ix_(rows, cols)]


def find_things(scene, lattice, detector, valid=None):
    """Return the instances of a scene, sheet by sheet, as the pipeline finds them."""
    valid = np.ones(scene.shape, bool) if valid is None else valid
    sheets = {}
    for sheet in lattice.sheets():
        found = []
        for tile in lattice.sheet_tiles(*sheet):
            read = lattice.read_window(*tile)
            chip, on_chip = mirrored(scene, read), mirrored(valid, read)
            found += tile_instances(detector.find(np.where(on_chip, chip, 0), tile), lattice, tile, on_chip)
        window = lattice.sheet_window(*sheet)
        stored = SheetInstances(valid[window.within(lattice.raster)], tuple(found))
        sheets[sheet] = SheetInstances.from_bytes(stored.to_bytes())
    by_tile = {tile: found for stored in sheets.values() for tile, found in stored.by_tile().items()}
    links = [link for sheet in sheets for link in link_sheet(lattice.sheet_tiles(*sheet), by_tile, lattice)]
    views = {view.ref: view for found in by_tile.values() for view in found}
    groups = gather_views(links)
    grouped = {ref for group in groups for ref in group}
    groups += [(ref,) for ref in views if ref not in grouped]
    return [resolve_instance([views[ref] for ref in group], lattice) for group in sorted(groups)]


def mask_of(thing, shape):
    """Return the mask of an instance on the whole raster."""
    mask = np.zeros(shape, bool)
    for window, part in thing.parts:
        rows, cols = slice(window.row_off, window.row_end), slice(window.col_off, window.col_end)
        assert not (mask[rows, cols] & part).any()
        mask[rows, cols] |= part
    return mask


def overlaps(things, scene):
    """Return, for each planted object, its IoU with the best instance found."""
    masks = [mask_of(thing, scene.shape) for thing in things]
    shares = []
    for number in range(1, scene.max() + 1):
        planted = scene == number
        if not planted.any():
            continue
        shares.append(max(((planted & mask).sum() / (planted | mask).sum() for mask in masks), default=0.0))
    return shares
