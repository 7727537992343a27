"""Label rasters in any CRS and grid say of a view what their nearest pixels say."""

from __future__ import annotations

import pickle

import numpy as np
import pyproj
import pytest
import rasterio
import shapely
from truth_cases import SMALL

from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.raster.source import RasterReadError
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.label_raster import LabelRasterError, RasterTruth
from terraseam.tiles.truth.scene import IGNORED
from terraseam.tiles.vectors.area import TrustedArea

TYPES = ("uint8", "uint16", "int16", "int32", "float32", "float64")
UTM = Georef("EPSG:32632", (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_600_000.0), 61, 83)


def values_of(height, width, seed=0, values=(0, 1, 2, 7)):
    """Patches of values, ``(height, width, 1)``."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(values, (height // 5 + 1, width // 5 + 1)).astype(np.uint8)
    return np.repeat(np.repeat(coarse, 5, axis=0), 5, axis=1)[:height, :width, None]


def whole(georef):
    return View(0, 0, 1, 1, georef.height, georef.width)


def mapped(values, order):
    labels = np.full(values.shape, IGNORED, np.uint8)
    for label, value in enumerate(order):
        labels[values == value] = label
    return labels


def write(make_raster, georef, pixels, name="labels.tif", **options):
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform)}
    return str(make_raster(pixels=pixels, name=name, **place, **options))


@pytest.mark.parametrize("order", [(0, 1, 2, 7), (2, 0), (7, 1, 0, 9)])
def test_on_the_same_grid_values_become_labels(make_raster, order):
    pixels = values_of(61, 83)
    truth = RasterTruth(write(make_raster, UTM, pixels), UTM, order)
    found = truth.labels(whole(UTM))
    assert np.array_equal(found, mapped(pixels[..., 0], order)) and found.dtype == np.uint8


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32"])
def test_values_of_any_type_are_read_and_nodata_is_ignored(make_raster, dtype):
    pixels = values_of(61, 83).astype(dtype)
    if dtype == "int16":
        pixels[pixels == 7] = -3
    truth = RasterTruth(write(make_raster, UTM, pixels, nodata=2), UTM, (0, 1, 2, -3))
    expected = mapped(pixels[..., 0], (0, 1, 2, -3))
    expected[pixels[..., 0] == 2] = IGNORED
    assert np.array_equal(truth.labels(whole(UTM)), expected)


@pytest.mark.parametrize("seed", range(12))
def test_a_view_of_any_scale_shows_the_pixels_that_its_centres_lie_in(make_raster, seed):
    pixels, rng = values_of(61, 83), np.random.default_rng(seed)
    truth = RasterTruth(write(make_raster, UTM, pixels), UTM, (0, 1, 2, 7))
    view = View(*rng.uniform(-20, 50, 2), *np.exp(rng.uniform(-1, 1.5, 2)), 47, 31)
    rows, cols = np.floor(view.rows).astype(int), np.floor(view.cols).astype(int)
    inside = ((rows >= 0) & (rows < 61))[:, None] & ((cols >= 0) & (cols < 83))[None]
    expected = mapped(pixels[..., 0], (0, 1, 2, 7))[np.ix_(np.clip(rows, 0, 60), np.clip(cols, 0, 82))]
    assert np.array_equal(truth.labels(view), np.where(inside, expected, IGNORED))


def test_a_view_beside_the_raster_is_ignored(make_raster):
    truth = RasterTruth(write(make_raster, UTM, values_of(61, 83)), UTM, (0, 1))
    assert (truth.labels(View(-50, 5, 1, 1, 20, 30)) == IGNORED).all()


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("crs", ["same", "EPSG:4326"])
def test_on_another_grid_each_pixel_has_the_label_nearest_to_it(make_raster, name, crs):
    """The grid that the labels are on covers the raster in part, with pixels of another size."""
    georef = SMALL[name]
    if crs == "EPSG:4326" and name.startswith(("dateline", "polar")):
        pytest.skip("longitudes tear or turn there")
    labels = label_grid(georef, georef.crs if crs == "same" else crs)
    pixels = values_of(labels.height, labels.width, 1, (0, 1, 2))
    found = RasterTruth(write(make_raster, labels, pixels), georef, (0, 1, 2)).labels(whole(georef))
    cols, rows = np.meshgrid(np.arange(georef.width) + 0.5, np.arange(georef.height) + 0.5)
    xy = georef.to_map(np.stack([cols.ravel(), rows.ravel()], axis=1))
    if crs != "same":
        move = pyproj.Transformer.from_crs(georef.crs, crs, always_xy=True)
        xy = np.stack(move.transform(*xy.T), axis=1)
    col, row = np.floor(labels.to_pixels(xy)).astype(int).T
    inside = (row >= 0) & (row < labels.height) & (col >= 0) & (col < labels.width)
    assert 0.3 < inside.mean() < 1
    expected = np.full(len(row), IGNORED, np.uint8)
    expected[inside] = pixels[row[inside], col[inside], 0]
    different = found.ravel() != expected
    # A centre that lies on the edge of a label's pixel may fall to either side.
    assert different.mean() < 0.004


def label_grid(georef, crs):
    """A grid over about two thirds of a raster, north up."""
    cols, rows = np.linspace(0.1, 0.9, 20) * georef.width, np.linspace(0.15, 0.95, 20) * georef.height
    inner = np.stack(np.meshgrid(cols, rows), axis=-1).reshape(-1, 2)
    move = pyproj.Transformer.from_crs(georef.crs, crs, always_xy=True)
    xy = np.stack(move.transform(*georef.to_map(inner).T), axis=1)
    (left, bottom), (right, top) = xy.min(axis=0), xy.max(axis=0)
    height, width = 137, 151
    return Georef(crs, ((right - left) / width, 0, left, 0, -(top - bottom) / height, top), height, width)


@pytest.mark.parametrize("dtype", TYPES)
def test_what_a_warped_label_raster_does_not_reach_is_ignored_though_zero_is_a_label(make_raster, dtype):
    half = Georef(UTM.crs, (1.0, 0.0, 500_000.0, 0.0, -1.0, 5_600_000.0), 10, 10)
    pixels = np.zeros((10, 10, 1), dtype)
    found = RasterTruth(write(make_raster, half, pixels), UTM, (0,)).labels(whole(UTM))
    assert (found[:20, :20] == 0).all() and (found == IGNORED).sum() == 61 * 83 - 400
    pixels[:5] = 9
    path = write(make_raster, half, pixels, name="nodata.tif", nodata=9)
    found = RasterTruth(path, UTM, (0,)).labels(whole(UTM))
    assert (found[10:20, :20] == 0).all() and (found == IGNORED).sum() == 61 * 83 - 200


def test_labels_of_the_same_shape_elsewhere_are_moved_to_where_they_are(make_raster):
    pixels = values_of(61, 83)
    beside = Georef(UTM.crs, (0.5, 0.0, 500_005.0, 0.0, -0.5, 5_600_000.0), 61, 83)
    found = RasterTruth(write(make_raster, beside, pixels), UTM, (0, 1, 2, 7)).labels(whole(UTM))
    expected = np.full((61, 83), IGNORED, np.uint8)
    expected[:, 10:] = mapped(pixels[..., 0], (0, 1, 2, 7))[:, :-10]
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("how", ["bands", "alpha", "mask"])
def test_what_is_transparent_or_not_reached_is_ignored_in_files_of_any_make(make_raster, how, dtype):
    half = Georef(UTM.crs, (1.0, 0.0, 500_000.0, 0.0, -1.0, 5_600_000.0), 10, 10)
    seen = np.full((10, 10), 255, np.uint8)
    seen[:5] = 255 if how == "bands" else 0
    options = {} if how == "bands" else {how: seen}
    pixels = np.zeros((10, 10, 3 if how == "bands" else 1), dtype)
    path = write(make_raster, half, pixels, **options)
    found = RasterTruth(path, UTM, (0,)).labels(whole(UTM))
    expected = np.full((61, 83), IGNORED)
    expected[:20, :20] = np.where(np.repeat(np.repeat(seen, 2, 0), 2, 1) > 0, 0, IGNORED)
    assert np.array_equal(found, expected)
    found = RasterTruth(path, half, (0,)).labels(whole(half))
    assert np.array_equal(found, np.where(seen > 0, 0, IGNORED)), "on its own grid, too"


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_labels_without_georeference_lie_on_an_image_of_their_shape(tmp_path):
    pixels = values_of(61, 83)[..., 0]
    path = tmp_path / "labels.png"
    with rasterio.open(path, "w", driver="PNG", height=61, width=83, count=1, dtype="uint8") as dataset:
        dataset.write(pixels, 1)
    truth = RasterTruth(str(path), UTM, (0, 1, 2, 7))
    assert np.array_equal(truth.labels(whole(UTM)), mapped(pixels, (0, 1, 2, 7)))
    other = Georef(UTM.crs, UTM.transform, 60, 83)
    with pytest.raises(
        LabelRasterError, match="61 x 83 px, not the 60 x 83 px of its image; georeference it"
    ):
        RasterTruth(str(path), other, (0, 1))


def test_errors_say_what_is_wrong(make_raster, tmp_path):
    with pytest.raises(LabelRasterError, match="is not a raster that GDAL can open"):
        RasterTruth(str(tmp_path / "none.tif"), UTM, (0, 1))
    with pytest.raises(LabelRasterError, match="has no CRS; assign one with gdal_translate -a_srs"):
        path = make_raster(pixels=values_of(61, 83), crs=None)
        RasterTruth(str(path), UTM, (0, 1))
    with pytest.raises(ValueError, match="1 to 255 values, all different"):
        RasterTruth(str(path), UTM, (0, 0))


def test_a_damaged_file_is_named(make_raster):
    path = write(make_raster, UTM, values_of(61, 83), compress="deflate")
    with open(path, "r+b") as file:  # noqa: PTH123
        file.truncate(420)
    with pytest.raises((RasterReadError, LabelRasterError), match=r"labels\.tif"):
        RasterTruth(path, UTM, (0, 1)).labels(whole(UTM))


def test_places_are_points_of_their_label(make_raster):
    pixels = values_of(61, 83, values=(0, 1, 2))
    pixels[pixels == 2] = 0
    pixels[30:33, 40:44] = 2
    truth = RasterTruth(write(make_raster, UTM, pixels), UTM, (0, 1, 2, 5), background=0)
    assert truth.counts()[[0, 2, 3]].tolist() == [0, 12, 0] and truth.counts()[1] > 100
    rng = np.random.default_rng(0)
    for label in (1, 2):
        places = [truth.place(label, rng) for _ in range(50)]
        assert all(pixels[int(row), int(col), 0] == label for row, col in places) and len(set(places)) > 3
    with pytest.raises(ValueError, match="no pixel of the label 3"):
        truth.place(3, rng)


def test_places_are_inside_the_area(make_raster):
    pixels = values_of(61, 83, values=(0, 1, 2))
    pixels[50:] = 3
    area = TrustedArea(np.array([shapely.box(70.2, 10.2, 200, 30.8)]))
    path = write(make_raster, UTM, pixels)
    truth = RasterTruth(path, UTM, (0, 1, 2, 3), area=area)
    cut = pixels[10:31, 70:83, 0]
    assert truth.counts().tolist() == [np.count_nonzero(cut == label) for label in range(4)]
    for drawn in (truth, pickle.loads(pickle.dumps(truth))):
        row, col = drawn.place(1, np.random.default_rng(0))
        assert 10 < row < 31 and 70 < col < 83 and pixels[int(row), int(col), 0] == 1
    elsewhere = TrustedArea(np.array([shapely.box(-50, -50, -10, -10)]))
    assert not RasterTruth(path, UTM, (0, 1, 2, 3), area=elsewhere).counts().any()


def test_truth_can_be_sent_to_another_process(make_raster):
    path = write(make_raster, UTM, values_of(61, 83))
    truth = RasterTruth(path, inspect_raster(path).georef, (0, 1, 2, 7))
    again = pickle.loads(pickle.dumps(truth))
    assert np.array_equal(again.labels(whole(UTM)), truth.labels(whole(UTM)))
