from dataclasses import replace

import numpy as np
import pytest
import rasterio.features
import shapely
from label_maps import (
    assert_same_regions,
    keeping,
    polygons_of,
    polygons_of_rasterio,
    random_labels,
    random_scores,
    whole_map,
)

from terraseam.tiles.regions.regions import NODE, PINNED, Regions
from terraseam.tiles.regions.trace import frame, trace_sheet


@pytest.mark.parametrize("seed", range(60))
def test_polygons_equal_those_of_rasterio(seed):
    labels = random_labels(seed)
    keep = keeping(0) if seed % 4 == 0 else keeping()
    regions = whole_map(labels, random_scores(labels, seed), keep)
    expected = polygons_of_rasterio(labels, keep[labels])
    assert polygons_of(regions) == expected
    assert len(regions) == len(expected)


@pytest.mark.parametrize("seed", range(0, 60, 5))
def test_polygons_are_valid_and_rasterize_to_the_labels(seed):
    labels = random_labels(seed)
    regions = whole_map(labels, random_scores(labels, seed), keeping())
    polygons = regions.polygons()
    assert shapely.is_valid(polygons).all()
    shapes = list(zip(polygons, regions.labels.tolist(), strict=True))
    drawn = np.full_like(labels, 255)
    if shapes:
        drawn = rasterio.features.rasterize(shapes, labels.shape, fill=255, dtype="uint8")
    assert np.array_equal(drawn, labels)


@pytest.mark.parametrize("seed", range(1, 60, 7))
def test_pixels_scores_and_first_pixels_are_those_of_the_region(seed):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    regions = whole_map(labels, scores, keeping())
    polygons = regions.polygons()
    assert np.array_equal(regions.pixels, shapely.area(polygons))
    numbers = rasterio.features.rasterize(
        zip(polygons, range(1, len(regions) + 1), strict=True), labels.shape
    )
    for i in range(len(regions)):
        own = numbers == i + 1
        assert regions.score_sum[i] == scores[own].sum(dtype=np.int64)
        assert tuple(regions.first[i]) == tuple(np.argwhere(own)[0])
    assert (np.diff(regions.first @ [labels.shape[1], 1]) > 0).all()


def test_rings_start_at_their_topmost_leftmost_vertex_and_shells_run_clockwise():
    labels = np.ones((5, 7), np.uint8)
    labels[1, 4] = labels[2, 3] = labels[3, 1:3] = 0
    regions = whole_map(labels, labels, keeping(0))
    rings = [
        regions.coords[start:end].tolist()
        for start, end in zip(regions.ring_offsets[:-1], regions.ring_offsets[1:], strict=True)
    ]
    assert rings == [
        [[0, 0], [7, 0], [7, 5], [0, 5], [0, 0]],
        [[4, 1], [4, 2], [5, 2], [5, 1], [4, 1]],
        [[3, 2], [3, 3], [4, 3], [4, 2], [3, 2]],
        [[1, 3], [1, 4], [3, 4], [3, 3], [1, 3]],
    ]


@pytest.mark.parametrize("seed", range(60))
def test_neighbours_share_every_vertex_of_their_borders(seed):
    labels = random_labels(seed)
    polygons = whole_map(labels, random_scores(labels, seed), keeping()).polygons()
    assert shapely.coverage_is_valid(polygons)


def test_a_node_stands_where_three_regions_meet_and_nodata_pins():
    labels = np.array([[1, 1, 1, 255], [2, 2, 3, 255]], np.uint8)
    regions = whole_map(labels, labels, keeping())
    marks = dict(zip(map(tuple, regions.coords.tolist()), regions.marks.tolist(), strict=True))
    assert marks == {
        (0, 0): PINNED,
        (3, 0): PINNED,
        (3, 1): NODE | PINNED,
        (2, 1): NODE,
        (0, 1): NODE | PINNED,
        (2, 2): NODE | PINNED,
        (0, 2): PINNED,
        (3, 2): PINNED,
    }


def test_pixels_that_touch_only_at_a_corner_are_two_regions():
    labels = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    assert len(whole_map(labels, labels, keeping(0))) == 3
    assert len(whole_map(labels, labels, keeping())) == 6


def test_a_sheet_without_labels_has_no_regions():
    labels = np.full((3, 4), 255, np.uint8)
    trace = trace_sheet(frame(labels), labels, (0, 0), keeping())
    assert len(trace.closed) == len(trace.fragments) == 0
    assert len(trace.closed.polygons()) == 0


@pytest.mark.parametrize(("side", "line"), [("top", 0), ("bottom", -1), ("left", 0), ("right", -1)])
def test_only_regions_that_go_on_behind_a_side_stay_open(side, line):
    labels = np.arange(9, dtype=np.uint8).reshape(3, 3)
    framed = frame(labels)
    inside, beyond = (framed[1:-1], framed) if side in ("top", "bottom") else (framed[:, 1:-1].T, framed.T)
    beyond[line] = inside[line]
    beyond[line, 2] = 77
    trace = trace_sheet(framed, labels, (30, 60), keeping())
    ends = inside[line][[1, 3]].tolist()
    assert trace.fragments.parts.labels.tolist() == ends
    assert sorted(trace.closed.labels.tolist() + ends) == list(range(9))
    assert trace.closed.first.min(axis=0).tolist() >= [30, 60]
    runs = getattr(trace.summary, side)
    assert runs.tolist() == [[1, 0], [1, -1], [1, 1]]


def test_arrays_of_other_shapes_or_types_are_refused():
    labels = np.zeros((3, 4), np.uint8)
    with pytest.raises(ValueError, match=r"labels must be uint8, .* got int64"):
        trace_sheet(frame(labels).astype(np.int64), labels, (0, 0), keeping())
    with pytest.raises(ValueError, match=r"scores must be uint8 \(3, 4\), got uint8 \(4, 3\)"):
        trace_sheet(frame(labels), labels.T.copy(), (0, 0), keeping())
    with pytest.raises(ValueError, match=r"keep must be bool, 256 or more, got bool \(4,\)"):
        trace_sheet(frame(labels), labels, (0, 0), np.ones(4, bool))


def test_regions_taken_apart_and_joined_are_the_same():
    labels = random_labels(22)
    regions = whole_map(labels, random_scores(labels, 22), keeping())
    order = np.random.default_rng(0).permutation(len(regions))
    shuffled = Regions.concatenate([regions.take(order[:5]), Regions.empty(), regions.take(order[5:])])
    assert shuffled.first.tolist() == regions.first[order].tolist()
    assert_same_regions(shuffled.ordered(), regions)


def test_ragged_arrays_that_do_not_fit_are_refused():
    labels = np.array([[1, 0, 2]], np.uint8)
    regions = whole_map(labels, labels, keeping(0))
    with pytest.raises(ValueError, match="2 regions, but 1 labels, 2 first pixels"):
        replace(regions, labels=regions.labels[:1])
    with pytest.raises(ValueError, match="rings end at vertex 10 of 9"):
        replace(regions, coords=regions.coords[1:], marks=regions.marks[1:])
    with pytest.raises(ValueError, match="regions end at ring 2 of 1"):
        replace(
            regions, coords=regions.coords[:5], marks=regions.marks[:5], ring_offsets=regions.ring_offsets[:2]
        )
    with pytest.raises(ValueError, match="3 marks for 10 vertices"):
        replace(regions, marks=regions.marks[:3])
