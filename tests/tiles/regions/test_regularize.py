"""Right angles for buildings: drawn on a grid, regularized, and held against what was drawn."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import rasterio.features
import scipy.ndimage
import shapely
from georefs import GEOREFS
from label_maps import keeping, random_labels, whole_map
from regularize_cases import neighbourhood
from tiers import some

from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.gis_formats import TABLES, Table
from terraseam.tiles.labels.cells import cut_into_cells
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.corners import Corners
from terraseam.tiles.regions.edge_fit import Bounds
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.ground_plane import near_px
from terraseam.tiles.regions.neighbours import Neighbourhood, border_pixels
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.regularize import regularize
from terraseam.tiles.regions.seams import merge_seams
from terraseam.tiles.regions.tolerance import Tolerance
from terraseam.tiles.regions.trace import SheetTrace, trace_sheet

SQUARE = ((1.0, 0.0), (0.0, -1.0))
BAR = shapely.box(35, 47, 85, 73)
FORMS = {
    "rectangle": (BAR, [5]),
    "L": (shapely.union_all([shapely.box(30, 40, 90, 60), shapely.box(30, 40, 50, 90)]), [7]),
    "T": (shapely.union_all([shapely.box(25, 35, 95, 55), shapely.box(50, 35, 70, 90)]), [9]),
    "U": (shapely.box(30, 30, 90, 90) - shapely.box(50, 50, 70, 95), [9]),
    "court": (shapely.box(30, 30, 90, 90) - shapely.box(45, 50, 75, 70), [5, 5]),
}


def rotated(shape, degrees):
    return shapely.affinity.rotate(shape, degrees, origin=(60, 60))


def drawn(*shapes, size=(120, 131)):
    labels = rasterio.features.rasterize([(shape, i + 1) for i, shape in enumerate(shapes)], size)
    return labels.astype(np.uint8)


def ragged(labels, seed, share=0.35):
    """The outline of a label map with rounded corners and with noise of a pixel or two."""
    noise = scipy.ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=labels.shape), 1.5)
    soft = scipy.ndimage.gaussian_filter((labels > 0).astype(float), 2.0)
    ragged = (soft + share * noise / noise.std() * 0.25 > 0.5).astype(np.uint8)
    parts, _ = scipy.ndimage.label(ragged)
    return (parts == np.bincount(parts.ravel())[1:].argmax() + 1).astype(np.uint8)


def regularized(labels, ground=SQUARE, keep=None):
    around = neighbourhood(labels, keep)
    return around.regions.polygons(), regularize(around, ground, labels.shape)


def iou(one, other):
    return shapely.area(one & other) / shapely.area(one | other)


def turns(ring):
    """Angles between edges, in degrees from a right angle."""
    steps = np.diff(shapely.get_coordinates(ring), axis=0)
    angles = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
    return (np.roll(angles, -1) - angles + 45) % 90 - 45


def rings(polygon):
    return [polygon.exterior, *polygon.interiors]


def largest_turn(polygon):
    return max(np.abs(turns(ring)).max() for ring in rings(polygon))


@pytest.mark.parametrize("degrees", [0, 3, 11, 20, 33, 45, 58, 77])
@pytest.mark.parametrize("form", FORMS)
def test_buildings_become_what_they_are_at_any_angle(form, degrees):
    shape, corners = FORMS[form]
    truth = rotated(shape, degrees)
    (before,), found = regularized(drawn(truth))
    (after,) = found.regions.polygons()
    assert found.changed.all()
    assert [len(ring.coords) for ring in rings(after)] == corners
    assert largest_turn(after) < 1e-6
    assert iou(after, truth) >= max(iou(before, truth) - 1e-9, 0.97)
    assert abs(found.area_change[0]) < 0.01


@pytest.mark.parametrize("seed", range(12))
def test_ragged_outlines_become_what_they_mean(seed):
    shape, corners = list(FORMS.values())[seed % 4]
    truth = rotated(shape, 7.5 * seed)
    (before,), found = regularized(ragged(drawn(truth), seed))
    (after,) = found.regions.polygons()
    assert shapely.get_num_coordinates(before) > 50
    assert shapely.get_num_coordinates(after) <= corners[0] + 4
    assert iou(after, truth) >= iou(before, truth)
    assert (np.abs(turns(after.exterior)) < 1e-6).mean() >= 0.8


@pytest.mark.parametrize("degrees", [0, 25])
def test_a_building_may_stand_in_two_directions(degrees):
    wing = shapely.affinity.rotate(shapely.box(60, 50, 112, 70), 35, origin=(60, 60))
    truth = rotated(shapely.union_all([shapely.box(15, 45, 62, 75), wing]), degrees)
    _, found = regularized(ragged(drawn(truth), degrees))
    (after,) = found.regions.polygons()
    steps = np.diff(shapely.get_coordinates(after.exterior), axis=0)
    long = np.hypot(*steps.T) > 15
    off = np.degrees(np.arctan2(steps[long, 1], steps[long, 0])) - degrees
    ways = np.minimum(np.abs((off + 45) % 90 - 45), np.abs((off - 35 + 45) % 90 - 45))
    assert long.sum() >= 6 and ways.max() < 2.5
    assert iou(after, truth) > 0.95 and len(after.exterior.coords) <= 14


def test_a_round_tank_stays_round():
    for radius in (6, 15, 40):
        for form in (1.0, 1.3):
            tank = shapely.affinity.scale(shapely.Point(60.3, 59.6).buffer(radius), form, 1)
            (before,), found = regularized(drawn(tank))
            assert not found.changed.any()
            assert found.area_change.tolist() == [0]
            assert found.regions.polygons()[0].equals(before)
    _, found = regularized(ragged(drawn(shapely.Point(60.3, 59.6).buffer(25)), 0, share=0.1))
    assert not found.changed.any()


@pytest.mark.parametrize("side", [1, 2, 3, 4, 6, 9])
def test_tiny_buildings_stay_or_keep_their_area(side):
    for degrees in (0, 30):
        truth = rotated(shapely.box(55, 55, 55 + side, 57.2 + side), degrees)
        labels = drawn(truth)
        if not labels.any():
            continue
        (before, *_), found = regularized(labels)
        (after, *_) = found.regions.polygons()
        assert after.is_valid and abs(after.area / before.area - 1) <= 0.1
        assert found.changed[0] or after.equals(before)


def test_a_long_slanted_side_stays_slanted():
    truth = rotated(shapely.Polygon([(30, 40), (90, 40), (90, 60), (60, 85), (30, 85)]), 12)
    _, found = regularized(drawn(truth))
    (after,) = found.regions.polygons()
    assert found.changed.all() and len(after.exterior.coords) == 6
    assert iou(after, truth) > 0.97
    assert (np.abs(turns(after.exterior)) > 20).sum() == 2


@pytest.mark.parametrize("gap", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("degrees", [0, 8, 27, 45, 60])
def test_neighbours_overlap_by_no_more_than_a_pixel(degrees, gap):
    for seed in range(3):
        left = rotated(shapely.box(20, 30, 60, 85), degrees)
        right = rotated(shapely.box(60 + gap, 35, 100, 90), degrees)
        labels = drawn(left)
        labels[ragged(drawn(left), seed) > 0] = 1
        other = ragged(drawn(right), seed + 50) > 0
        labels[other & (labels == 0)] = 2
        polygons, found = regularized(labels)
        sizes = shapely.area(polygons)
        one, two = found.regions.polygons()[np.argsort(-sizes)[:2]]
        assert found.changed[np.argsort(-sizes)[:2]].all()
        shared = one & two
        assert shapely.is_empty(shapely.buffer(shared, -0.5))
        assert iou(one, left) > 0.9 and iou(two, right) > 0.9


def leaning(degrees, gap):
    """Two buildings side by side; the second has its own directions, but for the wall beside the first."""
    direction = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    left = 60 + gap
    corners = [(left, 40), (left, 40) + 60 * direction, (left, 80) + 57 * direction, (left, 80)]
    return shapely.box(15, 40, 60, 80), shapely.Polygon(corners)


@pytest.mark.parametrize("gap", [0, 1])
def test_a_wall_that_turns_into_line_keeps_clear_of_its_neighbour(gap):
    one, other = leaning(4, gap)
    labels = drawn(one, other)
    _, found = regularized(labels)
    first, second = found.regions.polygons()
    assert found.changed.all()
    assert shapely.is_empty(shapely.buffer(first & second, -0.5))
    around = replace(neighbourhood(labels), borders=Corners.of())
    first, second = regularize(around, SQUARE, labels.shape).regions.polygons()
    assert gap or not shapely.is_empty(shapely.buffer(first & second, -0.5))


def test_buildings_that_touch_at_a_corner_are_free_elsewhere():
    labels = np.zeros((60, 70), np.uint8)
    labels[10:30, 10:30] = labels[30:45, 30:60] = 1
    labels[10, 10:30:2] = labels[44, 30:60:3] = 0
    _, found = regularized(labels)
    assert len(found.changed) == 2 and found.changed.all()
    one, other = found.regions.polygons()
    assert len(one.exterior.coords) == len(other.exterior.coords) == 5
    assert (one & other).area <= 1


@pytest.mark.parametrize("degrees", [0, 20])
def test_nothing_is_moved_over_the_end_of_the_raster(degrees):
    truth = rotated(shapely.box(-20, 30, 40, 90), degrees)
    labels = ragged(drawn(truth), 3)
    labels[60:70, 120:131] = 1
    labels[20:40, 118:130] = 1
    labels[25:28, 129] = 0
    polygons, found = regularized(labels)
    box = shapely.box(0, 0, labels.shape[1], labels.shape[0])
    after = found.regions.polygons()
    assert found.changed.all()
    assert shapely.covers(box, after).all()
    for old, new in zip(polygons, after, strict=True):
        on_edge = (old.exterior & box.exterior).length
        assert (new.exterior & box.exterior).length == pytest.approx(on_edge, abs=4)


@pytest.mark.parametrize("seed", some(range(60), 12))
def test_whatever_comes_out_is_valid_and_near(seed):
    labels = np.kron(random_labels(seed)[:30, :30], np.ones((3, 3), np.uint8))
    if seed % 2:
        labels = scipy.ndimage.median_filter(labels, 5)
    before, found = regularized(labels, keep=keeping())
    after = found.regions.polygons()
    assert shapely.is_valid(after).all()
    assert np.allclose(shapely.area(after) / shapely.area(before) - 1, found.area_change)
    assert np.abs(found.area_change).max(initial=0) <= 0.1
    assert all(
        shapely.covers(shapely.buffer(old, 3 * 2**0.5), new) for old, new in zip(before, after, strict=True)
    )
    assert all(a.equals(b) for a, b, changed in zip(before, after, found.changed, strict=True) if not changed)
    tree = shapely.STRtree(after)
    one, other = tree.query(after, "intersects")
    shared = after[one[one < other]] & after[other[one < other]]
    assert shapely.is_empty(shapely.buffer(shared, -0.5 - 1e-6)).all()


def test_right_angles_are_right_on_the_ground():
    truth = rotated(BAR, 25)
    ground = ((2.0, 0.3), (0.1, -1.0))
    squeezed = shapely.transform(truth, lambda xy: (xy - 60) @ np.linalg.inv(np.array(ground)) + 60)
    _, found = regularized(drawn(squeezed), ground)
    (after,) = found.regions.polygons()
    assert found.changed.all() and len(after.exterior.coords) == 5
    on_ground = shapely.transform(after, lambda xy: xy @ np.array(ground))
    assert np.abs(turns(on_ground.exterior)).max() < 1e-6


def test_far_from_the_corner_of_a_raster_nothing_else_comes_out():
    around = neighbourhood(ragged(drawn(rotated(FORMS["T"][0], 20)), 1))
    shift = np.array([400_000, 300_000], np.int32)
    far = replace(around, regions=replace(around.regions, coords=around.regions.coords + shift))
    near = regularize(around, SQUARE, (120, 131)).regions.coords
    moved = regularize(far, SQUARE, (400_120, 400_131)).regions.coords
    assert np.abs(moved - shift - near).max() < 1e-9


def test_what_is_left_as_it_is_is_shown_simplified():
    labels = drawn(rotated(BAR, 17), shapely.Point(20, 20).buffer(12))
    around = neighbourhood(labels)
    simple = whole_map(labels, labels, keeping(0), Tolerance(1.5, SQUARE))
    found = regularize(around, SQUARE, labels.shape, simple)
    exact = regularize(around, SQUARE, labels.shape)
    assert found.changed.tolist() == [False, True]
    assert found.regions.polygons()[0].equals(simple.polygons()[0])
    assert found.regions.polygons()[1].equals(exact.regions.polygons()[1])
    assert not found.regions.polygons()[0].equals(exact.regions.polygons()[0])


def see_neighbours(trace: SheetTrace, seen: np.ndarray, corner: tuple[int, int], reach: int) -> SheetTrace:
    """Add to the regions of a sheet the border pixels within `reach` of them, as the vectorize stage does."""
    borders = border_pixels(seen, corner, keeping(0))
    closed, parts = trace.closed, trace.fragments.parts
    near_parts = borders.near(parts.coords, parts.ring_offsets, reach)
    return replace(
        trace,
        fragments=Fragments(parts, trace.fragments.corners, near_parts),
        borders=borders.near(closed.coords, closed.ring_offsets, reach),
    )


@pytest.mark.parametrize("size", [24, 37])
def test_neighbours_are_seen_however_the_raster_is_cut(size):
    labels = crowded()
    whole = neighbourhood(labels)
    near = near_px(SQUARE)
    depth, wide = near + 1, np.pad(labels, near + 1, constant_values=255)
    traces = {}
    for row in range(0, labels.shape[0], size):
        for col in range(0, labels.shape[1], size):
            own = labels[row : row + size, col : col + size]
            seen = wide[row : row + len(own) + 2 * depth, col : col + own.shape[1] + 2 * depth]
            framed = np.ascontiguousarray(seen[near:-near, near:-near])
            trace = trace_sheet(framed, np.zeros_like(own), (row, col), keeping(0))
            corner = (row - depth, col - depth)
            traces[row // size, col // size] = see_neighbours(trace, seen, corner, near)
    homes = merge_seams({key: trace.summary for key, trace in traces.items()})
    sent = [
        (
            Fragments.from_bytes(trace.fragments.take(np.arange(len(homes[key])), near=near).to_bytes()),
            homes[key],
        )
        for key, trace in traces.items()
    ]
    borders = Corners.union([fragments.borders for fragments, _ in sent])
    parts = [Neighbourhood(trace.closed, trace.borders) for trace in traces.values()]
    parts.append(Neighbourhood(close_regions(sent), borders))
    found = [regularize(part, SQUARE, labels.shape) for part in parts]
    expected = regularize(whole, SQUARE, labels.shape)
    alone = regularize(Neighbourhood(whole.regions), SQUARE, labels.shape)
    assert len(parts[-1].regions) and expected.changed.any()
    assert not np.array_equal(alone.regions.coords, expected.regions.coords)
    together = Regions.concatenate([part.regions for part in found]).ordered()
    assert np.array_equal(together.coords, expected.regions.coords)


def crowded():
    """Ragged buildings close to each other."""
    labels = np.zeros((120, 131), np.uint8)
    for seed in range(9):
        row, col = divmod(seed, 3)
        box = rotated(shapely.box(43, 43, 80, 79), 3 * seed)
        one = ragged(drawn(box), seed) > 0
        moved = np.roll(one, (40 * row - 40, 42 * col - 40), (0, 1))
        labels[moved & (labels == 0)] = 1 + seed % 2
    return labels


def test_things_do_not_grow_over_others_that_they_do_not_know():
    around = Neighbourhood(whole_map(*2 * [ragged(drawn(rotated(FORMS["L"][0], 33)), 4)], keeping(0)))
    found = regularize(around, SQUARE, (120, 131), overlapping=True)
    (before,), (after,) = around.regions.polygons(), found.regions.polygons()
    assert found.changed.all()
    assert shapely.covers(shapely.buffer(before, 0.5 + 1e-6, join_style="mitre"), after)


def test_how_far_neighbours_are_looked_for():
    assert near_px(SQUARE) == 9
    assert near_px(((2.0, 0.0), (0.0, -0.5))) == 17


def test_bounds_are_checked():
    with pytest.raises(ValueError, match="reach must be more than 0 and prices 0 or more"):
        Bounds(0, 1, 1, 1)


@pytest.mark.parametrize("name", ["utm", "south_up"])
def test_features_say_what_was_done(name, tmp_path):
    labels = drawn(rotated(BAR, 17), shapely.Point(20, 20).buffer(12))
    georef = Georef(GEOREFS[name].crs, GEOREFS[name].transform, *labels.shape)
    regions = whole_map(labels, labels, keeping(0))
    options = FeatureOptions("map", dict(enumerate(("ground", "roof", "tank"))), regularized=True, wkb=True)
    tank, roof = features(regions, georef, options)
    assert (tank.properties["regularized"], tank.properties["area_change"]) == (False, 0)
    assert roof.properties["regularized"] and 0 < abs(roof.properties["area_change"]) < 0.02
    plain = features(regions, georef, replace(options, regularized=False))[1].properties
    grown = roof.properties["area_m2"] / plain["area_m2"] - 1
    assert grown == pytest.approx(roof.properties["area_change"], abs=1e-3)
    shown = np.array(json.loads(roof.text)["geometry"]["coordinates"][0])
    assert (
        len(shapely.simplify(shapely.Polygon(shown), 1e-3 * np.ptp(shown, axis=0).max()).exterior.coords) == 5
    )
    for ending in ("fgb", "gpkg", "parquet"):
        TABLES[ending](tmp_path / f"a.{ending}", [tank, roof], Table(georef, "Polygon", regularized=True))


@pytest.mark.parametrize("cells", [False, True])
def test_borders_of_very_many_labels_are_found_in_memory_as_small_as_the_map(cells):
    labels = np.arange(300 * 300, dtype=np.uint32).reshape(300, 300) % 70_000
    labels[labels == 255] = 0
    keep = np.ones(70_000, bool)
    keep[[255, 7]] = False
    codes = cut_into_cells(labels, (0, 0), 100, len(keep)) if cells else labels
    tracemalloc.start()
    found = border_pixels(codes, (0, 0), keep).points()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100 * labels.nbytes
    cols, rows = found.T
    assert len(found) == (labels[1:-1, 1:-1] != 7).sum() and (labels[rows, cols] != 7).all()
