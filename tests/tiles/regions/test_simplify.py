import numpy as np
import pytest
import shapely
from label_maps import assert_same_regions, by_sheets, keeping, random_labels, random_scores, whole_map
from tiers import some

from terraseam.tiles.regions.corners import Corners, find_corners
from terraseam.tiles.regions.regions import NODE, PINNED
from terraseam.tiles.regions.simplify import simplify
from terraseam.tiles.regions.tolerance import Tolerance

SQUARE = ((1.0, 0.0), (0.0, -1.0))


def tolerance(metres, ground=SQUARE):
    return Tolerance(metres, ground)


def diagonal_halves(height, width, rise=0.37):
    """Two regions on both sides of a slanted line."""
    rows, cols = np.indices((height, width))
    return (cols > rows * rise + 5).astype(np.uint8)


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("metres", [0.5, 1, 2.5])
def test_neighbours_still_share_their_borders(seed, metres):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    before = whole_map(labels, scores, keeping())
    after = whole_map(labels, scores, keeping(), tolerance(metres))
    polygons = after.polygons()
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)
    assert shapely.area(polygons).sum() == pytest.approx(np.count_nonzero(labels != 255), abs=1e-6)
    for name in ("labels", "first", "pixels", "score_sum", "region_offsets"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


@pytest.mark.parametrize("seed", some(range(60), 20))
def test_sheets_give_the_same_lines_as_one_pass(seed):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    rng = np.random.default_rng(seed)
    given = tolerance(rng.uniform(0.5, 3))
    expected = whole_map(labels, scores, keeping(), given)
    for size in rng.integers(2, 33, 2):
        assert_same_regions(by_sheets(labels, scores, size, keeping(), rng.permutation, given), expected)


@pytest.mark.parametrize("seed", range(0, 60, 4))
def test_the_choice_of_classes_does_not_change_a_line(seed):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    all_of_them = whole_map(labels, scores, keeping(), tolerance(1.5))
    some = whole_map(labels, scores, keeping(0), tolerance(1.5))
    assert_same_regions(some, all_of_them.take(np.flatnonzero(all_of_them.labels != 0)))


@pytest.mark.parametrize("metres", [0.6, 1, 4])
def test_no_vertex_lies_farther_from_its_line_than_the_tolerance(metres):
    found = 0
    for seed in range(0, 60, 3):
        labels = random_labels(seed)
        before = whole_map(labels, labels, keeping()).polygons()
        after = whole_map(labels, labels, keeping(), tolerance(metres)).polygons()
        for one, other in zip(before, after, strict=True):
            found = max(found, shapely.hausdorff_distance(one.boundary, other.boundary))
    assert found <= metres + 1e-9
    assert found > 0.7 or metres == 0.6


def test_a_slanted_border_becomes_straight():
    labels = diagonal_halves(60, 40)
    before = whole_map(labels, labels, keeping())
    after = whole_map(labels, labels, keeping(), tolerance(1.5))
    assert len(before.coords) > 80
    assert len(after.coords) == 10
    assert shapely.area(after.polygons()) == pytest.approx(shapely.area(before.polygons()), rel=0.03)


def test_the_tolerance_is_measured_on_the_ground():
    labels = diagonal_halves(60, 40, rise=0.8)
    wide_pixels = tolerance(1, ((3.0, 0.0), (0.0, -1.0)))
    rotated = tolerance(1, ((0.6, 0.8), (0.8, -0.6)))
    plain = whole_map(labels, labels, keeping(), tolerance(1))
    assert len(whole_map(labels, labels, keeping(), wide_pixels).coords) > len(plain.coords)
    assert_same_regions(whole_map(labels, labels, keeping(), rotated), plain)
    assert wide_pixels.pixels == 1
    assert tolerance(2.5, ((0.5, 0.0), (0.0, -0.25))).reach == 20


def test_borders_of_nodata_and_of_the_raster_stay():
    labels = np.full((30, 30), 255, np.uint8)
    rows, cols = np.indices(labels.shape)
    labels[(rows - 15) ** 2 + (cols - 15) ** 2 < 150] = 1
    before = whole_map(labels, labels, keeping())
    assert_same_regions(whole_map(labels, labels, keeping(), tolerance(5)), before)
    assert (before.marks == PINNED).all()


def test_small_regions_do_not_vanish_however_large_the_tolerance():
    labels = np.zeros((21, 34), np.uint8)
    labels[::3, ::2] = 1
    labels[10, 5:20] = 2
    labels[11:14, 19] = 2
    regions = whole_map(labels, labels, keeping(), tolerance(500))
    assert len(regions) == len(whole_map(labels, labels, keeping()))
    assert (shapely.area(regions.polygons()) > 0.4).all()
    assert shapely.coverage_is_valid(regions.polygons())


def test_nodes_stay_where_they_are():
    labels = random_labels(4)
    before = whole_map(labels, labels, keeping())
    after = whole_map(labels, labels, keeping(), tolerance(3))
    nodes = [{tuple(at) for at in regions.coords[(regions.marks & NODE) != 0]} for regions in (before, after)]
    assert nodes[0] == nodes[1]
    assert nodes[0]


def test_corners_are_where_borders_turn_or_meet():
    labels = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [3, 3, 1, 2], [3, 3, 1, 1]], np.uint8)
    assert find_corners(labels, (10, 20)).points().tolist() == [[22, 12], [23, 13]]


@pytest.mark.parametrize("seed", range(8))
def test_near_corners_are_all_those_within_reach_and_none_far_away(seed):
    rng = np.random.default_rng(seed)
    ring = np.array([[3, 2], [90, 2], [90, 140], [3, 140], [3, 2]], np.int32) - 50
    points = rng.integers(-200, 300, (4000, 2))
    reach = int(rng.integers(1, 40))
    near = {tuple(at) for at in Corners.of(points).near(ring, np.array([0, 5]), reach).points().tolist()}
    line = shapely.box(-47, -48, 40, 90).exterior
    for at in set(map(tuple, points.tolist())):
        distance = shapely.distance(shapely.Point(at), line)
        if distance <= reach:
            assert at in near
        if distance > 3 * max(reach, 16) * np.sqrt(2):
            assert at not in near


def test_nothing_is_simplified_to_nothing():
    labels = np.full((2, 2), 255, np.uint8)
    assert len(whole_map(labels, labels, keeping(), tolerance(1))) == 0
    assert len(simplify(whole_map(labels, labels, keeping()), Corners.of(), tolerance(1))) == 0


def test_a_tolerance_of_nothing_is_refused():
    with pytest.raises(ValueError, match="tolerance must be more than 0 m, got 0"):
        Tolerance(0, SQUARE)
