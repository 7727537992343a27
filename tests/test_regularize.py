"""Right angles for buildings: drawn on a grid, regularized, and held against what was drawn."""

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio.features
import shapely
from georefs import GEOREFS
from label_maps import keeping, random_labels, whole_map

from tiles.features import FeatureOptions, features
from tiles.georef import Georef
from tiles.regions import NODE
from tiles.regularize import regularize
from tiles.tables import TABLES, Table

SQUARE = ((1.0, 0.0), (0.0, -1.0))


def rotated(shape, degrees):
    return shapely.affinity.rotate(shape, degrees, origin=(60, 60))


def drawn(*shapes, size=120):
    labels = rasterio.features.rasterize([(shape, i + 1) for i, shape in enumerate(shapes)], (size, size))
    return labels.astype(np.uint8)


def regularized(labels, ground=SQUARE):
    regions = whole_map(labels, labels, keeping(0))
    return regions.polygons(), regularize(regions, ground)


def iou(one, other):
    return shapely.area(one & other) / shapely.area(one | other)


def turns(ring):
    """Angles between edges, in degrees from a right angle."""
    steps = np.diff(shapely.get_coordinates(ring), axis=0)
    angles = np.degrees(np.arctan2(steps[:, 1], steps[:, 0]))
    return (np.roll(angles, -1) - angles + 45) % 90 - 45


@pytest.mark.parametrize("degrees", [0, 3, 11, 20, 33, 45, 58, 77])
def test_rectangles_become_rectangles_again(degrees):
    truth = rotated(shapely.box(35, 47, 85, 73), degrees)
    (before,), found = regularized(drawn(truth))
    (after,) = found.regions.polygons()
    assert found.changed.all()
    assert len(after.exterior.coords) == 5
    assert np.abs(turns(after.exterior)).max() < 1e-6
    assert iou(after, truth) >= max(iou(before, truth) - 1e-9, 0.985)
    assert abs(found.area_change[0]) < 0.01


@pytest.mark.parametrize("degrees", [0, 15, 40])
def test_wings_and_courtyards_keep_their_right_angles(degrees):
    wings = shapely.union_all([shapely.box(30, 40, 90, 60), shapely.box(30, 40, 50, 90)])
    court = shapely.box(30, 30, 90, 90) - shapely.box(45, 50, 75, 70)
    for shape, corners in ((wings, [7]), (court, [5, 5])):
        truth = rotated(shape, degrees)
        _, found = regularized(drawn(truth))
        (after,) = found.regions.polygons()
        rings = [after.exterior, *after.interiors]
        assert [len(ring.coords) for ring in rings] == corners
        assert max(np.abs(turns(ring)).max() for ring in rings) < 1e-6
        assert iou(after, truth) > 0.97


def test_a_region_that_touches_itself_alone_is_free_to_move():
    labels = drawn(rotated(shapely.box(35, 47, 85, 73), 20))
    edge = np.flatnonzero(labels[60])[-1]
    labels[60, edge] = labels[61, edge - 1] = 0
    other = np.flatnonzero(labels[55])[0]
    labels[53:57, other : other + 2] = 0
    regions = whole_map(labels, labels, keeping(0))
    assert len(regions) == 1 and (regions.marks & NODE).any()
    assert regularize(regions, SQUARE).changed.all()


def test_a_round_tank_stays_round():
    for radius in (6, 15, 40):
        (before,), found = regularized(drawn(shapely.Point(60.3, 59.6).buffer(radius)))
        assert not found.changed.any()
        assert found.area_change.tolist() == [0]
        assert found.regions.polygons()[0].equals(before)


def test_a_long_slanted_side_stays_slanted():
    truth = rotated(shapely.Polygon([(30, 40), (90, 40), (90, 60), (60, 85), (30, 85)]), 12)
    _, found = regularized(drawn(truth))
    (after,) = found.regions.polygons()
    assert found.changed.all() and len(after.exterior.coords) in (6, 7)
    assert iou(after, truth) > 0.97
    assert (np.abs(turns(after.exterior)) > 20).sum() == 2


@pytest.mark.parametrize("degrees", [0, 8, 27, 45])
def test_touching_neighbours_overlap_by_no_more_than_a_pixel(degrees):
    left, right = (
        rotated(shape, degrees) for shape in (shapely.box(30, 40, 60, 75), shapely.box(60, 45, 92, 80))
    )
    _, found = regularized(drawn(left, right))
    one, other = found.regions.polygons()
    shared = one & other
    assert shapely.is_empty(shapely.buffer(shared, -0.5))
    assert iou(one, left) > 0.95 or iou(one, right) > 0.95


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_out_is_valid_and_near(seed):
    labels = np.kron(random_labels(seed)[:30, :30], np.ones((3, 3), np.uint8))
    regions = whole_map(labels, labels, keeping())
    found = regularize(regions, SQUARE)
    before, after = regions.polygons(), found.regions.polygons()
    assert shapely.is_valid(after).all()
    assert np.allclose(shapely.area(after) / shapely.area(before) - 1, found.area_change)
    assert np.abs(found.area_change).max(initial=0) <= 0.1
    assert all(
        shapely.covers(shapely.buffer(old, 3 * 2**0.5), new) for old, new in zip(before, after, strict=True)
    )
    assert all(a.equals(b) for a, b, changed in zip(before, after, found.changed, strict=True) if not changed)


def test_right_angles_are_right_on_the_ground():
    truth = rotated(shapely.box(35, 47, 85, 73), 25)
    ground = ((2.0, 0.3), (0.1, -1.0))
    squeezed = shapely.transform(truth, lambda xy: (xy - 60) @ np.linalg.inv(np.array(ground)) + 60)
    _, found = regularized(drawn(squeezed), ground)
    (after,) = found.regions.polygons()
    assert found.changed.all() and len(after.exterior.coords) == 5
    on_ground = shapely.transform(after, lambda xy: xy @ np.array(ground))
    assert np.abs(turns(on_ground.exterior)).max() < 1e-6


@pytest.mark.parametrize("name", ["utm", "south_up"])
def test_features_say_what_was_done(name, tmp_path):
    labels = drawn(rotated(shapely.box(35, 47, 85, 73), 17), shapely.Point(20, 20).buffer(12))
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
    for ending in ("fgb", "gpkg", "parquet", "pmtiles"):
        TABLES[ending](tmp_path / f"a.{ending}", [tank, roof], Table(georef, "Polygon", regularized=True))
