"""Things as polygons and as label maps."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import rasterio.features
import rasterio.warp
import shapely
from affine import Affine
from georefs import GEOREFS
from instance_cases import FIRST, lattice_of, thing_of
from planted_things import Detector, disk, find_things, mask_of, plant, random_scene

from terraseam.tiles.features.features import FeatureOptions
from terraseam.tiles.features.instance_features import instance_features, trace_instance
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import tighten
from terraseam.tiles.instances.paint import paint, patches
from terraseam.tiles.instances.resolve import ResolvedInstance
from terraseam.tiles.labels.stitch import NODATA
from terraseam.tiles.raster.georef import Georef

OPTIONS = FeatureOptions("scene", dict(enumerate(("nothing", "roof", "tank"))))
ALL = Window(0, 0, 150, 170)


def in_cores(mask, lattice, label=1, score=200, ref=FIRST):
    """A thing that every core has a part of."""
    parts, cores = [], []
    rows, cols = lattice.shape
    for tile in ((r, c) for r in range(rows) for c in range(cols)):
        core = lattice.core_window(*tile)
        tight = tighten(core, mask[core.within(lattice.raster)])
        if tight is not None:
            parts.append(tight)
            cores.append(tile)
    return ResolvedInstance(label, score, tuple(parts), tuple(cores), ref)


def gdal_regions(mask):
    shapes = rasterio.features.shapes(mask.astype(np.uint8), mask=mask, connectivity=4)
    return sorted(shapely.geometry.shape(shape).normalize().wkb for shape, _ in shapes)


@pytest.mark.parametrize("seed", range(6))
def test_the_regions_of_a_thing_are_those_of_its_whole_mask(seed):
    rng = np.random.default_rng(seed)
    noise = np.kron(rng.random((31, 35)) < 0.6, np.ones((5, 5), bool))[:150, :170]
    lattice = lattice_of(noise.shape, core=int(rng.choice([16, 32, 64])))
    for mask in (noise, np.pad(disk(100, 120, 50, 60, 40), ((20, 30), (30, 20)))):
        for thing in (thing_of(mask), in_cores(mask, lattice)):
            regions = trace_instance(thing, lattice)
            assert sorted(polygon.normalize().wkb for polygon in regions.polygons()) == gdal_regions(mask)
            assert regions.pixels.sum() == mask.sum()
            assert set(regions.labels) == {1}
            order = list(map(tuple, regions.first))
            assert order == sorted(order)


@pytest.mark.parametrize("name", ["utm", "south_up", "rotated", "degrees", "polar"])
def test_each_thing_is_one_feature_on_its_pixels(name):
    georef = replace(GEOREFS[name], height=150, width=170)
    scene = random_scene(150, 170, 4, largest=100)
    lattice = lattice_of(scene.shape)
    things = find_things(scene, lattice, Detector())
    found = [json.loads(one.text) for one in instance_features(things, lattice, georef, OPTIONS)]
    assert len(found) == len(np.unique(scene)) - 1
    inverse = ~Affine(*georef.transform)
    for feature in found:
        polygon = shapely.geometry.shape(feature["geometry"])
        coords = shapely.get_coordinates(polygon)
        x, y = rasterio.warp.transform("EPSG:4326", georef.crs, *coords.T)
        cols, rows = inverse * (np.array(x), np.array(y))
        pixels = shapely.set_coordinates(polygon, np.stack([cols, rows], axis=1))
        burnt = rasterio.features.rasterize([pixels], scene.shape).astype(bool)
        number = scene[burnt][0]
        assert np.array_equal(burnt, scene == number)
        assert feature["properties"]["class"] == ("roof" if number % 2 == 0 else "tank")
        assert feature["properties"]["score"] == pytest.approx(0.5 + number / 1000, abs=1 / 255)


def test_a_thing_in_pieces_is_one_multipolygon_with_the_area_of_all():
    mask = np.zeros((64, 64), bool)
    mask[5:15, 5:15] = mask[30:40, 40:60] = True
    georef = Georef("EPSG:32633", (2.0, 0.0, 400_000.0, 0.0, -2.0, 5_600_000.0), 64, 64)
    lattice = lattice_of((64, 64))
    (feature,) = instance_features([thing_of(mask)], lattice, georef, OPTIONS)
    parsed = json.loads(feature.text)
    assert parsed["geometry"]["type"] == "MultiPolygon" and len(parsed["geometry"]["coordinates"]) == 2
    assert feature.properties["area_m2"] == pytest.approx(300 * 4, rel=2e-3)
    west, south, east, north = parsed["bbox"]
    assert shapely.geometry.shape(parsed["geometry"]).bounds == (west, south, east, north)
    assert parsed["properties"]["perimeter_m"] == pytest.approx((40 + 60) * 2, rel=1e-3)
    assert not parsed["properties"]["touches_edge"]
    assert instance_features([thing_of(mask)], lattice, georef, replace(OPTIONS, min_area_m2=1300)) == []


def test_things_that_begin_at_one_pixel_have_ids_of_their_own():
    georef = replace(GEOREFS["utm"], height=64, width=64)
    small, large = np.zeros((2, 64, 64), bool)
    small[5:15, 5:15] = large[5:25, 5:25] = True
    lattice = lattice_of((64, 64))
    made = instance_features([thing_of(large), thing_of(small)], lattice, georef, OPTIONS)
    ids = [json.loads(feature.text)["id"] for feature in made]
    assert len(set(ids)) == 2
    again = instance_features([thing_of(small), thing_of(large)], lattice, georef, OPTIONS)
    assert [feature.text for feature in again] == [feature.text for feature in made]
    alone, cut = ([thing_of(large)], [in_cores(large, lattice)])
    assert [json.loads(one.text)["id"] for one in instance_features(cut, lattice, georef, OPTIONS)] == [
        json.loads(one.text)["id"] for one in instance_features(alone, lattice, georef, OPTIONS)
    ]


def test_no_things_make_no_features():
    assert instance_features([], lattice_of((64, 64)), GEOREFS["utm"], OPTIONS) == []


@pytest.mark.parametrize("side", [32, 64, 500])
def test_sheets_show_the_surest_thing_on_top(side):
    masks = [disk(150, 170, 60, 60, 40), disk(150, 170, 80, 90, 30), disk(150, 170, 60, 60, 5)]
    things = [thing_of(masks[0], 1, 180), thing_of(masks[1], 2, 220), thing_of(masks[2], 2, 170)]
    expected, sure = np.zeros((2, 150, 170), np.uint8)
    for mask, thing in sorted(zip(masks, things, strict=True), key=lambda pair: pair[1].score):
        expected[mask], sure[mask] = thing.label, thing.score
    valid = np.random.default_rng(0).random((150, 170)) < 0.9
    expected[~valid], sure[~valid] = NODATA, 0
    by_sheet = {}
    for thing in reversed(things):
        for sheet, patch in patches(thing, side):
            by_sheet.setdefault(sheet, []).append(patch)
    for row in range(-(-150 // side)):
        for col in range(-(-170 // side)):
            window = Window(row * side, col * side, side, side).intersection(ALL)
            here = window.within(ALL)
            painted = paint(window, by_sheet.get((row, col), []), valid[here], background=0)
            assert np.array_equal(painted.labels, expected[here])
            assert np.array_equal(painted.scores, sure[here])


def test_things_of_equal_score_are_painted_in_one_order():
    masks = [disk(150, 170, 60, 60, 30), disk(150, 170, 70, 70, 30)]
    things = [thing_of(mask, label, 99) for label, mask in enumerate(masks, start=1)]
    made = [patch for thing in things for _, patch in patches(thing, 500)]
    painted = [paint(ALL, order, np.ones(ALL.shape, bool), 0).labels for order in (made, made[::-1])]
    assert np.array_equal(*painted)
    assert (painted[0][masks[0]] == 1).all()


def test_a_thing_in_cores_is_painted_as_one():
    mask = disk(150, 170, 75, 85, 60)
    lattice = lattice_of(mask.shape)
    pieces = [patch for _, patch in patches(in_cores(mask, lattice), 500)]
    assert np.array_equal(paint(ALL, pieces, np.ones(ALL.shape, bool), 0).labels == 1, mask)
    alone = [patch for _, patch in patches(thing_of(mask), 500)]
    assert {patch.rank for patch in pieces} == {patch.rank for patch in alone}


def test_a_scene_of_things_is_painted_as_it_was_planted():
    scene = random_scene(150, 170, 9, largest=80)
    lattice = lattice_of(scene.shape)
    things = find_things(scene, lattice, Detector())
    pieces = [patch for thing in things for _, patch in patches(thing, 500)]
    labels = paint(ALL, pieces, np.ones(ALL.shape, bool), 0).labels
    assert np.array_equal(labels, np.where(scene > 0, 1 + scene % 2, 0))
    assert np.array_equal(np.logical_or.reduce([mask_of(thing, scene.shape) for thing in things]), scene > 0)
    assert plant([scene == n for n in np.unique(scene)[1:]]).max() == len(things)
