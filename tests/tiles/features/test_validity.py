"""Features are valid as they are written, in every form, whatever they consist of."""

import json
from dataclasses import replace

import numpy as np
import pytest
import shapely
from georefs import GEOREFS
from instance_cases import lattice_of, thing_of
from label_maps import keeping, whole_map
from regularize_cases import neighbourhood

from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.instance_features import instance_features
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.ground import PixelPlane
from terraseam.tiles.regions.neighbours import Neighbourhood
from terraseam.tiles.regions.regularize import regularize

OPTIONS = FeatureOptions("scene", {}, in_parts=True, wkb=True, regularized=True)


def boxes(seed):
    """Overlapping boxes of four classes with holes, which touch at corners."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((60, 60), np.uint8)
    for _ in range(60):
        row, col = rng.integers(0, 60, 2)
        labels[row : row + rng.integers(1, 25), col : col + rng.integers(1, 25)] = rng.integers(0, 5)
    labels[rng.random(labels.shape) < 0.08] = 0
    return labels


def georef_of(labels, place="utm"):
    return Georef(GEOREFS[place].crs, GEOREFS[place].transform, *labels.shape)


def assert_valid(found):
    for feature in found:
        shown = shapely.geometry.shape(json.loads(feature.text)["geometry"])
        assert shown.is_valid, shapely.is_valid_reason(shown)
        on_map = shapely.from_wkb(feature.wkb)
        assert on_map.is_valid, shapely.is_valid_reason(on_map)


@pytest.mark.parametrize("seed", [7, 13, 14, 16, 28])
def test_right_angles_leave_features_of_many_regions_valid(seed):
    labels = boxes(seed)
    around = neighbourhood(labels)
    for by_corners in (False, True):
        regions = whole_map(labels, labels, keeping(0), by_corners=by_corners)
        for ground in (georef_of(labels), PixelPlane(*labels.shape)):
            found = features(regions, ground, OPTIONS, replace(around, regions=regions))
            assert_valid(found)
            assert any(feature.properties["regularized"] for feature in found)


def test_regions_around_which_geos_draws_invalid_buffers_get_right_angles_or_stay():
    labels = boxes(7)
    georef = georef_of(labels)
    found = regularize(neighbourhood(labels), georef.ground_steps(), labels.shape)
    assert found.changed.any() and shapely.is_valid(found.regions.polygons()).all()


def test_what_lies_in_a_filled_hole_is_covered_by_it():
    labels = np.zeros((12, 12), np.uint8)
    labels[1:9, 1:9] = 1
    labels[2:8, 2:8] = 0
    labels[2, 2] = labels[3:5, 3:6] = 1
    georef = georef_of(labels)
    pixel = georef.gsd() ** 2
    for regularized in (False, True):
        options = replace(OPTIONS, fill_holes_m2=50 * pixel, regularized=regularized)
        regions = whole_map(labels, labels, keeping(0), by_corners=True)
        found = features(regions, georef, options, Neighbourhood(regions))
        assert_valid(found)
        (area,) = [feature.properties["area_m2"] for feature in found]
        assert area == pytest.approx(64 * pixel, rel=2e-3)


@pytest.mark.parametrize("seed", [7, 13, 16, 28])
@pytest.mark.parametrize("fill", [0.0, 5.0])
def test_things_of_several_regions_are_valid(seed, fill):
    labels = boxes(seed)
    georef = georef_of(labels)
    things = [thing_of(labels == label) for label in (1, 2, 3, 4)]
    options = replace(OPTIONS, fill_holes_m2=fill)
    found = instance_features(things, lattice_of(labels.shape, 64), georef, options)
    assert_valid(found)
    assert any(feature.properties["regularized"] for feature in found)
