"""Areas of interest on rasters: pixel centres decide, and windows agree."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio.features
import shapely
from truth_cases import SMALL, as_file, blobs, in_crs

from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref
from terraseam.tiles.instances.resolve import ResolvedInstance
from terraseam.tiles.vectors.aoi import (
    AreaOfInterest,
    area_on,
    clip_instance,
    sheets_in,
    sheets_that_see,
    tiles_that_see,
)


def whole(georef):
    return Window(0, 0, georef.height, georef.width)


def random_window(rng, georef):
    row, col = rng.integers(-20, [georef.height, georef.width]).tolist()
    return Window(row, col, *rng.integers(1, 150, 2).tolist())


@pytest.mark.parametrize("name", SMALL)
def test_the_pixels_are_those_of_rasterios_geometry_mask(name):
    georef = SMALL[name]
    polygons = blobs(georef, 25, seed=3)
    area = area_on(as_file(in_crs(polygons, georef, georef.crs), georef.crs), georef)
    mask = area.mask(whole(georef))
    want = rasterio.features.geometry_mask(area.polygons, mask.shape, rasterio.Affine.identity(), invert=True)
    assert 0.05 < mask.mean() < 0.95 and (mask == want).all()


@pytest.mark.parametrize("name", SMALL)
def test_windows_of_any_size_agree_with_the_whole(name):
    georef = SMALL[name]
    rng = np.random.default_rng(1)
    corners = [
        shapely.box(*(rng.integers(0, 80, 2) + 0.5), *(rng.integers(90, 200, 2) + 0.5)) for _ in range(3)
    ]
    diagonal = shapely.Polygon([(0.5, 0.5), (200.5, 100.5), (0.5, 200.5)])  # passes through pixel centres
    polygons = np.array([*blobs(georef, 20, seed=4), *corners, diagonal], object)
    area = AreaOfInterest(polygons)
    margin = 200
    big = Window(-margin, -margin, georef.height + 2 * margin, georef.width + 2 * margin)
    mask = area.mask(big)
    for _ in range(60):
        window = random_window(rng, georef)
        assert (area.mask(window) == mask[window.within(big)]).all(), window


def test_centres_on_an_edge_are_on_the_same_side_in_any_window():
    """Edges that go through all centres of a diagonal: one rounding more or less and a pixel changes sides."""
    starts = [(1 / 3, 1 / 3), (0.1, 0.1), (1e-3, 1e-3), (7 / 9, 7 / 9)]
    wedges = [shapely.Polygon([(x, y), (x + 5000, y + 5000), (x, y + 5000)]) for x, y in starts]
    windows = [Window(place, place, 60, 70) for place in range(0, 4900, 61)]
    for wedge in wedges:
        area = AreaOfInterest(np.array([wedge], object))
        whole_mask = area.mask(Window(0, 0, 5000, 5000))
        for window in windows:
            rows, cols = window.within(Window(0, 0, 5000, 5000))
            assert (area.mask(window) == whole_mask[rows, cols]).all(), (wedge, window)


def test_what_touches_and_what_overlaps_is_one_area():
    left, right, over = shapely.box(0, 0, 10.5, 20), shapely.box(10.5, 0, 20, 20), shapely.box(5, 5, 15, 15)
    mask = AreaOfInterest(np.array([left, right, over, right], object)).mask(Window(0, 0, 20, 20))
    assert mask.all()


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857", "EPSG:3035"])
def test_edges_are_straight_in_the_crs_of_the_file(crs):
    georef = SMALL["utm"]
    large = SMALL["utm_large"]
    for grid, polygons in ((georef, blobs(georef, 12, seed=5)), (large, [shapely.box(20, 30, 400, 250)])):
        file = as_file(in_crs(polygons, grid, crs), crs)
        mask = area_on(file, grid).mask(whole(grid))
        dense = [shapely.segmentize(polygon, shapely.length(polygon) / 4000) for polygon in file.polygons]
        exact = area_on(as_file(dense, crs), grid).mask(whole(grid))
        edge = rasterio.features.geometry_mask(
            [polygon.boundary.buffer(0.25) for polygon in area_on(file, grid).polygons],
            mask.shape, rasterio.Affine.identity(), invert=True, all_touched=True,
        )  # fmt: skip
        assert mask.any() and not (mask != exact)[~edge].any()


def test_long_edges_of_another_crs_bend():
    """A parallel is no straight line in UTM: an undensified chord would be off by many pixels."""
    grid = SMALL["utm_large"]
    georef = grid.__class__(grid.crs, (100.0, 0.0, 250_000.0, 0.0, -100.0, 5_600_000.0), 5000, 5000)
    middle = georef.to_lonlat(np.array([[2500.0, 2500.0]]))[0]
    box = shapely.box(middle[0] - 3, middle[1] - 1, middle[0] + 3, middle[1] + 1)
    area = area_on(as_file([box], "EPSG:4326"), georef)
    rng = np.random.default_rng(2)
    for window in (Window(int(r), int(c), 40, 40) for r, c in rng.integers(0, 4960, (60, 2))):
        cols, rows = np.meshgrid(np.arange(40) + window.col_off + 0.5, np.arange(40) + window.row_off + 0.5)
        lonlat = georef.to_lonlat(np.stack([cols.ravel(), rows.ravel()], axis=1))
        want = (np.abs(lonlat - middle) < [3, 1]).all(axis=1).reshape(40, 40)
        assert (area.mask(window) != want).mean() < 0.01
    chord = shapely.transform(box, georef.from_lonlat)
    assert shapely.symmetric_difference(chord, shapely.union_all(area.polygons)).area > 50_000


@pytest.mark.parametrize("name", SMALL)
def test_windows_that_have_a_pixel_are_never_left_out(name):
    georef = SMALL[name]
    rng = np.random.default_rng(6)
    area = AreaOfInterest(blobs(georef, 4, seed=6))
    windows = [random_window(rng, georef) for _ in range(300)]
    met = area.meets(windows)
    held = np.array([area.mask(window).any() for window in windows])
    assert held.any() and not held.all()
    assert not (held & ~met).any()
    assert (met & ~held).sum() < 15
    for window, has in zip(windows, held.tolist(), strict=True):
        assert area.holds_pixel(window) == has


def test_an_area_along_a_line_between_sheets_meets_one_side_only():
    lattice = Lattice(4000, 5000, 512, Halo(64, 64, 64, 64), 2)
    area = AreaOfInterest(np.array([shapely.box(1024.0, 1023.95, 2048.05, 2048.0)], object))
    assert sheets_in(area, lattice) == [(1, 1)]
    assert len(tiles_that_see(area, lattice)) == 16
    assert sheets_that_see(area, lattice) == [(row, col) for row in range(3) for col in range(3)]
    nothing = AreaOfInterest(np.array([], object))
    assert sheets_in(nothing, lattice) == [] and not nothing.holds_pixel(lattice.raster)


def test_an_area_between_pixel_centres_holds_none():
    small = AreaOfInterest(np.array([shapely.box(3.6, 3.6, 4.4, 4.4)], object))
    assert not small.holds_pixel(Window(0, 0, 5000, 7000))
    sliver = AreaOfInterest(np.array([shapely.box(0.6, 3.6, 6000, 4.4)], object))
    assert not sliver.holds_pixel(Window(0, 0, 5000, 7000))
    assert AreaOfInterest(np.array([shapely.box(6999.4, 4999.4, 7001, 5002)], object)).holds_pixel(
        Window(0, 0, 5000, 7000)
    )


def test_things_are_cut_to_the_area():
    area = AreaOfInterest(np.array([shapely.box(0, 0, 12, 100)], object))
    mask = np.ones((5, 8), bool)
    thing = ResolvedInstance(1, 200, ((Window(3, 10, 5, 8), mask),), (), Ref(0, 0, 0))
    cut = clip_instance(thing, area)
    assert cut is not None and cut.parts[0][0] == Window(3, 10, 5, 2) and (cut.label, cut.score) == (1, 200)
    assert (
        clip_instance(ResolvedInstance(1, 200, ((Window(3, 12, 5, 8), mask),), (), Ref(0, 0, 0)), area)
        is None
    )
    parts = ((Window(3, 4, 5, 8), mask), (Window(3, 12, 5, 8), mask))
    cut = clip_instance(ResolvedInstance(1, 200, parts, ((0, 0), (0, 1)), Ref(0, 0, 0)), area)
    assert cut is not None and cut.cores == ((0, 0),) and len(cut.parts) == 1
