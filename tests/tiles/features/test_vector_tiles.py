"""Vector tiles, read back by GDAL, and their archives by the package of those who made the format."""

import gzip
import json
import math
from dataclasses import replace

import numpy as np
import pyogrio
import pytest
import shapely
from georefs import GEOREFS
from label_maps import keeping, random_labels, whole_map
from pmtiles.reader import MmapSource, Reader, all_tiles
from pmtiles.tile import tileid_to_zxy
from vectorize_cases import vectorize, write_labels

from terraseam.tiles.features import vector_tiles
from terraseam.tiles.features.features import FeatureOptions, features
from terraseam.tiles.features.gis_formats import Table
from terraseam.tiles.features.pmtiles import Archive, MapView, Tile
from terraseam.tiles.features.vector_tiles import HIGHEST_LATITUDE, finest_zoom, to_mercator, write_pmtiles
from terraseam.tiles.raster.georef import Georef

OPTIONS = FeatureOptions("scene", {})
WORLD = 2 * math.pi * 6378137.0
ACROSS = {
    "degrees": Georef("EPSG:4326", (0.1, 0.0, 176.0, 0.0, -0.1, 2.0), 40, 80),
    "from_0_to_360": Georef("EPSG:4326", (4.5, 0.0, 0.0, 0.0, -4.0, 80.0), 40, 80),
    "pacific": Georef("EPSG:3832", (20_000.0, 0.0, 2.5e6, 0.0, -20_000.0, 2.0e6), 40, 80),
    "pole": Georef("EPSG:3413", (50_000.0, 0.0, -2.0e6, 0.0, -50_000.0, 1.0e6), 40, 80),
    "south_pole": Georef("EPSG:3031", (50_000.0, 0.0, -2.0e6, 0.0, 50_000.0, -1.0e6), 40, 80),
    "beside": Georef("EPSG:4326", (0.1, 0.0, 170.0, 0.0, -0.1, 2.0), 40, 80),
}


def bar(georef):
    """One class, and a bar of another one in its middle."""
    labels = np.ones((georef.height, georef.width), np.uint8)
    labels[10:20, 10:70] = 2
    return labels


def noise(side, seed=0):
    return np.random.default_rng(seed).integers(0, 5, (side, side)).astype(np.uint8)


def made(labels, georef):
    georef = replace(georef, height=labels.shape[0], width=labels.shape[1])
    return features(whole_map(labels, labels, keeping()), georef, OPTIONS), georef


def write(path, labels, georef):
    found, georef = made(labels, georef)
    return found, write_pmtiles(path, iter(found), Table(georef, "Polygon"))


def read(path, zoom):
    """Ids and shapes of a zoom level, in metres of the map."""
    meta, _, shapes, columns = pyogrio.raw.read(path, ZOOM_LEVEL=str(zoom))
    return columns[list(meta["fields"]).index("id")], shapely.make_valid(shapely.from_wkb(shapes))


def header_of(path):
    with path.open("rb") as file:
        return Reader(MmapSource(file)).header()


def tiles_of(path):
    with path.open("rb") as file:
        return [zxy for zxy, _ in all_tiles(MmapSource(file))]


def on_the_map(feature):
    """The shape of a feature in GeoJSON, in metres of the map as far as that reaches."""
    shape = shapely.from_geojson(json.dumps(json.loads(feature.text)["geometry"]))
    inside = shapely.box(-180, -HIGHEST_LATITUDE, 180, HIGHEST_LATITUDE)
    return shapely.transform(shapely.intersection(shape, inside), to_mercator)


@pytest.mark.parametrize("name", ACROSS)
def test_every_zoom_level_shows_what_lies_over_180_degrees_and_round_a_pole(name, tmp_path):
    georef = ACROSS[name]
    found, summary = write(tmp_path / "a.pmtiles", bar(georef), georef)
    for zoom in range(summary.least_zoom, summary.finest_zoom + 1):
        ids, shapes = read(tmp_path / "a.pmtiles", zoom)
        for feature in found:
            shown = shapely.union_all(shapes[ids == feature.identity])
            expected = on_the_map(feature)
            assert shown.area == pytest.approx(expected.area, rel=0.1)
            assert shown.symmetric_difference(expected).area < 0.1 * expected.area
    assert summary.thinned == () and summary.beyond_the_map == 0


@pytest.mark.parametrize("name", [*ACROSS, "utm", "south_up", "rotated"])
def test_the_header_says_where_something_is_shown(name, tmp_path):
    georef = {**GEOREFS, **ACROSS}[name]
    labels = bar(georef) if name in ACROSS else random_labels(6)
    found, summary = write(tmp_path / "a.pmtiles", labels, georef)
    header, tiles = header_of(tmp_path / "a.pmtiles"), tiles_of(tmp_path / "a.pmtiles")
    zooms = {zoom for zoom, _, _ in tiles}
    assert (header["min_zoom"], header["max_zoom"]) == (min(zooms), max(zooms))
    assert (summary.least_zoom, summary.finest_zoom) == (min(zooms), max(zooms))
    west, south, east, north = (
        header[f"{side}_e7"] / 1e7 for side in ("min_lon", "min_lat", "max_lon", "max_lat")
    )
    bounds = shapely.total_bounds([on_the_map(feature) for feature in found])
    corners = to_mercator(np.array([[west, south], [east, north]])).ravel()
    assert np.allclose(corners, bounds, atol=0.02 + 1e-9 * WORLD)
    x, y = to_mercator(np.array([[header["center_lon_e7"], header["center_lat_e7"]]]) / 1e7)[0] / WORLD
    zoom = header["center_zoom"]
    place = zoom, math.floor((x + 0.5) * 2**zoom), math.floor((0.5 - y) * 2**zoom)
    assert place in {(z, x, y) for z, x, y in tiles}


def test_lakes_are_no_land_where_their_shores_are_thinner_than_a_step(tmp_path):
    labels = np.ones((64, 64), np.uint8)
    labels[4:60, 4:63] = 2
    found, summary = write(tmp_path / "a.pmtiles", labels, GEOREFS["web_mercator"])
    land = found[0]
    for zoom in range(summary.finest_zoom - 3, summary.finest_zoom + 1):
        ids, shapes = read(tmp_path / "a.pmtiles", zoom)
        shown = shapely.union_all(shapes[ids == land.identity])
        assert shown.area == pytest.approx(on_the_map(land).area, rel=0.25), zoom


def test_the_centre_is_in_the_middle_of_what_lies_over_180_degrees(tmp_path):
    write(tmp_path / "a.pmtiles", bar(ACROSS["degrees"]), ACROSS["degrees"])
    assert abs(header_of(tmp_path / "a.pmtiles")["center_lon_e7"]) == 1_800_000_000


def test_what_lies_nearer_to_a_pole_than_the_map_reaches_is_counted(tmp_path):
    georef = Georef("EPSG:3413", (5_000.0, 0.0, -1.0e5, 0.0, -5_000.0, 1.0e5), 40, 40)
    found, summary = write(tmp_path / "a.pmtiles", bar(georef), georef)
    assert summary is None and len(found) == 2
    wide = replace(georef, transform=(30_000.0, 0.0, -6.0e5, 0.0, -30_000.0, 6.0e5))
    labels = bar(wide)
    labels[20, 20] = 3
    _, summary = write(tmp_path / "b.pmtiles", labels, wide)
    assert summary.beyond_the_map == 1


@pytest.mark.slow
def test_the_finest_zoom_holds_every_feature_of_a_crowded_tile(tmp_path):
    """A tile of more than the 500,000 bytes at which GDAL makes them coarser, and leaves features out."""
    path = tmp_path / "a.pmtiles"
    found, summary = write(path, noise(210), GEOREFS["utm"])
    ids, shapes = read(path, summary.finest_zoom)
    assert set(ids) == {feature.identity for feature in found} and len(found) > 25_000
    expected = sum(on_the_map(feature).area for feature in found)
    assert shapely.area(shapes).sum() == pytest.approx(expected, rel=0.01)
    with path.open("rb") as file:
        largest = max(len(content) for _, content in all_tiles(MmapSource(file)))
    assert largest > 500_000


def test_crowded_tiles_of_lower_zooms_lose_the_smallest_polygons_and_no_more_than_need_be(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(vector_tiles, "MOST_POLYGONS", 300)
    path, labels = tmp_path / "a.pmtiles", noise(50)
    labels[5:40, 10:30] = 7
    found, summary = write(path, labels, GEOREFS["utm"])
    unit = {zoom: WORLD / 2**zoom / 4096 for zoom in range(23)}
    sizes = {feature.identity: on_the_map(feature).area for feature in found}
    assert [one.zoom for one in summary.thinned] == list(range(summary.least_zoom, summary.finest_zoom))
    for one in summary.thinned:
        least = one.smaller_than_px * 256 * unit[one.zoom] ** 2
        kept = {identity for identity, size in sizes.items() if size >= least}
        assert len(sizes) - len(kept) == one.left_out and len(kept) <= 300
        assert one.smaller_than_px == 2**-10 or len([1 for size in sizes.values() if size >= least / 2]) > 300
        ids, _ = read(path, one.zoom)
        assert set(ids) <= kept
        assert {identity for identity in kept if sizes[identity] > 4 * unit[one.zoom] ** 2} <= set(ids)
    assert set(read(path, summary.finest_zoom)[0]) == set(sizes)


def test_no_more_is_left_out_than_what_is_smaller_than_a_pixel(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_tiles, "MOST_POLYGONS", 0)
    _, summary = write(tmp_path / "a.pmtiles", noise(40), GEOREFS["utm"])
    assert {one.smaller_than_px for one in summary.thinned} <= {1.0}


def test_the_finest_zoom_shows_single_pixels():
    at_equator = Georef("EPSG:3857", (0.2, 0.0, 0.0, 0.0, -0.2, 0.0), 100, 100)
    zoom, units = finest_zoom(at_equator)
    step = WORLD / 2**zoom / 4096
    assert units == 4096 and 0.05 < step <= 0.1
    assert finest_zoom(GEOREFS["utm"])[0] < zoom
    flat = replace(at_equator, transform=(20.0, 0.0, 0.0, 0.0, -0.2, 0.0))
    assert finest_zoom(flat) == (zoom, units)


def test_pixels_of_a_millimetre_get_tiles_of_finer_steps(tmp_path):
    georef = replace(GEOREFS["utm"], transform=(0.001, 0.0, 5e5, 0.0, -0.001, 5.6e6))
    zoom, units = finest_zoom(replace(georef, height=30, width=30))
    assert zoom == 22 and WORLD / 2**zoom / units < 0.001
    found, _ = write(tmp_path / "a.pmtiles", noise(30), georef)
    assert set(read(tmp_path / "a.pmtiles", 22)[0]) == {feature.identity for feature in found}


def test_the_manifest_says_what_vector_tiles_show(tmp_path):
    path = write_labels(tmp_path / "map.tif", noise(40), nodata=None)
    assert vectorize(path, tmp_path / "out", "--format", "pmtiles") == 0
    (raster,) = json.loads((tmp_path / "out" / "manifest.json").read_text())["rasters"]
    said = raster["files"]["polygons.pmtiles"]
    header = header_of(tmp_path / "out" / "map" / "polygons.pmtiles")
    assert (said["least_zoom"], said["finest_zoom"]) == (header["min_zoom"], header["max_zoom"])
    assert said["thinned"][0]["left_out"] > 0 and said["beyond_the_map"] == 0
    assert sorted(path.name for path in (tmp_path / "out" / "map").iterdir()) == ["polygons.pmtiles"]


def test_archives_of_many_tiles_are_read_by_the_package_of_those_who_made_the_format(tmp_path):
    """So many that there are leaf directories; some tiles have the same content, one after another and apart."""
    rng = np.random.default_rng(0)
    places = sorted(
        {Tile(12, int(x), int(y)) for x, y in rng.integers(0, 256, (30_000, 2))}, key=lambda tile: tile.number
    )
    contents = [
        gzip.compress(b"%d" % rng.integers(0, 2 if i % 3 else 10**6), mtime=0) for i in range(len(places))
    ]
    archive = Archive(tmp_path / "data")
    for tile, content in zip(places, contents, strict=True):
        archive.add(tile, content)
    view = MapView((-1.5, -2.5, 3.5, 4.5), (1.0, 1.25), 12)
    archive.finish(tmp_path / "a.pmtiles", view, {"name": "ä"})
    with (tmp_path / "a.pmtiles").open("rb") as file:
        source = MmapSource(file)
        reader = Reader(source)
        found, header = list(all_tiles(source)), reader.header()
        assert reader.metadata() == {"name": "ä"}
        assert all(
            reader.get(*tile) == content for tile, content in list(zip(places, contents, strict=True))[::997]
        )
    assert [content for _, content in found] == contents
    assert [Tile(*zxy) for zxy, _ in found] == places
    assert header["leaf_directory_length"] > 0 and header["root_length"] <= 16_384 - 127
    assert (
        header["addressed_tiles_count"]
        == len(places)
        > header["tile_entries_count"]
        > header["tile_contents_count"]
    )
    assert header["tile_contents_count"] == len(set(contents))
    assert (header["min_lon_e7"], header["max_lat_e7"], header["center_zoom"]) == (
        -15_000_000,
        45_000_000,
        12,
    )


def test_tiles_are_numbered_as_the_format_numbers_them():
    for number in [*range(1500), 10**9, 10**12 + 7]:
        assert Tile(*tileid_to_zxy(number)).number == number


def test_tiles_out_of_order_are_refused(tmp_path):
    archive = Archive(tmp_path / "data")
    archive.add(Tile(1, 1, 1), b"a")
    with pytest.raises(ValueError, match="comes after a tile that lies behind it"):
        archive.add(Tile(0, 0, 0), b"b")
