import tracemalloc

import numpy as np
import pyproj
import pytest
import scipy.ndimage
from georefs import GEOREFS
from label_maps import random_labels
from sieve_cases import by_sheets, even
from tiers import some

from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.regions.pixel_sizes import pixel_areas, pixel_sizes
from terraseam.tiles.regions.sieve import LARGE, sieve_sheet
from terraseam.tiles.regions.trace import frame

NODATA = 255


def growing(least):
    """Pixels that grow to the south."""
    return lambda first: (LARGE // least) * (1 + first[:, 0]) // 8


def checkerboard(side):
    return (np.add.outer(np.arange(side), np.arange(side)) % 2).astype(np.uint8)


def whole(labels, sizes):
    return by_sheets(labels, max(labels.shape), sizes)


def regions_of(labels):
    """Masks of all regions."""
    for label in np.unique(labels[labels != NODATA]):
        numbers, count = scipy.ndimage.label(labels == label)
        for number in range(1, count + 1):
            yield numbers == number


def one_by_one(labels, sizes):
    """The rule of the sieve, word for word: all regions are looked for again after each that is dissolved."""
    labels = labels.copy()
    areas = np.zeros(labels.shape, object)
    for region in regions_of(labels):
        first = np.argwhere(region)[0]
        areas[region] = int(sizes(first[None])[0])
    while True:
        small = []
        for region in regions_of(labels):
            size = sum(areas[region].tolist())
            shared = borders(labels, region)
            if size < LARGE and shared:
                small.append((size, tuple(np.argwhere(region)[0]), region, shared))
        if not small:
            return labels
        _, _, region, shared = min(small, key=lambda one: one[:2])
        labels[region] = min(shared, key=lambda label: (-shared[label], label))


def borders(labels, region):
    """Pixel edges that a region shares with pixels of each label."""
    wide, inside = np.pad(labels, 1, constant_values=NODATA), np.pad(region, 1)
    shared = {}
    for shift in ((0, 1), (0, -1), (1, 1), (1, -1)):
        there = np.roll(wide, shift[1], axis=shift[0])
        edge = inside & ~np.roll(inside, shift[1], axis=shift[0])
        for label in there[edge].tolist():
            if label != NODATA:
                shared[label] = shared.get(label, 0) + 1
    return shared


@pytest.mark.parametrize("seed", some(range(40), 10))
def test_small_regions_are_dissolved_by_the_rule(seed):
    labels = random_labels(seed)[:17, :16]
    least = [2, 4, 9, 30][seed % 4]
    for sizes in (even(least), growing(least)):
        assert np.array_equal(whole(labels, sizes), one_by_one(labels, sizes))


@pytest.mark.parametrize("seed", range(60))
def test_sheets_do_not_matter(seed):
    labels = random_labels(seed)
    rng = np.random.default_rng(seed)
    sizes = (even, growing)[seed % 2](int(rng.integers(2, 60)))
    expected = whole(labels, sizes)
    for size in rng.integers(1, 33, 2):
        assert np.array_equal(by_sheets(labels, size, sizes, rng.permutation), expected)


@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_no_small_region_with_a_neighbour_is_left(seed):
    labels = random_labels(seed)
    found = whole(labels, even(12))
    assert np.array_equal(found == NODATA, labels == NODATA)
    for region in regions_of(found):
        assert region.sum() >= 12 or not borders(found, region)


def test_the_longest_border_decides_and_of_equals_the_lowest_label():
    labels = np.array([[1, 1, 1, 1], [1, 5, 3, 3], [2, 3, 3, 3]], np.uint8)
    assert whole(labels, even(3))[1, 1] == 1
    assert whole(labels, even(3))[2, 0] == 1


def test_a_region_between_nodata_stays():
    labels = np.full((5, 5), NODATA, np.uint8)
    labels[2, 2] = 1
    assert np.array_equal(whole(labels, even(10)), labels)


def test_nothing_is_small_enough_to_nothing():
    labels = random_labels(8)
    assert np.array_equal(whole(labels, even(1)), labels)


@pytest.mark.parametrize("name", ["utm", "degrees", "web_mercator", "polar", "rotated", "south_up"])
def test_sizes_of_pixels_are_their_areas_on_the_ground(name):
    georef = GEOREFS[name]
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, georef.height, 9), rng.integers(0, georef.width, 9)], axis=1)
    areas = pixel_areas(georef, pixels)
    geod = pyproj.Geod(ellps="WGS84")
    for (row, col), area in zip(pixels, areas, strict=True):
        ring = np.array([[col, row], [col + 1, row], [col + 1, row + 1], [col, row + 1]])
        expected, _ = geod.polygon_area_perimeter(*georef.to_lonlat(ring).T)
        assert area == pytest.approx(abs(expected), rel=1e-3)
    sizes = pixel_sizes(georef, 7 * float(areas[0]))(pixels)
    assert sizes[0] * 7 == pytest.approx(LARGE, abs=7)
    assert pixel_sizes(georef, 1e-9)(pixels).tolist() == [LARGE] * 9


def test_sizes_of_pixels_do_not_depend_on_how_many_are_measured_at_once(monkeypatch):
    pixels = np.stack([np.arange(40), 3 * np.arange(40)], axis=1)
    sizes = pixel_sizes(GEOREFS["degrees"], 1e6)
    expected = sizes(pixels)
    monkeypatch.setattr("terraseam.tiles.regions.pixel_sizes.AT_ONCE", 7)
    assert len(np.unique(expected)) > 9 and np.array_equal(sizes(pixels), expected)


def test_a_sieve_of_nothing_is_refused():
    with pytest.raises(ValueError, match="larger than 0 m2 to be large, got 0"):
        pixel_sizes(GEOREFS["utm"], 0)


def test_of_regions_that_have_grown_to_one_size_the_first_goes_first():
    labels = np.array([[0, 2, 0], [1, 2, 0], [0, 2, 0]], np.uint8)
    assert np.array_equal(one_by_one(labels, even(8)), np.full((3, 3), 2))
    assert np.array_equal(whole(labels, even(8)), np.full((3, 3), 2))


def test_a_region_is_as_large_as_its_first_pixel_says_wherever_it_is_cut():
    labels = np.ones((40, 9), np.uint8)
    labels[15:25, 4] = 2

    def sizes(first):
        return np.where(first[:, 0] <= 15, LARGE * 0.0995, LARGE * 0.1115).astype(np.int64)

    for size in (5, 16, 40):
        assert (by_sheets(labels, size, sizes) == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 12)])
def test_sheets_and_rasters_without_measured_pixels_stay_empty(shape):
    empty = np.full(shape, NODATA, np.uint8)
    assert np.array_equal(whole(empty, even(9)), empty)
    labels = np.pad(random_labels(20)[:9, :9], ((0, 8), (0, 15)), constant_values=NODATA)
    for size in (3, 8, 24):
        assert np.array_equal(by_sheets(labels, size, even(9)), whole(labels, even(9)))


def test_small_regions_that_all_hang_together_take_little_memory():
    labels = CodedLabels.plain(frame(checkerboard(300)))
    whole(checkerboard(5), even(9))
    tracemalloc.start()
    sieved = sieve_sheet(labels, (0, 0), even(9))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.bincount(sieved.labels.codes.ravel()).max() > 45_000
    assert peak / 300**2 < 350  # bytes a region
