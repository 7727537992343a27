"""Rasters on grids of other pixels: the same pixels in any window, whatever the raster and its nodata."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio
import rasterio.warp
from georefs import GEOREFS
from rasterio.enums import Resampling
from smooth_rasters import encodings, smooth
from tiers import some

from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.raster.regrid import Regrid
from terraseam.tiles.raster.source import RasterSource

FILL = (7.0, 8.0, 9.0)
STEPS = (1.003, 2.0, 2.7, 9.3, 0.6, 0.19)


def source_of(path, step, bands=(1, 2, 3)):
    regrid = Regrid(inspect_raster(str(path)).georef, step)
    return RasterSource(str(path), bands, FILL[: len(bands)], regrid), regrid.new


def read_all(path, step):
    source, grid = source_of(path, step)
    return source.read(Window(0, 0, grid.height, grid.width))


def random_windows(grid, count, seed=0):
    """Windows all over a grid, some of one pixel, some hanging over its edges."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        row, col = rng.integers(-20, [grid.height, grid.width])
        height, width = rng.integers(1, [min(400, grid.height + 30), min(400, grid.width + 30)])
        yield Window(int(row), int(col), int(height), int(width))


@pytest.mark.parametrize("step", some(STEPS, len(STEPS) - 1))
def test_any_window_shows_the_pixels_of_the_whole(make_raster, step):
    path = make_raster(pixels=smooth(611, 703), mask=np.random.default_rng(1).random((611, 703)) > 0.2)
    source, grid = source_of(path, step)
    margin = 430
    big = source.read(Window(-margin, -margin, grid.height + 2 * margin, grid.width + 2 * margin))
    for window in random_windows(grid, 25):
        chip = source.read(window)
        where = window.within(big.window)
        assert (chip.pixels == big.pixels[where]).all() and (chip.valid == big.valid[where]).all(), window


@pytest.mark.parametrize("step", [2.0, 3.0, 8.0])
def test_larger_pixels_are_means_of_what_they_cover(make_raster, step):
    pixels = smooth(48 * 12, 48 * 14)
    chip = read_all(make_raster(pixels=pixels), step)
    side = int(step)
    rows, cols = pixels.shape[0] // side, pixels.shape[1] // side
    means = pixels.reshape(rows, side, cols, side, 3).mean((1, 3))
    assert chip.pixels.shape == means.shape
    assert np.abs(chip.pixels - means).max() < 1e-3


@pytest.mark.parametrize("step", [0.6, 0.19, 2.7])
def test_resampling_is_gdals_within_a_grey_level(make_raster, step):
    path = make_raster(pixels=smooth(301, 433))
    chip = read_all(path, step)
    _, grid = source_of(path, step)
    theirs = np.zeros((3, grid.height, grid.width), "float32")
    method = Resampling.average if step > 1 else Resampling.bilinear
    with rasterio.open(path) as dataset:
        rasterio.warp.reproject(
            dataset.read().astype("float32"), theirs, src_transform=dataset.transform, src_crs=dataset.crs,
            dst_transform=rasterio.Affine(*grid.transform), dst_crs=dataset.crs, resampling=method,
        )  # fmt: skip
    inner = np.s_[8:-8, 8:-8]
    assert np.abs(chip.pixels[inner] - np.moveaxis(theirs, 0, -1)[inner]).max() < 1


@pytest.mark.parametrize("step", [1.7, 7.9, 0.4])
def test_a_row_is_what_one_formula_says_also_where_blocks_meet(make_raster, step):
    values = np.random.default_rng(4).integers(0, 60_000, 2000)
    pixels = np.broadcast_to(values[None, :, None], (40, 2000, 3)).astype("uint16")
    row = read_all(make_raster(pixels=pixels), step).pixels[2, :, 0].astype(float)
    centres = (np.arange(row.size) + 0.5) * step
    if step > 1:
        integral = np.concatenate([[0.0], np.cumsum(values)])
        ends = np.interp(np.stack([centres - step / 2, centres + step / 2]), np.arange(2001), integral)
        want = (ends[1] - ends[0]) / step
    else:
        want = np.interp(centres, np.arange(2000) + 0.5, values)
    assert row.size > 250 and np.abs(row - want)[:-1].max() < 0.05


@pytest.mark.parametrize("step", [0.6, 2.7])
def test_all_encodings_of_nodata_give_the_same_pixels(make_raster, step):
    chips = {path.name: read_all(path, step) for path in encodings(make_raster)}
    first = chips.pop("value.tif")
    assert 0.1 < (~first.valid).mean() < 0.5
    for name, chip in chips.items():
        assert (chip.valid == first.valid).all(), name
        assert chip.pixels.dtype == np.float32 and (chip.pixels == first.pixels).all(), name


def test_a_pixel_is_measured_where_half_of_it_was_and_unmeasured_samples_take_no_part(make_raster):
    pixels = np.full((4, 8, 3), 60, "uint8")
    pixels[:2, 0] = 0  # half of the first new pixel
    pixels[0, 2:4] = pixels[1, 2] = 0  # three quarters of the second
    pixels[:2, 4:6, 1] = 0  # one band of the third
    chip = read_all(make_raster(pixels=pixels, nodata=0), 2.0)
    assert chip.valid.tolist() == [[True, False, True, True], [True] * 4]
    assert chip.pixels[0].tolist() == [[60] * 3, [7, 8, 9], [60, 8, 60], [60] * 3]


def test_overviews_are_never_read(make_raster):
    path = make_raster(pixels=smooth(600, 700), tiled=True)
    want = read_all(path, 4.0)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    with rasterio.open(path) as dataset:
        assert dataset.overviews(1) == [2, 4]
    assert (read_all(path, 4.0).pixels == want.pixels).all()


@pytest.mark.parametrize("name", GEOREFS)
@pytest.mark.parametrize("step", [3.7, 0.3])
def test_the_grid_begins_at_the_corner_and_has_the_gsd(name, step):
    old = GEOREFS[name]
    new = Regrid(old, step).new
    corners = np.array([[0, 0], [10, 0], [0, 10]])
    assert np.allclose(
        new.to_map(corners), old.to_map(corners * step), rtol=0, atol=1e-9 * abs(old.transform[2])
    )
    assert new.gsd() == pytest.approx(old.gsd() * step, rel=2e-3)
    last = np.array([[new.width - 0.5, new.height - 0.5]]) * step
    assert (last <= [old.width, old.height]).all() and (last + step > [old.width, old.height]).all()


@pytest.mark.parametrize("name", ["degrees", "south_up", "rotated"])
def test_pixels_lie_where_the_grid_says(make_raster, name):
    """Values that are places on the map come back as the places of the new pixels' centres."""
    georef = GEOREFS[name]
    height, width = 90, 130
    centres = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
    origin = georef.to_map(np.zeros((1, 2)))
    places = (georef.to_map(centres) - origin).reshape(height, width, 2)
    path = make_raster(
        pixels=places.astype("float32"), crs=georef.crs, transform=rasterio.Affine(*georef.transform)
    )
    for step in (3.0, 0.5):
        source, grid = source_of(path, step, (1, 2))
        chip = source.read(Window(4, 4, 20, 30))
        where = np.stack(np.meshgrid(np.arange(4, 34) + 0.5, np.arange(4, 24) + 0.5), axis=-1).reshape(-1, 2)
        want = (grid.to_map(where) - origin).reshape(20, 30, 2)
        assert np.abs(chip.pixels - want).max() < 1e-3 * np.abs(places).max()


def test_blocks_bound_what_is_read_at_once():
    grid = Georef("EPSG:32633", (0.01, 0, 4e5, 0, -0.01, 5e6), 100_000, 120_000)
    for step, side in ((0.3, 256), (8, 256), (9, 128), (100, 16), (5000, 1)):
        assert Regrid(grid, step).block == side
    read = []

    def read_old(window):
        read.append(window.pixels)
        return np.ones((*window.shape, 1), "uint8"), None

    Regrid(grid, 100).read(Window(10, 10, 40, 40), read_old)
    assert max(read) <= 2048**2


def test_a_source_on_another_grid_pickles(make_raster):
    source, grid = source_of(make_raster(pixels=smooth(60, 70)), 1.5)
    copy = pickle.loads(pickle.dumps(source))
    window = Window(0, 0, grid.height, grid.width)
    assert (copy.read(window).pixels == source.read(window).pixels).all()


def test_a_raster_smaller_than_a_new_pixel_is_one_pixel():
    new = Regrid(Georef("EPSG:32633", (1, 0, 4e5, 0, -1, 5e6), 3, 5), 40.0).new
    assert (new.height, new.width) == (1, 1)
    with pytest.raises(ValueError, match="a new pixel has a side"):
        Regrid(new, 0.0)
