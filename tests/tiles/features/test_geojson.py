import io
import json
import math
import re
from dataclasses import replace
from itertools import pairwise

import antimeridian
import numpy as np
import pyproj
import pytest
import rasterio.warp
import shapely
from affine import Affine
from georefs import GEOREFS
from label_maps import by_sheets, keeping, random_labels, random_scores, whole_map

from terraseam.tiles.features import outlines
from terraseam.tiles.features.features import FeatureOptions, features, significant
from terraseam.tiles.features.geojson import write_geojson
from terraseam.tiles.features.lonlat import densify_step, lonlat_rings
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.regions.rings import densify

GEOD = pyproj.Geod(ellps="WGS84")
CLASSES = ("sea", "land", "lake", "ice", "sand")
OPTIONS = FeatureOptions("scene", dict(enumerate(CLASSES)))

ACROSS = {
    "pacific": Georef("EPSG:3832", (90_000.0, 0.0, 2.0e6, 0.0, -80_000.0, 2.0e6), 43, 37),
    "from_0_to_360": Georef("EPSG:4326", (10.0, 0.0, 0.0, 0.0, -10.0, 90.0), 18, 36),
    "north_pole": Georef("EPSG:3413", (80_000.0, 0.0, -1.93e6, 0.0, -80_000.0, 1.51e6), 41, 47),
    "north_pole_on_a_corner": Georef("EPSG:3413", (1e5, 0.0, -2e6, 0.0, -1e5, 1.8e6), 37, 40),
    "south_pole": Georef("EPSG:3031", (80_000.0, 0.0, -1.93e6, 0.0, -80_000.0, 1.51e6), 41, 47),
    "south_pole_south_up": Georef("EPSG:3031", (80_000.0, 0.0, -1.93e6, 0.0, 80_000.0, -1.51e6), 41, 47),
}


def labels_for(georef, seed, classes=3):
    """A label map of blocks of 3 x 4 px that covers the whole raster."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, classes, (georef.height // 3 + 1, georef.width // 4 + 1))
    return np.kron(blocks, np.ones((3, 4)))[: georef.height, : georef.width].astype(np.uint8)


def make_features(labels, georef, options=OPTIONS, keep=None):
    keep = keeping() if keep is None else keep
    regions = whole_map(labels, random_scores(labels, 1), keep)
    return regions, [json.loads(feature.text) for feature in features(regions, georef, options)]


def polygons_of(feature):
    geometry = feature["geometry"]
    return [geometry["coordinates"]] if geometry["type"] == "Polygon" else geometry["coordinates"]


def signed_area(ring):
    (x, y), (x2, y2) = np.array(ring)[:-1].T, np.array(ring)[1:].T
    return ((x - ring[0][0]) * (y2 - ring[0][1]) - (x2 - ring[0][0]) * (y - ring[0][1])).sum() / 2


def check_ring(ring, is_shell):
    assert len(ring) >= 4
    assert ring[0] == ring[-1]
    assert (signed_area(ring) > 0) == is_shell
    for lon, lat in ring:
        assert -180 <= lon <= 180
        assert -90 <= lat <= 90
        assert round(lon, 7) == lon
        assert round(lat, 7) == lat
    lon = np.array(ring)[:, 0]
    assert np.abs(np.diff(lon)).max() < 180 or np.abs(np.array(ring)[:, 1]).max() == 90


def check_bbox(feature):
    """The bbox begins and ends at vertices and holds all of them, going east from its first side."""
    vertices = np.concatenate([polygon[0] for polygon in polygons_of(feature)])
    lon, lat = vertices.T
    west, south, east, north = feature["bbox"]
    assert [south, north] == [lat.min(), lat.max()]
    assert {west, east} <= set(lon)
    if west <= east:
        assert [west, east] == [lon.min(), lon.max()]
    else:
        assert feature["geometry"]["type"] == "MultiPolygon"
        assert {-180.0, 180.0} <= set(lon)
        assert not ((lon > east) & (lon < west)).any()


def check_rfc_7946(collection):
    assert collection["type"] == "FeatureCollection"
    assert "crs" not in collection
    ids = [feature["id"] for feature in collection["features"]]
    assert len(set(ids)) == len(ids)
    for feature in collection["features"]:
        assert feature["type"] == "Feature"
        assert re.fullmatch("[0-9a-f]{16}", feature["id"])
        check_bbox(feature)
        for shell, *holes in polygons_of(feature):
            check_ring(shell, is_shell=True)
            for hole in holes:
                check_ring(hole, is_shell=False)


def write_collection(texts, **options):
    file = io.BytesIO()
    written = write_geojson(file, texts, **options)
    return written, json.loads(file.getvalue())


@pytest.mark.parametrize("georef", [*GEOREFS.values(), *ACROSS.values()], ids=[*GEOREFS, *ACROSS])
def test_collections_keep_to_rfc_7946(georef):
    georef = Georef(georef.crs, georef.transform, min(georef.height, 45), min(georef.width, 53))
    labels = labels_for(georef, seed=georef.width)
    regions = whole_map(labels, labels, keeping(1))
    written, collection = write_collection(feature.text for feature in features(regions, georef, OPTIONS))
    check_rfc_7946(collection)
    assert len(collection["features"]) == written.count == len(regions)
    assert collection["bbox"] == list(written.bounds)
    first = collection["features"][0]["properties"]
    assert set(first) == {"class", "score", "area_m2", "perimeter_m", "raster", "touches_edge"}
    assert (first["class"], first["raster"]) == (CLASSES[regions.labels[0]], "scene")


@pytest.mark.parametrize("name", GEOREFS)
def test_vertices_lie_on_the_corners_that_rasterio_gives(name):
    georef = GEOREFS[name]
    labels = random_labels(3)
    small = Georef(georef.crs, georef.transform, *labels.shape)
    regions, found = make_features(labels, small)
    for i, feature in enumerate(found):
        start, end = regions.ring_offsets[regions.region_offsets[i] :][:2]
        corners = [Affine(*georef.transform) @ (int(x), int(y)) for x, y in regions.coords[start:end]]
        expected = np.stack(rasterio.warp.transform(georef.crs, "OGC:CRS84", *np.array(corners).T), axis=1)
        shell = np.array(feature["geometry"]["coordinates"][0])
        assert np.abs(shell[:, None] - expected[None]).max(axis=2).min(axis=0).max() <= 1e-7


def check_points(found, labels, georef, positions):
    """Each position, unless it is next to an edge of a pixel, lies in the one feature of its pixel."""
    shapes = [shapely.geometry.shape(feature["geometry"]) for feature in found]
    assert shapely.is_valid(shapes).all()
    positions = positions[(np.abs(positions - np.rint(positions)) > 0.1).all(axis=1)]
    assert len(positions) > 20
    points = shapely.points(georef.to_lonlat(positions))
    for (col, row), point in zip(positions.astype(int), points, strict=True):
        around = [feature for feature, shape in zip(found, shapes, strict=True) if shape.contains(point)]
        assert [feature["properties"]["class"] for feature in around] == [CLASSES[labels[row, col]]]


@pytest.mark.parametrize("name", ACROSS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_points_lie_in_the_feature_of_their_pixel(name, seed):
    georef = ACROSS[name]
    labels = labels_for(georef, seed, classes=2)
    _, found = make_features(labels, georef)
    positions = np.random.default_rng(seed).random((80, 2)) * [georef.width, georef.height]
    check_points(found, labels, georef, positions)


POLE_PLACES = {
    "corner": (7.0, 6.0),
    "edge": (7.0, 5.3),
    "other_edge": (6.71, 6.0),
    "pixel": (6.4, 5.55),
    "raster_corner": (0.0, 13.0),
}


@pytest.mark.parametrize("crs", ["EPSG:3413", "EPSG:3031", "EPSG:6931"])
@pytest.mark.parametrize("place", POLE_PLACES)
@pytest.mark.parametrize("south_up", [False, True])
def test_regions_round_a_pole_are_valid_and_hold_their_points(crs, place, south_up):
    col, row = POLE_PLACES[place]
    pixel, up = 50_000.0, 1 if south_up else -1
    georef = Georef(crs, (pixel, 0.0, -pixel * col, 0.0, up * pixel, -up * pixel * row), 13, 15)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        labels = (rng.random((13, 15)) < (0.3, 0.5, 0.7)[seed % 3]).astype(np.uint8)
        _, found = make_features(labels, georef)
        near_pole = POLE_PLACES[place] + rng.uniform(-1.5, 1.5, (80, 2))
        near_pole = near_pole[((near_pole > 0) & (near_pole < [15, 13])).all(axis=1)]
        positions = np.concatenate([near_pole, rng.random((80, 2)) * [15, 13]])
        check_points(found, labels, georef, positions)
        check_rfc_7946({"type": "FeatureCollection", "features": found})


@pytest.mark.parametrize("name", ["north_pole", "south_pole", "south_pole_south_up"])
def test_a_belt_round_a_pole_does_not_hold_it(name):
    georef = ACROSS[name]
    labels = np.zeros((georef.height, georef.width), np.uint8)
    labels[10:30, 9:35] = 1
    labels[16:22, 20:28] = 0
    _, found = make_features(labels, georef)
    assert [feature["properties"]["class"] for feature in found] == ["sea", "land", "sea"]
    positions = np.random.default_rng(1).random((300, 2)) * [georef.width, georef.height]
    check_points(found, labels, georef, positions)
    pole = 90 if name.startswith("north") else -90
    assert [pole in feature["bbox"] for feature in found] == [False, False, True]


def test_a_raster_that_hangs_over_180_degrees_by_rounding_is_not_cut():
    georef = Georef("EPSG:4326", (10.0, 0.0, -180.0000004, 0.0, -10.0, 90.0000004), 18, 36)
    labels = labels_for(georef, 3)
    regions = whole_map(labels, labels, keeping())
    _, collection = write_collection(feature.text for feature in features(regions, georef, OPTIONS))
    check_rfc_7946(collection)
    assert {feature["geometry"]["type"] for feature in collection["features"]} == {"Polygon"}
    west, south, east, north = collection["bbox"]
    assert (west, north) == (-180, 90)
    assert (east, south) == (179.9999996, -89.9999996)


def test_a_cut_at_the_antimeridian_is_that_of_the_antimeridian_package():
    georef = ACROSS["pacific"]
    labels = np.zeros((georef.height, georef.width), np.uint8)
    labels[3:20, 2:30] = 1
    labels[9:11, 20:25] = 0
    regions, (feature,) = (
        make_features(labels, georef, keep=keeping(0))[0],
        make_features(labels, georef, keep=keeping(0))[1],
    )
    rings = lonlat_rings(regions, georef)
    lonlat = rings.lonlat.copy()
    lonlat[:, 0] = (lonlat[:, 0] + 180) % 360 - 180
    shell, hole = np.split(lonlat, rings.ring_offsets[1:-1])
    expected = antimeridian.fix_polygon(shapely.Polygon(shell[::-1], [hole]), great_circle=False)
    found = shapely.geometry.shape(feature["geometry"])
    assert feature["geometry"]["type"] == "MultiPolygon"
    assert found.symmetric_difference(expected).area < 1e-5
    assert feature["bbox"][0] > feature["bbox"][2]


def finely_cut(ring, pieces):
    share = np.linspace(0, 1, pieces, endpoint=False)[:, None]
    return np.concatenate([start + share * (end - start) for start, end in pairwise(np.asarray(ring, float))])


def area_less_holes(rings):
    shell, *holes = [abs(GEOD.polygon_area_perimeter(*ring.T)[0]) for ring in rings]
    return shell - sum(holes)


@pytest.mark.parametrize("name", GEOREFS)
def test_areas_are_those_of_pyproj(name):
    georef = GEOREFS[name]
    labels = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0]], np.uint8)
    small = whole_map(labels, labels, keeping(0))
    regions = replace(
        small, coords=small.coords * np.array([georef.width // 4, georef.height // 3], np.int32)
    )
    area = json.loads(features(regions, georef, OPTIONS)[0].text)["properties"]["area_m2"]

    edges = np.split(regions.coords, regions.ring_offsets[1:-1])
    true_area = area_less_holes([georef.to_lonlat(finely_cut(ring, 2000)) for ring in edges])
    perimeter_px = sum(np.abs(np.diff(ring, axis=0)).sum() for ring in edges)
    assert abs(area - true_area) < 0.1 * perimeter_px * georef.gsd() ** 2

    rings = lonlat_rings(regions, georef)
    chords = np.split(rings.lonlat, rings.ring_offsets[1:-1])
    assert area == pytest.approx(area_less_holes([finely_cut(ring, 500) for ring in chords]), rel=2e-7)


@pytest.mark.parametrize("name", [*GEOREFS, *ACROSS])
def test_perimeters_are_those_of_pyproj(name):
    georef = (GEOREFS | ACROSS)[name]
    labels = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 0]], np.uint8)
    small = whole_map(labels, labels, keeping(0))
    regions = replace(
        small, coords=small.coords * np.array([georef.width // 4, georef.height // 3], np.int32)
    )
    perimeter = json.loads(features(regions, georef, OPTIONS)[0].text)["properties"]["perimeter_m"]
    rings = lonlat_rings(regions, georef)
    chords = [finely_cut(ring, 500) for ring in np.split(rings.lonlat, rings.ring_offsets[1:-1])]
    geod = pyproj.Geod(ellps="WGS84")
    turns = [np.array([[360 * round((ring[-1, 0] - ring[0, 0]) / 360), 0]]) for ring in chords]
    closed = [np.concatenate([ring, ring[:1] + turn]) for ring, turn in zip(chords, turns, strict=True)]
    assert perimeter == pytest.approx(sum(geod.line_length(*ring.T) for ring in closed), rel=6e-7)


@pytest.mark.parametrize("name", ["utm", "degrees", "south_up", "polar"])
def test_small_holes_are_filled_and_large_ones_stay(name):
    labels = np.ones((30, 40), np.uint8)
    labels[5:7, 5:7] = labels[7, 7] = 0
    labels[10:20, 10:20] = 2
    labels[12:15, 12:14] = 1
    georef = Georef(GEOREFS[name].crs, GEOREFS[name].transform, *labels.shape)
    pixel = georef.gsd() ** 2
    plain, filled = (
        make_features(labels, georef, replace(OPTIONS, fill_holes_m2=least))[1] for least in (0, 50 * pixel)
    )
    holes = [[len(f["geometry"]["coordinates"]) - 1 for f in found] for found in (plain, filled)]
    assert holes == [[3, 0, 0, 1, 0], [1, 0, 0, 0, 0]]
    grown = [
        b["properties"]["area_m2"] - a["properties"]["area_m2"] for a, b in zip(plain, filled, strict=True)
    ]
    assert grown == pytest.approx([5 * pixel, 0, 0, 6 * pixel, 0], rel=0.05)


def test_unsure_regions_are_left_out():
    labels = np.array([[0, 1, 1, 0]], np.uint8)
    scores = np.array([[100, 200, 210, 205]], np.uint8)
    georef = Georef("EPSG:4326", (0.1, 0.0, 5.0, 0.0, -0.1, 50.0), 1, 4)
    regions = whole_map(labels, scores, keeping())
    found = features(regions, georef, replace(OPTIONS, min_score=205 / 255))
    assert [feature.first for feature in found] == [(0, 1), (0, 3)]


def test_a_region_touches_the_edge_where_the_raster_ends_at_it():
    labels = np.zeros((6, 9), np.uint8)
    labels[2:5, 2:7] = 1
    labels[3, 3] = labels[5, 4] = labels[0, 8] = labels[3, 0] = 2
    found = make_features(labels, Georef("EPSG:4326", (0.1, 0.0, 5.0, 0.0, -0.1, 50.0), 6, 9))[1]
    touching = [(f["properties"]["class"], f["properties"]["touches_edge"]) for f in found]
    at_edge = [True, True, False, True, False, True]
    assert touching == list(zip([CLASSES[i] for i in (0, 2, 1, 2, 2, 2)], at_edge, strict=True))


@pytest.mark.parametrize("name", ACROSS)
def test_areas_add_up_across_the_antimeridian_and_poles(name):
    georef = ACROSS[name]
    labels = labels_for(georef, 4)
    _, found = make_features(labels, georef)
    edge = np.array([[0, 0], [georef.width, 0], [georef.width, georef.height], [0, georef.height], [0, 0]])
    whole_earth = 510_065_621_724_088.5
    expected = area_less_holes([georef.to_lonlat(finely_cut(edge, 500))])
    if name == "from_0_to_360":
        expected = whole_earth
    total = sum(feature["properties"]["area_m2"] for feature in found)
    assert total == pytest.approx(expected, rel=1e-3)


def perpendicular_deviation(georef, start, end):
    """How far the lon/lat chord between two pixel corners leaves the edge between them, in pixels."""
    ends = georef.to_lonlat(np.array([start, end]))
    chord = ends[0] + np.linspace(0, 1, 21)[:, None] * (ends[1] - ends[0])
    x, y = rasterio.warp.transform("OGC:CRS84", georef.crs, *chord.T)
    back = ~Affine(*georef.transform)
    cols, rows = np.array([back @ point for point in zip(x, y, strict=True)]).T
    right, down = np.subtract(end, start)
    return np.abs((cols - start[0]) * down - (rows - start[1]) * right).max() / np.hypot(right, down)


@pytest.mark.parametrize("name", GEOREFS)
def test_long_edges_stay_within_a_tenth_of_a_pixel(name):
    georef = GEOREFS[name]
    rng = np.random.default_rng(3)
    worst = 0.0
    for inset in [0, *rng.integers(1, min(georef.height, georef.width) // 2, 3).tolist()]:
        right, bottom = georef.width - inset, georef.height - inset
        ring = np.array([[inset, inset], [right, inset], [right, bottom], [inset, bottom], [inset, inset]])
        dense, _ = densify(ring, np.array([0, 5]), densify_step(georef))
        for start, end in pairwise(dense):
            worst = max(worst, perpendicular_deviation(georef, start, end))
    assert worst <= 0.1


@pytest.mark.parametrize("name", GEOREFS)
def test_long_slanted_edges_stay_within_a_tenth_of_a_pixel(name):
    georef = GEOREFS[name]
    width, height = georef.width, georef.height
    ring = np.array([[0, height // 3], [width, 0], [width // 2, height], [0, height // 3]])
    dense, offsets = densify(ring, np.array([0, 4]), densify_step(georef))
    worst = max(perpendicular_deviation(georef, start, end) for start, end in pairwise(dense))
    assert worst <= 0.1
    assert offsets.tolist() == [0, len(dense)]
    backward, _ = densify(ring[::-1].copy(), np.array([0, 4]), densify_step(georef))
    assert np.array_equal(dense, backward[::-1])


def test_slanted_edges_are_cut_into_equal_parts():
    ring = np.array([[0, 0], [10, 4], [10, 6], [0, 0]])
    dense, _ = densify(ring, np.array([0, 4]), 8)
    assert dense.tolist() == [
        [0, 0], [10 / 3, 4 / 3], [20 / 3, 8 / 3], [10, 4], [10, 6], [20 / 3, 4], [10 / 3, 2], [0, 0],
    ]  # fmt: skip


def test_steps_are_powers_of_two_and_as_long_as_can_be():
    assert densify_step(GEOREFS["degrees"]) == 512
    assert densify_step(GEOREFS["web_mercator"]) == 8192
    world = Georef("EPSG:4326", (360 / 16_384, 0.0, -180.0, 0.0, -180 / 8_192, 90.0), 8_192, 16_384)
    assert densify_step(world) == 4096
    for name in ("utm_large", "polar", "rotated", "south_up"):
        step = densify_step(GEOREFS[name])
        assert 2 <= step < 4096
        assert step & (step - 1) == 0


@pytest.mark.parametrize("name", ["utm_large", "polar", "rotated"])
def test_a_step_twice_as_long_would_leave_the_edge(name):
    georef = GEOREFS[name]
    step = 4 * densify_step(georef)
    assert (
        max(
            perpendicular_deviation(georef, (0, georef.height), (step, georef.height)),
            perpendicular_deviation(georef, (0, 0), (step, 0)),
            perpendicular_deviation(georef, (georef.width, 0), (georef.width, step)),
        )
        > 0.1
    )


def test_edges_are_cut_on_one_lattice_whatever_their_ends():
    ring = np.array([[3, 2], [9, 2], [9, 8], [3, 8], [3, 2]])
    hole = np.array([[5, 5], [5, 6], [6, 6], [6, 5], [5, 5]])
    dense, offsets = densify(np.concatenate([ring, hole]), np.array([0, 5, 10]), 4)
    assert dense[:11].tolist() == [
        [3, 2], [4, 2], [8, 2], [9, 2], [9, 4], [9, 8], [8, 8], [4, 8], [3, 8], [3, 4], [3, 2],
    ]  # fmt: skip
    assert dense[11:].tolist() == hole.tolist()
    assert offsets.tolist() == [0, 11, 16]


@pytest.mark.parametrize("name", ["utm", *ACROSS])
def test_features_do_not_depend_on_how_many_are_laid_on_the_earth_at_once(name, monkeypatch):
    georef = (GEOREFS | ACROSS)[name]
    georef = Georef(georef.crs, georef.transform, min(georef.height, 45), min(georef.width, 53))
    labels = labels_for(georef, 5)
    regions = whole_map(labels, random_scores(labels, 2), keeping())
    expected = features(regions, georef, OPTIONS)
    assert len(expected) > 10
    for vertices in (1, 40):
        monkeypatch.setattr(outlines, "_BATCH", vertices)
        assert features(regions, georef, OPTIONS) == expected


def test_numbers_are_told_with_seven_digits():
    values = [0.0, 3.14159265358979, 0.000123456789, 9.99999996, 999999.96, 9999999.6, 123456789.4, 5.1e14]
    said = [0.0, 3.141593, 0.0001234568, 10.0, 1000000.0, 10000000.0, 123456789.0, 5.1e14]
    assert significant(values) == said
    assert significant(np.zeros(0)) == []


@pytest.mark.parametrize("seed", [0, 7, 23])
def test_features_do_not_depend_on_sheets(seed):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    georef = Georef(GEOREFS["polar"].crs, GEOREFS["polar"].transform, *labels.shape)
    expected = features(whole_map(labels, scores, keeping()), georef, OPTIONS)
    for size in (3, 8, 17):
        assert features(by_sheets(labels, scores, size, keeping()), georef, OPTIONS) == expected


def test_scores_are_the_mean_of_the_pixels_and_ids_name_the_first_pixel():
    labels = np.array([[0, 0, 1], [0, 1, 1]], np.uint8)
    scores = np.array([[255, 0, 10], [30, 20, 60]], np.uint8)
    regions = whole_map(labels, scores, keeping())
    georef = Georef("EPSG:4326", (0.1, 0.0, 5.0, 0.0, -0.1, 50.0), 2, 3)
    found = features(regions, georef, OPTIONS)
    assert [feature.first for feature in found] == [(0, 0), (0, 2)]
    properties = [json.loads(feature.text)["properties"] for feature in found]
    assert [feature.properties for feature in found] == properties
    assert [p["score"] for p in properties] == [round(285 / 3 / 255, 4), round(90 / 3 / 255, 4)]
    elsewhere = features(regions, georef, FeatureOptions("other", dict(enumerate(CLASSES))))
    ids = [json.loads(feature.text)["id"] for feature in found + elsewhere]
    assert len(set(ids)) == 4


def test_small_regions_are_left_out_by_their_area():
    labels = np.array([[1, 0, 1, 1], [0, 0, 1, 1]], np.uint8)
    georef = Georef("EPSG:32633", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), 2, 4)
    areas = {
        limit: [
            feature["properties"]["area_m2"]
            for feature in make_features(
                labels, georef, FeatureOptions("scene", dict(enumerate(CLASSES)), limit), keeping(0)
            )[1]
        ]
        for limit in (0.0, 150.0, 500.0)
    }
    assert areas[0.0] == pytest.approx([100.08, 400.32], rel=1e-4)
    assert areas[150.0] == areas[0.0][1:]
    assert areas[500.0] == []


def test_labels_without_a_name_are_called_by_their_number():
    labels = np.array([[7, 7, 1]], np.uint8)
    _, found = make_features(labels, GEOREFS["utm"])
    assert [feature["properties"]["class"] for feature in found] == ["7", CLASSES[1]]


def test_negative_areas_are_refused():
    with pytest.raises(ValueError, match="fill_holes_m2 must be 0 m2 or more, got nan"):
        FeatureOptions("scene", dict(enumerate(CLASSES)), fill_holes_m2=math.nan)
    with pytest.raises(ValueError, match="min_score must be 0 to 1, got 2"):
        FeatureOptions("scene", dict(enumerate(CLASSES)), min_score=2)
    with pytest.raises(ValueError, match="min_area_m2 must be 0 m2 or more, got -1"):
        FeatureOptions("scene", dict(enumerate(CLASSES)), -1)


def boxed(west, south, east, north):
    return json.dumps({"type": "Feature", "bbox": [west, south, east, north]}).encode()


def test_an_empty_collection_is_valid():
    written, collection = write_collection([])
    assert collection == {"type": "FeatureCollection", "features": []}
    assert (written.count, written.bounds) == (0, None)


def test_the_bbox_does_not_depend_on_the_order_of_features():
    boxes = [boxed(170, -3, 175, 1), boxed(-179, 0, -170.5, 8), boxed(178, 2, -179, 3)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]):
        _, collection = write_collection([boxes[i] for i in order])
        assert collection["bbox"] == [170, -3, -170.5, 8]


def test_the_bbox_holds_all_features_however_many_there_are():
    for outlier in (0, 4095, 4096, 8191, 9000):
        boxes = [boxed(10, 20, 11, 21)] * 9001
        boxes[outlier] = boxed(-5, 60, 40, 61)
        written, collection = write_collection(boxes)
        assert (written.count, collection["bbox"]) == (9001, [-5, 20, 40, 61])


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(-10, 0, 20, 5), (30, -5, 40, 1)], [-10, -5, 40, 5]),
        ([(-180, 0, -170, 5), (0, 0, 180, 5)], [0, 0, -170, 5]),
        ([(179, 0, -179, 5), (-1, 0, 1, 5)], [-180, 0, 180, 5]),
        ([(-180, -90, 180, 90)], [-180, -90, 180, 90]),
        ([(-60, 1, 0, 2), (-170, 1, -160, 2)], [-170, 1, 0, 2]),
    ],
)
def test_the_bbox_takes_the_narrower_way_round(boxes, expected):
    assert write_collection([boxed(*box) for box in boxes])[1]["bbox"] == expected


def test_a_feature_without_bbox_is_an_error_and_leaves_no_file(tmp_path):
    path = tmp_path / "polygons.geojson"
    for wrong in (b'{"type":"Feature"}', b'{"type":"Feature","id":"a","bbox":[1,2,3]}'):
        with pytest.raises(ValueError, match="a feature has no bbox of four numbers"):
            write_geojson(path, [boxed(1, 2, 3, 4), wrong])
    assert list(tmp_path.iterdir()) == []


def test_a_collection_in_a_file_is_the_one_in_memory(tmp_path):
    labels = random_labels(4)
    georef = Georef("EPSG:4326", (0.1, 0.0, 5.0, 0.0, -0.1, 50.0), *labels.shape)
    texts = [feature.text for feature in features(whole_map(labels, labels, keeping()), georef, OPTIONS)]
    path = tmp_path / "polygons.geojson"
    written = write_geojson(path, iter(texts), name='a "scene"')
    _, collection = write_collection(texts, name='a "scene"')
    assert json.loads(path.read_bytes()) == collection
    assert collection["name"] == 'a "scene"'
    assert written.count == len(texts)
    assert math.isclose(written.bounds[0], collection["bbox"][0])
