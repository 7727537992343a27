import numpy as np
import pytest
from label_maps import (
    assert_same_regions,
    by_sheets,
    keeping,
    random_labels,
    random_scores,
    trace_sheets,
    whole_map,
)

from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.seams import merge_seams


def spiral(size):
    """A way one pixel wide that winds to the centre, and the ground around it."""
    labels = np.zeros((size, size + 2), np.uint8)
    row, col, step = 0, 0, 0
    moves = ((0, 1), (1, 0), (0, -1), (-1, 0))
    labels[0, 0] = 1
    while True:
        down, right = moves[step % 4]
        way = 0
        while _free(labels, row + down, col + right, (down, right)):
            row, col, way = row + down, col + right, way + 1
            labels[row, col] = 1
        if way < 2:
            return labels
        step += 1


def _free(labels, row, col, move):
    height, width = labels.shape
    if not (0 <= row < height and 0 <= col < width):
        return False
    ahead_row, ahead_col = row + move[0], col + move[1]
    inside = 0 <= ahead_row < height and 0 <= ahead_col < width
    return not (inside and labels[ahead_row, ahead_col])


def grid_of_holes(height, width):
    labels = np.ones((height, width), np.uint8)
    labels[1:-1:2, 1:-1:2] = 0
    return labels


MAPS = {
    "spiral": spiral(31),
    "checkerboard": (np.indices((23, 37)).sum(axis=0) % 2).astype(np.uint8),
    "holes": grid_of_holes(35, 27),
    "one region": np.full((40, 23), 3, np.uint8),
    "one row": np.repeat(np.arange(9, dtype=np.uint8), 4)[None] % 3,
    "nested frames": np.zeros((33, 41), np.uint8),
}
for inset in range(0, 16, 3):
    MAPS["nested frames"][inset : 33 - inset, inset : 41 - inset] = inset % 2 + 1


@pytest.mark.parametrize("seed", range(60))
def test_sheets_give_the_same_arrays_as_one_pass(seed):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    keep = keeping(0) if seed % 4 == 0 else keeping()
    rng = np.random.default_rng(seed)
    expected = whole_map(labels, scores, keep)
    for size in rng.integers(2, 33, 2):
        assert_same_regions(by_sheets(labels, scores, size, keep, order=rng.permutation), expected)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_hard_shapes_are_joined_across_seams(name, size):
    labels = MAPS[name]
    scores = random_scores(labels, 7)
    expected = whole_map(labels, scores, keeping())
    assert_same_regions(by_sheets(labels, scores, size, keeping()), expected)


def test_a_region_that_meets_itself_diagonally_on_two_sheets_is_one_ring():
    labels = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], np.uint8)
    for size in (1, 2, 3):
        joined = by_sheets(labels, labels, size, keeping(0))
        assert np.diff(joined.region_offsets).tolist() == [3]


def test_regions_of_equal_label_that_touch_only_at_a_corner_are_whole_on_their_sheets():
    labels = np.array([[1, 0], [0, 1]], np.uint8)
    traces = trace_sheets(labels, labels, 1, keeping(0))
    assert [len(trace.fragments) for trace in traces.values()] == [0, 0, 0, 0]
    assert [len(trace.closed) for trace in traces.values()] == [1, 0, 0, 1]


def test_the_order_of_sheets_does_not_matter_to_merge_seams():
    labels = random_labels(2)
    traces = trace_sheets(labels, labels, 5, keeping())
    forward = merge_seams({key: traces[key].summary for key in traces})
    backward = merge_seams({key: traces[key].summary for key in reversed(traces)})
    for key in traces:
        assert np.array_equal(forward[key].regions, backward[key].regions)
        assert np.array_equal(forward[key].groups, backward[key].groups)


def test_fragments_survive_being_packed():
    labels = random_labels(5)
    for trace in trace_sheets(labels, random_scores(labels, 5), 9, keeping()).values():
        found = Fragments.from_bytes(trace.fragments.to_bytes())
        assert_same_regions(found.parts, trace.fragments.parts)
    assert Fragments.from_bytes(trace.fragments.to_bytes()).parts.marks.dtype == np.uint8


def test_nothing_closes_to_nothing():
    assert_same_regions(close_regions([]), Regions.empty())


def test_a_missing_first_fragment_is_an_error():
    labels = np.ones((4, 6), np.uint8)
    traces = trace_sheets(labels, labels, 3, keeping())
    homes = merge_seams({key: trace.summary for key, trace in traces.items()})
    parts = [(traces[key].fragments, homes[key]) for key in traces if key != (0, 0)]
    with pytest.raises(ValueError, match="first fragment of the region at row 0, column 0 is missing"):
        close_regions(parts)


def test_sheets_of_unlike_sides_are_an_error():
    tall = trace_sheets(np.ones((4, 8), np.uint8), np.ones((4, 8), np.uint8), 4, keeping())
    low = trace_sheets(np.ones((3, 8), np.uint8), np.ones((3, 8), np.uint8), 4, keeping())
    with pytest.raises(ValueError, match=r"4 px long on its right side, but sheet \(0, 1\) beside it 3 px"):
        merge_seams({(0, 0): tall[0, 0].summary, (0, 1): low[0, 1].summary})
