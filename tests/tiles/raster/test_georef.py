import pickle

import numpy as np
import pyproj
import pytest
import rasterio.transform
import rasterio.warp
from affine import Affine
from georefs import GEOREFS, HALF_WORLD, random_positions

from terraseam.tiles.raster.georef import Georef

GEOD = pyproj.Geod(ellps="WGS84")
IDENTITY = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def map_coordinates(georef, positions):
    cols, rows = positions.T
    return np.stack(rasterio.transform.xy(Affine(*georef.transform), rows, cols, offset="ul"), axis=1)


@pytest.mark.parametrize("name", GEOREFS)
def test_map_coordinates_are_those_of_rasterio(name):
    georef = GEOREFS[name]
    positions = random_positions(georef, 100)
    expected = map_coordinates(georef, positions)
    found = georef.to_map(positions)
    assert np.allclose(found, expected, rtol=1e-15, atol=1e-9)
    assert np.allclose(georef.to_pixels(found), positions, atol=1e-6)


@pytest.mark.parametrize("name", GEOREFS)
def test_lonlat_is_that_of_rasterio(name):
    georef = GEOREFS[name]
    positions = random_positions(georef, 100)
    x, y = map_coordinates(georef, positions).T
    expected = np.stack(rasterio.warp.transform(georef.crs, "OGC:CRS84", x, y), axis=1)
    found = georef.to_lonlat(positions)
    assert np.abs(found - expected).max() < 1e-9
    assert np.allclose(georef.from_lonlat(found), positions, atol=1e-4)


@pytest.mark.parametrize("name", GEOREFS)
def test_gsd_is_the_ground_distance_of_pixel_centres(name):
    georef = GEOREFS[name]
    col, row = georef.width / 2, georef.height / 2
    area = georef.to_lonlat(
        np.array(
            [[col - 0.5, row - 0.5], [col + 0.5, row - 0.5], [col + 0.5, row + 0.5], [col - 0.5, row + 0.5]]
        )
    )
    metres = np.sqrt(abs(GEOD.polygon_area_perimeter(*area.T)[0]))
    assert georef.gsd() == pytest.approx(metres, rel=1e-4)


def test_gsd_in_web_mercator_is_ground_metres_not_nominal_ones():
    transform = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True)
    x, y = transform.transform(10.0, 60.0)
    georef = Georef("EPSG:3857", (1.0, 0.0, x - 50, 0.0, -1.0, y + 50), 100, 100)
    assert georef.gsd() == pytest.approx(0.5, rel=0.005)


def test_gsd_does_not_depend_on_the_antimeridian():
    sizes = [
        Georef("EPSG:4326", (0.01, 0.0, west, 0.0, -0.01, 45.0), 100, 200).gsd() for west in (10.0, 179.0)
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-9)


def test_both_ends_of_a_web_mercator_world_keep_their_longitude():
    world = Georef("EPSG:3857", (HALF_WORLD / 8, 0, -HALF_WORLD, 0, -HALF_WORLD / 8, HALF_WORLD), 16, 16)
    lon = world.to_lonlat(np.array([[0, 8], [8, 8], [16, 8]]))[:, 0]
    assert lon.tolist() == [-180.0, 0.0, 180.0]


def test_longitudes_beyond_180_degrees_are_brought_back():
    raster = Georef("EPSG:4326", (10.0, 0.0, 0.0, 0.0, -10.0, 90.000001), 18, 36)
    lonlat = raster.to_lonlat(np.array([[0, 0], [18, 3], [19, 3], [36, 3]]))
    assert lonlat[:, 0].tolist() == [0.0, 180.0, -170.0, 0.0]
    assert lonlat[0, 1] == 90.0


def test_positions_without_longitude_are_an_error():
    globe = Georef("+proj=ortho +lat_0=0 +lon_0=0 +ellps=sphere", (1e5, 0, -8e6, 0, -1e5, 8e6), 160, 160)
    assert np.isfinite(globe.to_lonlat(np.array([[80, 80]]))).all()
    assert np.isnan(globe.lonlat_or_nan(np.array([[1, 2], [80, 80]]))).tolist() == [[True] * 2, [False] * 2]
    with pytest.raises(ValueError, match="column 1, row 2 of the raster lies outside the area of its CRS"):
        globe.to_lonlat(np.array([[80, 80], [1, 2]]))


@pytest.mark.parametrize("name", GEOREFS)
def test_south_up_and_only_south_up_is_mirrored(name):
    assert GEOREFS[name].mirrored == (name == "south_up")


def test_georefs_are_values():
    georef = GEOREFS["utm"]
    assert pickle.loads(pickle.dumps(georef)) == georef
    assert hash(pickle.loads(pickle.dumps(georef))) == hash(georef)


@pytest.mark.parametrize(
    ("crs", "transform", "shape", "message"),
    [
        ("EPSG:32633", IDENTITY, (0, 4), "1 px or more on each side, got 0 x 4 px"),
        ("EPSG:32633", (1.0, 0.0, 0.0, 0.0, float("nan"), 0.0), (3, 4), "six finite numbers"),
        ("EPSG:32633", (1.0, 2.0, 0.0, 2.0, 4.0, 0.0), (3, 4), "every pixel onto one line or point"),
        ("EPSG:32633", (1.0, 2.0, 0.0), (3, 4), "six finite numbers"),
        ("a field", IDENTITY, (3, 4), "'a field' is not a CRS that PROJ knows"),
        ("EPSG:4978", IDENTITY, (3, 4), "'WGS 84' is neither geographic nor projected"),
    ],
)
def test_what_is_no_place_on_earth_is_refused(crs, transform, shape, message):
    with pytest.raises(ValueError, match=message):
        Georef(crs, transform, *shape)
