"""Regions that touch at a corner alone, as one feature (connectivity 8)."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from georefs import GEOREFS
from label_maps import (
    NODATA,
    assert_same_regions,
    by_sheets,
    keeping,
    random_labels,
    random_scores,
    whole_map,
)
from scipy import ndimage

from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.regions.tolerance import Tolerance

OPTIONS = FeatureOptions("scene", dict(enumerate("abcdef")), in_parts=True, wkb=True)
CORNERS = np.array(
    [[1, 0, 0, 1, 1], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [1, 1, 0, 1, 0], [0, 0, 1, 0, 1]], np.uint8
)


def groups_by_scipy(labels, keep):
    """First pixel of the 8-connected region of equal label around each pixel."""
    first = np.full((*labels.shape, 2), -1)
    for label in np.unique(labels[keep[labels]]):
        numbers, count = ndimage.label(labels == label, np.ones((3, 3)))
        for number in range(1, count + 1):
            rows, cols = np.nonzero(numbers == number)
            first[rows, cols] = rows[0], cols[0]
    return first


@pytest.mark.parametrize("seed", range(40))
def test_groups_are_the_eight_connected_regions(seed):
    labels = random_labels(seed)
    keep = keeping(0) if seed % 4 == 0 else keeping()
    regions = whole_map(labels, random_scores(labels, seed), keep, by_corners=True)
    expected = groups_by_scipy(labels, keep)
    assert np.array_equal(regions.groups, expected[tuple(regions.first.T)])


@pytest.mark.parametrize("seed", range(24))
def test_sheets_do_not_matter_to_groups(seed):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    keep = keeping(0) if seed % 4 == 0 else keeping()
    rng = np.random.default_rng(seed)
    expected = whole_map(labels, scores, keep, by_corners=True)
    for size in rng.integers(2, 33, 2):
        assert_same_regions(by_sheets(labels, scores, size, keep, rng.permutation, by_corners=True), expected)


@pytest.mark.parametrize("seed", range(8))
def test_groups_end_where_regions_are_cut_into_cells(seed):
    labels = np.random.default_rng(seed).integers(0, 2, (30, 41)).astype(np.uint8)
    expected = whole_map(labels, labels, keeping(), cell=7, by_corners=True)
    assert np.array_equal(expected.groups // 7, expected.first // 7)
    assert (expected.groups != expected.first).any()
    for size in (3, 10):
        assert_same_regions(by_sheets(labels, labels, size, keeping(), cell=7, by_corners=True), expected)


@pytest.mark.parametrize("seed", range(8))
def test_lines_are_those_of_regions_by_themselves(seed):
    labels = random_labels(seed)
    tolerance = Tolerance(1.6, ((1.0, 0.0), (0.0, -1.0)))
    alone = whole_map(labels, labels, keeping(), tolerance)
    for size in (5, 60):
        together = by_sheets(labels, labels, size, keeping(), tolerance=tolerance, by_corners=True)
        assert_same_regions(replace(together, groups=together.first), alone)


@pytest.mark.parametrize("georef", GEOREFS.values(), ids=GEOREFS)
def test_a_group_is_one_feature_that_says_what_holds_for_all_of_it(georef):
    georef = replace(georef, width=5, height=5)
    scores = np.arange(25, dtype=np.uint8).reshape(5, 5)
    alone = features(whole_map(CORNERS, scores, keeping(0)), georef, replace(OPTIONS, in_parts=False))
    found = features(whole_map(CORNERS, scores, keeping(0), by_corners=True), georef, OPTIONS)
    assert [feature.first for feature in found] == [(0, 0), (0, 3), (3, 0)]
    assert len(alone) == 7
    for feature, members in zip(found, ([0, 2], [1], [3, 4, 5, 6]), strict=True):
        parts = [alone[i] for i in members]
        said = json.loads(feature.text)
        assert said["geometry"]["type"] == ("MultiPolygon" if len(parts) > 1 else "Polygon")
        geometry = shapely.geometry.shape(said["geometry"])
        assert geometry.is_valid
        assert geometry.equals(
            shapely.union_all([shapely.geometry.shape(json.loads(part.text)["geometry"]) for part in parts])
        )
        assert tuple(said["bbox"]) == geometry.bounds
        assert said["id"] == parts[0].identity
        for name in ("area_m2", "perimeter_m"):
            total = sum(part.properties[name] for part in parts)
            assert said["properties"][name] == pytest.approx(total, rel=1e-6), name
        assert said["properties"]["touches_edge"] is any(part.properties["touches_edge"] for part in parts)
        assert shapely.from_wkb(feature.wkb).geom_type == "MultiPolygon"
        assert shapely.from_wkb(feature.wkb).area == pytest.approx(
            sum(shapely.from_wkb(part.wkb).area for part in parts)
        )
    numbers, count = ndimage.label(CORNERS, np.ones((3, 3)))
    means = [float(scores[numbers == number].mean()) / 255 for number in range(1, count + 1)]
    assert [feature.properties["score"] for feature in found] == pytest.approx(means, abs=5e-5)


def test_a_group_is_left_out_by_its_whole_area():
    georef = replace(GEOREFS["utm"], width=5, height=5)
    regions = whole_map(CORNERS, CORNERS, keeping(0), by_corners=True)
    largest = max(feature.properties["area_m2"] for feature in features(regions, georef, OPTIONS))
    kept = features(regions, georef, replace(OPTIONS, min_area_m2=largest / 2))
    assert [feature.first for feature in kept] == [(0, 3), (3, 0)]


def test_a_group_across_the_antimeridian_has_one_box_and_parts_on_both_sides():
    georef = Georef("EPSG:4326", (1.0, 0.0, 178.5, 0.0, -1.0, 40.0), 3, 4)
    labels = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]], np.uint8)
    found = features(
        whole_map(labels, labels, keeping(0), by_corners=True), replace(georef, width=4, height=3), OPTIONS
    )
    (said,) = [json.loads(feature.text) for feature in found]
    assert said["bbox"] == [178.5, 38, -177.5, 40]
    wests = sorted(min(x for x, _ in part[0]) for part in said["geometry"]["coordinates"])
    assert wests == [-180, -179.5, -178.5, 178.5, 179.5]


def test_nodata_is_no_group():
    labels = np.array([[NODATA, 1], [1, NODATA]], np.uint8)
    regions = whole_map(labels, labels, keeping(), by_corners=True)
    assert regions.groups.tolist() == [[0, 1], [0, 1]]
