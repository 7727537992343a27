"""Thousands of small label maps: polygons joined from sheets are those of one pass of GDAL, valid, and burn back."""

import numpy as np
import pytest
import rasterio.features
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from label_maps import (
    NODATA,
    assert_same_regions,
    by_sheets,
    keeping,
    polygons_of,
    polygons_of_rasterio,
    whole_map,
)

PATIENT = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


@st.composite
def small_maps(draw):
    """Maps of 1 to 9 px a side, pixel by pixel, so that a failure is told by the smallest one."""
    values = draw(st.integers(1, 5))
    cells = st.one_of(st.integers(0, values - 1), st.just(NODATA))
    return draw(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=cells))


@st.composite
def large_maps(draw):
    """Maps of 1 to 60 px a side: noise, of one to five classes, coarse or fine, with holes of nodata or none."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    height, width, grain = draw(st.integers(1, 60)), draw(st.integers(1, 60)), draw(st.integers(1, 6))
    share = draw(st.sampled_from([0.0, 0.03, 0.3]))
    coarse = rng.integers(0, draw(st.integers(1, 5)), (height // grain + 1, width // grain + 1))
    labels = np.kron(coarse, np.ones((grain, grain)))[:height, :width].astype(np.uint8)
    labels[rng.random(labels.shape) < share] = NODATA
    return labels


def check(labels, size, dropped, order):
    keep = keeping(0) if dropped else keeping()
    scores = (labels * 7 + np.arange(labels.size).reshape(labels.shape)).astype(np.uint8)
    regions = by_sheets(labels, scores, size, keep, np.random.default_rng(order).permutation)
    assert polygons_of(regions) == polygons_of_rasterio(labels, keep[labels])
    polygons = regions.polygons()
    assert shapely.is_valid(polygons).all()
    drawn = np.full_like(labels, NODATA)
    if len(regions):
        shapes = zip(polygons, regions.labels.tolist(), strict=True)
        drawn = rasterio.features.rasterize(shapes, labels.shape, fill=NODATA, dtype="uint8")
    assert np.array_equal(drawn, np.where(keep[labels], labels, NODATA))
    assert_same_regions(regions, whole_map(labels, scores, keep))


@settings(max_examples=80, **PATIENT)
@given(small_maps(), st.integers(2, 5), st.booleans(), st.integers(0, 9))
def test_small_maps(labels, size, dropped, order):
    check(labels, size, dropped, order)


@pytest.mark.slow
@settings(max_examples=1500, **PATIENT)
@given(small_maps(), st.integers(2, 5), st.booleans(), st.integers(0, 9))
def test_many_small_maps(labels, size, dropped, order):
    check(labels, size, dropped, order)


@pytest.mark.slow
@settings(max_examples=1500, **PATIENT)
@given(large_maps(), st.integers(2, 32), st.booleans(), st.integers(0, 9))
def test_large_maps(labels, size, dropped, order):
    check(labels, size, dropped, order)
