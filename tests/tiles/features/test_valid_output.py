"""Geometries as they are written: decimals that suit the pixels, and nothing that crosses itself."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
import shapely
from georefs import GEOREFS
from label_maps import keeping, whole_map
from scipy import ndimage
from tiers import some

from terraseam.tiles.features.decimals import decimals
from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.valid_output import grouped_polygons, valid_shapes
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.ground import PixelPlane
from terraseam.tiles.regions.tolerance import Tolerance

SIDE = 60
WEST_OF_180 = 166_021.443
"""Easting at which zone 1 of UTM begins, on the equator."""


def blobs(seed, classes=2):
    """Smooth blobs, so that there are long slanted borders, and crumbs among them."""
    rng = np.random.default_rng(seed)
    fields = ndimage.gaussian_filter(rng.normal(size=(classes, SIDE, SIDE)), (0, 1.2, 1.2))
    return fields.argmax(axis=0).astype(np.uint8)


def ground_of(metres, place="middle"):
    """A raster of UTM with pixels of so many metres, in the middle of a zone or over 180 degrees."""
    if place == "across":
        return Georef("EPSG:32601", (metres, 0, WEST_OF_180 - metres * SIDE / 2, 0, -metres, 0.3), SIDE, SIDE)
    return Georef("EPSG:32633", (metres, 0, 500_000.003, 0, -metres, 5_600_000.007), SIDE, SIDE)


def written(labels, ground, tolerance_px=None, **options):
    """Shapes in GeoJSON and in the raster's CRS, and the properties, of each feature."""
    steps = ground.ground_steps()
    metres = tolerance_px and tolerance_px * np.hypot(*steps[0])
    tolerance = Tolerance(metres, steps) if metres else None
    corners = options.get("in_parts", False)
    regions = whole_map(labels, labels, keeping(), tolerance, by_corners=corners)
    found = features(regions, ground, FeatureOptions("scene", {}, wkb=True, **options))
    texts = [orjson.loads(feature.text) for feature in found]
    shapes = shapely.from_geojson([orjson.dumps(text["geometry"]) for text in texts])
    return shapes, shapely.from_wkb([feature.wkb for feature in found]), texts


@pytest.mark.parametrize("name", GEOREFS)
def test_ordinary_pixels_have_degrees_of_7_decimals(name):
    assert decimals(GEOREFS[name]) == 7


@pytest.mark.parametrize(
    ("metres", "expected"), [(0.1, 7), (0.05, 8), (0.01, 8), (0.005, 9), (0.0005, 10), (1e-9, 12)]
)
def test_decimals_are_those_that_a_tenth_of_a_pixel_needs(metres, expected):
    assert decimals(ground_of(metres)) == expected


def test_decimals_are_those_of_the_narrowest_pixels():
    mercator = Georef("EPSG:3857", (0.15, 0, 1.4e6, 0, -0.15, 1e5), 100, 100)
    tall = replace(mercator, transform=(0.15, 0, 1.4e6, 0, -0.15, 1.2e7), height=80_000_000)
    assert (decimals(mercator), decimals(tall)) == (7, 8)
    flat = replace(mercator, transform=(3.0, 0, 1.4e6, 0, -0.001, 6.9e6))
    assert decimals(flat) == decimals(ground_of(0.0005))


@pytest.mark.parametrize("place", ["corner", "middle"])
def test_a_pole_asks_for_no_decimals(place):
    col = 0 if place == "corner" else 10
    assert decimals(Georef("EPSG:3413", (100.0, 0, -100.0 * col, 0, -100.0, 100.0 * col), 20, 20)) == 7


@pytest.mark.parametrize("metres", [0.01, 0.0005])
def test_corners_of_small_pixels_are_written_where_they_are(metres):
    ground, labels = ground_of(metres), blobs(1)
    shapes, maps, _ = written(labels, ground)
    for shape, expected in zip(shapes, maps, strict=True):
        px = ground.to_pixels(shapely.get_coordinates(expected))
        back = ground.from_lonlat(shapely.get_coordinates(shape))
        nearest = np.abs(back[:, None] - px[None]).max(axis=2).min(axis=0)
        assert nearest.max() <= 0.1


@pytest.mark.parametrize("metres", some([0.0005, 0.1, None, 0.01, 10.0], 3))
@pytest.mark.parametrize("options", [{}, {"in_parts": True}, {"regularized": True}], ids=str)
@pytest.mark.parametrize("tolerance_px", [None, 3.0])
def test_every_geometry_is_valid_as_it_is_written(metres, options, tolerance_px):
    for seed in range(3):
        ground = PixelPlane(SIDE, SIDE) if metres is None else ground_of(metres)
        shapes, maps, texts = written(blobs(seed), ground, tolerance_px, **options)
        assert shapely.is_valid(shapes).all() and shapely.is_valid(maps).all()
        assert set(shapely.get_type_id(maps)) == {6 if options.get("in_parts") else 3}
        low, high = shapely.bounds(shapes).T.reshape(2, 2, -1)
        boxes = np.array([text["bbox"] for text in texts]).T.reshape(2, 2, -1)
        assert np.array_equal(low, boxes[0]) and np.array_equal(high, boxes[1])


@pytest.mark.parametrize("metres", [0.005, 0.01, 0.1, 1.0])
def test_small_pixels_over_180_degrees_are_cut_between_them(metres):
    ground = ground_of(metres, "across")
    shapes, maps, texts = written(blobs(4), ground)
    assert shapely.is_valid(shapes).all()
    degrees = shapely.area(shapes) / (metres / 111_320) ** 2
    assert np.allclose(degrees, shapely.area(maps) / metres**2, rtol=0.15)
    assert degrees.sum() == pytest.approx(SIDE**2, rel=0.02)
    west, _, east, _ = np.array([text["bbox"] for text in texts]).T
    assert (west > east).any() and (west < east).any()


def test_shapes_that_cross_themselves_become_what_they_cover():
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    twice = shapely.MultiPolygon([shapely.box(0, 0, 2, 2), shapely.box(1, 0, 3, 2)])
    right = shapely.box(0, 0, 1, 1)
    found = valid_shapes(np.array([bow, twice, right], dtype=object))
    assert shapely.is_valid(found).all() and found[2] is right
    assert shapely.area(found).tolist() == [2, 6, 1] and found[1].geom_type == "MultiPolygon"


def test_multipolygons_of_groups_are_those_of_their_polygons():
    labels = blobs(3, classes=3)
    regions, groups = whole_map(labels, labels, keeping(), by_corners=True).by_group()
    made = grouped_polygons(
        regions.coords.astype(np.float64), regions.ring_offsets, regions.region_offsets, groups
    )
    polygons = regions.polygons()
    spans = zip(groups[:-1].tolist(), groups[1:].tolist(), strict=True)
    assert [shape.wkb for shape in made] == [
        shapely.MultiPolygon(polygons[start:end].tolist()).wkb for start, end in spans
    ]
    assert len(made) < len(regions) and any(part.interiors for shape in made for part in shape.geoms)
