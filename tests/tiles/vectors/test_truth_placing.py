"""Polygons of any CRS lie where they belong on rasters of any kind."""

from __future__ import annotations

import itertools

import numpy as np
import pyproj
import pytest
import shapely
from truth_cases import SMALL, as_file, blobs, in_crs

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.vectors.placing import polygons_to_pixels

RASTERS = pytest.mark.parametrize("name", SMALL)
PLANE = ("utm", "southern_utm", "web_mercator", "degrees", "polar", "south_up", "rotated", "dateline_utm")


def worst(one, other):
    """How far outlines lie apart at most, in pixels."""
    return max(
        shapely.hausdorff_distance(a.boundary, b.boundary, densify=0.05)
        for a, b in zip(one, other, strict=True)
    )


@RASTERS
def test_polygons_in_the_crs_of_the_raster_come_back_as_they_are(name):
    georef = SMALL[name]
    polygons = blobs(georef)
    moved = shapely.transform(polygons, georef.to_map)
    placed = polygons_to_pixels(as_file(moved, georef.crs), georef)
    raster = shapely.box(0, 0, georef.width, georef.height)
    seen = shapely.area(shapely.intersection(polygons, raster)) > 0
    if name != "from_greenwich":
        assert np.array_equal(placed.numbers, np.flatnonzero(seen))
        assert worst(placed.polygons, polygons[placed.numbers]) < 1e-5
    assert placed.outside == len(polygons) - len(placed.polygons) and placed.lost == 0


@RASTERS
@pytest.mark.parametrize("crs", ["EPSG:4326", "OGC:CRS84"])
def test_polygons_in_degrees_lie_where_their_corners_do(name, crs):
    georef = SMALL[name]
    polygons = blobs(georef, corners=40)
    placed = polygons_to_pixels(as_file(in_crs(polygons, georef, crs), crs), georef)
    raster = shapely.box(0, 0, georef.width, georef.height)
    for number, polygon in zip(placed.numbers, placed.polygons, strict=True):
        assert polygon.is_valid
        if name == "from_greenwich" and not polygons[number].within(raster):
            continue  # seen on both of the raster's edges
        near = shapely.intersection(polygons[number], raster), shapely.intersection(polygon, raster)
        assert shapely.area(shapely.symmetric_difference(*near)) < 0.02 * polygons[number].length + 0.1
    seen = shapely.area(shapely.intersection(polygons, raster)) > 0.5
    assert set(np.flatnonzero(seen)) <= set(placed.numbers)


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:3857"])
def test_drawn_edges_stay_within_a_tenth_of_a_pixel_of_straight_ones(name, crs):
    georef = SMALL[name]
    if (crs, name) == ("EPSG:3857", "dateline_utm"):
        pytest.skip("the edge of EPSG:3857 runs through it")
    size = np.array([georef.width, georef.height])
    corners = np.array([[0.05, 0.1], [0.95, 0.15], [0.9, 0.92], [0.1, 0.85]]) * size
    there = in_crs(np.array([shapely.Polygon(corners)]), georef, crs)[0]
    drawn = polygons_to_pixels(as_file([there], crs), georef).polygons[0]
    back = pyproj.Transformer.from_crs(crs, georef.crs, always_xy=True)
    ring = shapely.get_coordinates(there)
    share = np.linspace(0, 1, 3001)[:, None]
    for start, end in itertools.pairwise(ring):
        straight = start + share * (end - start)
        straight = georef.to_pixels(np.stack(back.transform(*straight.T), axis=1))
        assert shapely.distance(shapely.points(straight), drawn.exterior).max() < 0.1


def test_long_edges_bend_as_they_must():
    """An edge along a parallel is an arc in polar stereographic; its chord would be far away."""
    georef = Georef("EPSG:3413", (1000.0, 0.0, -2_000_000.0, 0.0, -1000.0, 2_000_000.0), 4000, 4001)
    placed = polygons_to_pixels(as_file([shapely.box(-180, 80, 180, 85)], "EPSG:4326"), georef)
    ring = placed.polygons[0]
    pole = shapely.Point(2000, 2000)
    assert not ring.contains(pole)
    distances = shapely.distance(shapely.points(shapely.get_coordinates(ring)), pole)
    geod = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3413", always_xy=True)
    inner, outer = (np.hypot(*geod.transform(0, lat)) / 1000 for lat in (85, 80))
    assert distances.min() > inner - 0.2 and distances.max() < outer + 0.01
    assert ring.area == pytest.approx(np.pi * (outer**2 - inner**2), rel=1e-3)


def test_a_cap_over_a_pole_has_no_hole_in_it():
    """The pole lies between the places at which the surroundings of the raster are looked at."""
    georef = Georef("EPSG:3413", (1000.0, 0.0, -547_000.0, 0.0, -1000.0, 547_000.0), 1000, 1000)
    placed = polygons_to_pixels(as_file([shapely.box(-180, 60, 180, 90)], "EPSG:4326"), georef)
    seen = shapely.intersection(placed.polygons[0], shapely.box(0, 0, 1000, 1000))
    assert seen.area == pytest.approx(1e6, abs=0.5)


def test_neighbours_still_share_their_border():
    georef = SMALL["polar"]
    mesh = [shapely.box(x, y, x + 2, y + 1) for x in np.arange(-60, -30, 2) for y in np.arange(76, 80)]
    placed = polygons_to_pixels(as_file(mesh, "EPSG:4326"), georef).polygons
    raster = shapely.box(0, 0, georef.width, georef.height)
    overlap = shapely.area(shapely.intersection(placed[:, None], placed[None]))
    assert overlap[~np.eye(len(placed), dtype=bool)].max(initial=0) < 1e-6
    cover = shapely.intersection(shapely.union_all(placed), raster).area
    assert cover == pytest.approx(shapely.area(shapely.intersection(placed, raster)).sum())


def test_polygons_beyond_the_raster_are_counted():
    georef = SMALL["utm"]
    boxes = [
        shapely.box(*box) for box in ([10, 10, 20, 20], [-9, 5, 0, 9], [-9, 50, 0.5, 59], [900, 0, 910, 9])
    ]
    placed = polygons_to_pixels(
        as_file(shapely.transform(np.array(boxes), georef.to_map), georef.crs), georef
    )
    assert placed.numbers.tolist() == [0, 2] and (placed.outside, placed.lost) == (2, 0)
    nothing = polygons_to_pixels(as_file([], "EPSG:4326"), georef)
    assert len(nothing.polygons) == 0 and nothing.outside == 0


def test_polygons_that_have_no_place_in_the_crs_are_counted():
    world = Georef("EPSG:3857", (40_000.0, 0.0, -2.0e7, 0.0, -40_000.0, 2.0e7), 1000, 1000)
    orthographic = "+proj=ortho +lat_0=10 +lon_0=20 +ellps=WGS84"
    earth = Georef(orthographic, (20_000.0, 0.0, -7.0e6, 0.0, -20_000.0, 7.0e6), 700, 701)
    boxes = [shapely.box(15, 5, 25, 15), shapely.box(-160, -10, -150, 0)]
    placed = polygons_to_pixels(as_file(boxes, "EPSG:4326"), earth)
    assert placed.numbers.tolist() == [0] and (placed.outside, placed.lost) == (0, 1)
    assert len(polygons_to_pixels(as_file(boxes, "EPSG:4326"), world).polygons) == 2


def test_a_world_of_land_is_cut_to_the_surroundings_of_a_small_raster():
    georef = SMALL["utm"]
    placed = polygons_to_pixels(as_file([shapely.box(-170, -80, 170, 85)], "EPSG:4326"), georef)
    covered = placed.polygons[0]
    assert covered.covers(shapely.box(-300, -200, 700, 500)) and placed.lost == 0


@pytest.mark.parametrize("name", ["dateline_degrees", "dateline_mercator", "dateline_utm"])
@pytest.mark.parametrize("shift", [0, 360, -360])
def test_the_antimeridian_tears_nothing(name, shift):
    """Polygons that RFC 7946 cuts at it, and longitudes whole turns away, give the same shape."""
    georef = SMALL[name]
    middle = georef.to_lonlat(np.array([[georef.width / 2, georef.height / 2]]))[0]
    low, high = middle[1] - 0.05, middle[1] + 0.05
    whole = shapely.box(179.9 + shift, low, 180.1 + shift, high)
    cut = shapely.MultiPolygon([shapely.box(179.9, low, 180, high), shapely.box(-180, low, -179.9, high)])
    one, two = polygons_to_pixels(as_file([whole, cut], "EPSG:4326"), georef).polygons
    assert one.is_valid and two.is_valid and one.area > 100
    assert shapely.symmetric_difference(one, two).area < 1e-3 * one.area


def test_a_raster_round_the_world_shows_polygons_on_both_of_its_edges():
    georef = SMALL["from_greenwich"]
    placed = polygons_to_pixels(as_file([shapely.box(-10, 20, 15, 30)], "EPSG:4326"), georef)
    raster = shapely.box(0, 0, 360, 180)
    seen = shapely.intersection(placed.polygons[0], raster)
    assert seen.area == pytest.approx(250)
    assert seen.intersects(shapely.Point(355, 65)) and seen.intersects(shapely.Point(5, 65))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:4267"])
def test_an_edge_along_a_whole_parallel_goes_round_the_earth(crs):
    georef = SMALL["from_greenwich"]
    placed = polygons_to_pixels(as_file([shapely.box(-180, 20, 180, 30)], crs), georef)
    seen = shapely.intersection(placed.polygons[0], shapely.box(0, 0, 360, 180))
    assert seen.area == pytest.approx(3600, rel=1e-3)
