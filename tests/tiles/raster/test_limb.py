"""Rasters that are partly off the Earth, held against places all over it that are looked up in the raster."""

import json
from dataclasses import replace

import numpy as np
import pyproj
import pytest
import rasterio.features
import shapely
from affine import Affine
from label_maps import keeping, whole_map
from regularize_cases import neighbourhood
from vectorize_cases import collection, write_labels
from world_rasters import GEOS, WORLDS, checkers, world

from terraseam.pipeline.cli import main
from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.earth import OnEarth, find_off_earth, on_earth
from terraseam.tiles.raster.georef import Georef, OffEarthError
from terraseam.tiles.vectors.placing import footprint, polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile

EARTH_M2 = 510065621724088.4


def all_over_the_earth(count=20_000):
    """Longitudes and latitudes of places each of which stands for the same area."""
    number = np.arange(count) + 0.5
    lon = (np.degrees(np.pi * (1 + 5**0.5) * number) + 180) % 360 - 180
    cylinder = pyproj.Transformer.from_crs("+proj=cea +ellps=WGS84", "EPSG:4326", always_xy=True)
    _, top = cylinder.transform(0, 90, direction="INVERSE")
    return lon, cylinder.transform(0 * lon, top * (1 - 2 * number / count))[1]


def looked_up(labels, georef, lon, lat):
    """The label of the pixel in which each place is seen."""
    to_degrees = pyproj.Transformer.from_crs(georef.crs, "EPSG:4326", always_xy=True)
    x, y = to_degrees.transform(lon, lat, direction="INVERSE")
    there = np.isfinite(x) & np.isfinite(y)
    col, row = np.full((2, len(x)), -1)
    col[there], row[there] = np.floor(georef.to_pixels(np.stack([x, y], axis=1)[there])).astype(int).T
    there &= (col >= 0) & (col < georef.width) & (row >= 0) & (row < georef.height)
    seen_lon, seen_lat = to_degrees.transform(np.where(there, x, 0), np.where(there, y, 0))
    apart = np.abs((np.nan_to_num(seen_lon - lon, posinf=9) + 180) % 360 - 180) * np.cos(np.radians(lat))
    there &= (apart < 1e-3) & (np.abs(seen_lat - lat) < 1e-3)
    return np.where(there, labels[row * there, col * there], 255)


def geometries(found):
    return [shapely.geometry.shape(json.loads(feature.text)["geometry"]) for feature in found]


@pytest.mark.parametrize("name", WORLDS)
def test_polygons_of_a_whole_disc_lie_where_its_pixels_are_seen(name):
    georef = world(name)
    labels = checkers(georef)
    found = features(whole_map(labels, labels, keeping()), georef, FeatureOptions("world", {}))
    shapes = geometries(found)
    assert all(shape.is_valid for shape in shapes)
    lon, lat = all_over_the_earth()
    expected = looked_up(labels, georef, lon, lat)
    point, polygon = shapely.STRtree(shapes).query(shapely.points(lon, lat), predicate="within")
    label = np.full(len(lon), 255)
    label[point] = np.array([int(feature.properties["class"]) for feature in found])[polygon]
    assert (label != expected).mean() < 0.012
    for value in range(3):
        area = sum(
            feature.properties["area_m2"] for feature in found if feature.properties["class"] == str(value)
        )
        assert area == pytest.approx((expected == value).mean() * EARTH_M2, rel=0.02)


@pytest.mark.parametrize("name", ["geostationary", "mollweide"])
def test_right_angles_at_the_limb_stay_on_the_earth(name):
    georef = world(name)
    labels = checkers(georef)
    around = neighbourhood(labels, keeping())
    regions = whole_map(labels, labels, keeping(), by_corners=True)
    options = FeatureOptions("world", {}, regularized=True, in_parts=True, wkb=True)
    found = features(regions, georef, options, replace(around, regions=regions))
    assert all(shape.is_valid for shape in geometries(found))
    assert any(feature.properties["regularized"] for feature in found)


def test_the_gsd_is_measured_where_a_raster_is_on_the_earth():
    tile = Georef("ESRI:54009", (10000, 0, 10000000, 0, -10000, 8000000), 100, 400)
    whole = Georef("ESRI:54009", (10000, 0, -18050000, 0, -10000, 9025000), 1805, 3610)
    assert np.isnan(tile.lonlat_or_nan(np.array([[200, 50]]))).all()
    assert np.isfinite(tile.lonlat_or_nan(np.array([tile.middle()]))).all()
    assert whole.middle() == (1805, 902.5)
    assert tile.gsd() == pytest.approx(10000, rel=0.6)
    corner = Georef(GEOS, (2000, 0, 5_400_000, 0, -2000, 5_500_000), 30, 30)
    with pytest.raises(OffEarthError, match="no part of it lies on the Earth: its centre, column 15, row 15"):
        corner.gsd()


def test_longitudes_that_lead_elsewhere_are_off_the_earth():
    sinusoidal = world("sinusoidal")
    corner = np.array([[0.5, 0.5]])
    assert np.isnan(sinusoidal.lonlat_or_nan(corner)).all()
    with pytest.raises(OffEarthError, match=r"column 0.5, row 0.5 of the raster lies outside the area"):
        sinusoidal.to_lonlat(corner)
    across = Georef("EPSG:3857", (50000, 0, 19_500_000, 0, -50000, 1_000_000), 20, 30)
    assert np.isfinite(across.to_lonlat(np.array([[29.5, 3]]))).all()


def test_rasters_at_the_limb_are_vectorized_the_same_whatever_the_sheets(tmp_path):
    paths = []
    for name in ("geostationary", "sinusoidal"):
        georef = world(name)
        path = tmp_path / f"{name}.tif"
        transform = Affine(*georef.transform)
        paths.append(write_labels(path, checkers(georef), crs=georef.crs, transform=transform))
    for side in ("40", "2048"):
        argv = [*map(str, paths), "--output", str(tmp_path / side), "--sheet", side]
        assert main(["vectorize", *argv, "--sieve", "1e12", "--format", "geojson,pmtiles"]) == 0
    for path in paths:
        assert collection(tmp_path / "40", path.stem) == collection(tmp_path / "2048", path.stem)
        assert collection(tmp_path / "40", path.stem)["features"]


@pytest.mark.parametrize("name", WORLDS)
def test_pixels_whose_centre_is_off_the_earth_are_found_whatever_the_window(name):
    georef = world(name)
    everywhere = Window(0, 0, georef.height, georef.width)
    off = find_off_earth(georef, everywhere, np.ones(everywhere.shape, bool))
    gaps = 13 if name == "interrupted" else 0
    wrong = off != (checkers(georef) == 255)
    assert off.any() and wrong.sum() == gaps and not off[wrong].any()
    part = Window(-3, 17, 41, georef.width)
    expected = np.pad(off, ((3, 0), (0, 17)), constant_values=True)[:41, 17:]
    found = find_off_earth(georef, part, np.ones(part.shape, bool))
    inside = part.intersection(everywhere).within(part)
    assert np.array_equal(found[inside], expected[inside])
    assert np.array_equal(OnEarth(georef).mask(part), ~found)
    assert not find_off_earth(georef, everywhere, ~off & (checkers(georef) != 255)).any()


def test_pixels_measured_off_the_earth_count_as_nodata_and_end_no_run(tmp_path, capsys):
    georef = world("geostationary")
    known = checkers(georef)
    off = known == 255
    place = {"crs": georef.crs, "transform": Affine(*georef.transform)}
    (tmp_path / "in").mkdir()
    write_labels(tmp_path / "in" / "right.tif", known, **place)
    write_labels(tmp_path / "in" / "space.tif", np.where(off, 2, known).astype(np.uint8), **place)
    write_labels(tmp_path / "in" / "town.tif", known[40:70, 40:70])
    for side in ("40", "2048"):
        out = tmp_path / side
        argv = [str(tmp_path / "in"), "--output", str(out), "--sheet", side, "--sieve", "1e12"]
        assert main(["vectorize", *argv]) == 0
        said = capsys.readouterr()
        assert f"space: {off.sum():,} valid pixels have no place on the Earth and count as nodata" in (
            said.out
        )
        assert "right:" not in said.out and "town:" not in said.out
        rasters = json.loads((out / "manifest.json").read_text())["rasters"]
        found = {one["id"]: one["off_earth_px"] for one in rasters}
        assert found == {"right": 0, "space": off.sum(), "town": 0}
        right, space = (collection(out, name)["features"] for name in ("right", "space"))
        assert [one["geometry"] for one in space] == [one["geometry"] for one in right] and right
    assert collection(tmp_path / "40", "space") == collection(tmp_path / "2048", "space")
    everything = np.where(off, 2, known).astype(np.uint8)
    write_labels(tmp_path / "plain.tif", everything, **place)
    argv = ["vectorize", str(tmp_path / "plain.tif"), "--output", str(tmp_path / "px"), "--pixel-coordinates"]
    assert main(argv) == 0
    areas = [one["properties"]["area_px"] for one in collection(tmp_path / "px", "plain")["features"]]
    assert sum(areas) == off.size


def test_areas_that_reach_over_the_limb_are_cut_to_what_is_seen():
    georef = world("geostationary")
    far = PolygonFile("x", "EPSG:4326", np.array([shapely.box(-80, -30, 30, 60)], object), (None,))
    placed = polygons_to_pixels(far, georef)
    assert (placed.lost, placed.outside) == (0, 0)
    cols, rows = np.meshgrid(np.arange(georef.width) + 0.5, np.arange(georef.height) + 0.5)
    lon, lat = georef.lonlat_or_nan(np.stack([cols.ravel(), rows.ravel()], axis=1)).T
    expected = (lon > -80) & (lon < 30) & (lat > -30) & (lat < 60)
    centres = shapely.points(cols.ravel(), rows.ravel())
    other = centres[shapely.contains(placed.polygons[0], centres) != expected]
    assert expected.sum() > 2000 and (shapely.distance(placed.polygons[0].boundary, other) < 0.1).all()
    hidden = PolygonFile("x", "EPSG:4326", np.array([shapely.box(80, -30, 130, 60)], object), (None,))
    assert polygons_to_pixels(hidden, georef).lost == 1


@pytest.mark.parametrize("name", WORLDS)
def test_polygons_that_were_made_of_a_raster_are_laid_back_onto_its_pixels(name):
    georef = world(name)
    labels = checkers(georef)
    found = features(whole_map(labels, labels, keeping()), georef, FeatureOptions("world", {}))
    shapes = np.array(geometries(found), object)
    placed = polygons_to_pixels(PolygonFile("x", "EPSG:4326", shapes, (None,) * len(shapes)), georef)
    assert (placed.lost, placed.outside) == (0, 0)
    values = [int(found[number].properties["class"]) for number in placed.numbers]
    pairs = list(zip(placed.polygons, values, strict=True))
    burnt = rasterio.features.rasterize(pairs, labels.shape, fill=255, dtype="uint8")
    assert (burnt != labels)[labels != 255].mean() < (0.015 if name == "interrupted" else 0.003)
    assert len(polygons_to_pixels(footprint("x", georef), georef).polygons) == 1


def test_a_raster_at_the_limb_lies_where_others_see_it():
    georef = world("geostationary")
    outline = footprint("x", georef)
    assert len(polygons_to_pixels(outline, georef).polygons) == 1
    brazil = Georef("EPSG:32723", (1000, 0, 200_000, 0, -1000, 8_000_000), 50, 50)
    siberia = Georef("EPSG:3857", (1000, 0, 14_000_000, 0, -1000, 8_000_000), 50, 50)
    assert len(polygons_to_pixels(outline, brazil).polygons) == 1
    assert not len(polygons_to_pixels(outline, siberia).polygons)
    assert on_earth(brazil).area == 2500
    corner, dark = Window(0, 0, 30, 30), Window(0, 0, 5, 5)
    assert 0 < on_earth(georef, corner).area < 900
    assert on_earth(georef, dark) is None
