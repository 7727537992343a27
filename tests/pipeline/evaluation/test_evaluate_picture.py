"""The picture of errors: its colours are where the errors are, and can be told apart."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
from evaluate_scenes import boxes, drawn, georef, moved, write_geojson, write_labels

from terraseam.pipeline.cli import main
from terraseam.tiles.measures.errors import COLOURS, ErrorKind, error_picture, kinds
from terraseam.tiles.measures.ground import read_ground
from terraseam.tiles.measures.label_map import LabelMapFile
from terraseam.tiles.measures.maps import Maps
from terraseam.tiles.raster.georef import Georef

# How colours look without one kind of cones, and to full eyes: Machado, Oliveira and Fernandes 2009, severity 1.
EYES = {
    "all cones": np.eye(3),
    "no red": np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]),
    "no green": np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]),
    "no blue": np.array([[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]),
}  # fmt: skip


def lab(rgb):
    """CIE L*a*b* of linear red, green and blue."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    scaled = xyz / [0.9505, 1.0, 1.089]
    f = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eyes", EYES)
def test_the_colours_can_be_told_apart(eyes):
    seen = {}
    for kind, colour in COLOURS.items():
        value = np.array(colour) / 255
        linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        seen[kind] = lab((EYES[eyes] @ linear).clip(0, 1))
    for one, other in combinations(COLOURS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 20, (one.name, other.name)


def test_kinds_of_pixels():
    truth = np.array([0, 1, 1, 0, 1, 2, 255, 1], np.uint8)
    predicted = np.array([0, 1, 0, 1, 2, 2, 1, 255], np.uint8)
    k = ErrorKind
    wanted = [k.NOTHING, k.TRUE, k.MISSED, k.FALSE, k.OTHER, k.TRUE, k.UNKNOWN, k.UNKNOWN]
    assert kinds(truth, predicted, 0).tolist() == wanted
    without = [k.TRUE, k.TRUE, k.OTHER, k.OTHER, k.OTHER, k.TRUE, k.UNKNOWN, k.UNKNOWN]
    assert kinds(truth, predicted, None).tolist() == without


@pytest.fixture
def maps(tmp_path):
    place = georef(90, 141)
    predicted = drawn(moved(boxes(4, 12, 90, 141), 4), 1, 90, 141)
    predicted[:20, :30] = 255
    truth = drawn(boxes(4, 12, 90, 141), 1, 90, 141)
    files = [
        LabelMapFile(str(write_labels(tmp_path / name, labels, place)))
        for name, labels in (("p.tif", predicted), ("t.tif", truth))
    ]
    return Maps(place, *files), truth, predicted


def test_a_small_raster_is_drawn_pixel_by_pixel(maps):
    picture = error_picture(maps[0], 0, 2048)
    colours = np.array([COLOURS[kind] for kind in ErrorKind])
    assert np.array_equal(picture, colours[kinds(*maps[1:], 0)])


def test_a_large_one_is_drawn_by_the_mean_of_its_pixels_whatever_the_strips(maps, monkeypatch):
    picture = error_picture(maps[0], 0, 47)
    assert picture.shape == (30, 47, 3)
    colours = np.array([COLOURS[kind] for kind in ErrorKind], float)[kinds(*maps[1:], 0)]
    wanted = colours.reshape(30, 3, 47, 3, 3).mean(axis=(1, 3))
    assert np.abs(picture - wanted).max() <= 0.51
    monkeypatch.setattr("terraseam.tiles.measures.errors._READ_PIXELS", 1000)
    assert np.array_equal(error_picture(maps[0], 0, 47), picture)


def test_the_image_is_seen_where_nothing_is(maps, make_raster):
    pixels = np.full((90, 141, 3), (10, 90, 200), np.uint8)
    picture = error_picture(maps[0], 0, 2048, str(make_raster(pixels=pixels)))
    found = kinds(*maps[1:], 0)
    assert (picture[found == ErrorKind.NOTHING] == (10, 90, 200)).all()
    missed = np.rint(0.7 * np.array(COLOURS[ErrorKind.MISSED]) + 0.3 * np.array((10, 90, 200)))
    assert (picture[found == ErrorKind.MISSED] == missed).all() and (found == ErrorKind.MISSED).any()


def halves(path, place, crs="EPSG:32632", dtype="uint8"):
    """An image whose west is red and whose east is green, on some grid."""
    pixels = np.zeros((3, place.height, place.width), dtype)
    pixels[0, :, : place.width // 2] = pixels[1, :, place.width // 2 :] = 200
    profile = {"driver": "GTiff", "height": place.height, "width": place.width, "count": 3, "dtype": dtype}
    with rasterio.open(path, "w", crs=crs, transform=rasterio.Affine(*place.transform), **profile) as dataset:
        dataset.write(pixels)
    return path


def ground(maps, path, size=2048):
    """What is seen of an image where nothing was predicted and nothing is true."""
    clear = np.full(maps[1].shape, 0, np.uint8)
    place = maps[0].georef
    files = [LabelMapFile(str(write_labels(path.parent / name, clear, place))) for name in ("1.tif", "2.tif")]
    return error_picture(Maps(place, *files), 0, size, str(path))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("step", [0.25, 0.4, 1.25, 6])
@pytest.mark.parametrize("size", [2048, 47])
def test_an_image_of_other_pixels_is_seen_where_it_lies(maps, tmp_path, step, size, dtype):
    place = maps[0].georef
    a, b, c, d, e, f = place.transform
    height, width = round(place.height / step), 2 * round(place.width / step / 2)
    other = Georef(place.crs, (a * step, b, c, d, e * step, f), height, width)
    picture = ground(maps, halves(tmp_path / "image.tif", other, dtype=dtype), size)
    middle = picture.shape[1] * (width // 2) * step / place.width
    edge = 1 + max(1, step) * picture.shape[1] / place.width
    bright = 200 if dtype == "uint8" else 255
    inside = picture[: picture.shape[0] - int(edge) - 1]
    assert (inside[:, : int(middle - edge)] == (bright, 0, 0)).all()
    assert (inside[:, int(middle + edge) : -int(edge) - 1] == (0, bright, 0)).all()


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_paper_is_seen_where_an_image_of_any_type_does_not_reach(make_raster, dtype, bands, alpha):
    place, paper = georef(60, 90), (1, 2, 3)
    transform = rasterio.Affine(1.0, 0, place.transform[2], 0, -1.0, place.transform[5])
    opaque = np.full((20, 30), 255)
    opaque[:10] = 0 if alpha else 255
    pixels = np.random.default_rng(0).integers(100, 120, (20, 30, bands)).astype(dtype)
    image = make_raster(
        pixels=pixels, name="image.tif", crs=place.crs, transform=transform, alpha=opaque if alpha else None
    )
    ground = read_ground(str(image), place, (60, 90), paper)
    seen = np.zeros((60, 90), bool)
    seen[20 if alpha else 0 : 40, :60] = True
    assert np.array_equal((ground == paper).all(axis=-1), ~seen)
    assert dtype == "uint8" or ground[seen].std() > 50, "stretched by what is seen alone"


def test_an_image_in_another_crs_is_brought_to_the_grid_of_the_labels(maps, tmp_path):
    place = maps[0].georef
    warped = tmp_path / "degrees.tif"
    wide = Georef(
        place.crs, (1.0, 0, 500_000.0 - 20, 0, -1.0, 5_600_000.0 + 20), 90, 111
    )  # East ends at 91 of 141 px.
    halves(tmp_path / "metres.tif", wide)
    with (
        rasterio.open(tmp_path / "metres.tif") as source,
        rasterio.vrt.WarpedVRT(source, crs="EPSG:4326", add_alpha=True) as vrt,
    ):
        rasterio.shutil.copy(vrt, warped, driver="GTiff")
    picture = ground(maps, warped)
    # Its middle lies 55 - 20 m east of the corner of the labels, its end at 91 m, beyond their 70.5 m.
    assert (picture[3:-3, 3:66] == (200, 0, 0)).all() and (picture[3:-3, 74:-3] == (0, 200, 0)).all()
    small = Georef(place.crs, (0.5, 0, 500_000.0 + 10, 0, -0.5, 5_600_000.0), 45, 60)
    picture = ground(maps, halves(tmp_path / "small.tif", small))
    assert (picture[:, :19] == 250).all() and (picture[46:] == 250).all()
    assert (picture[:44, 22:48] == (200, 0, 0)).all()


def test_the_same_numbers_in_another_crs_are_another_place(maps, tmp_path):
    picture = ground(maps, halves(tmp_path / "image.tif", maps[0].georef, crs="EPSG:32633"))
    assert (picture == 250).all()


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            return np.moveaxis(image.read(), 0, -1)


def test_the_command_draws_one_raster_or_several_within_the_size(tmp_path, capsys, make_raster):
    place = georef(90, 141)
    for name in ("a", "b", "c"):
        write_labels(
            tmp_path / "maps" / f"{name}.tif",
            drawn(boxes(2, 9, 90, 141), 1, 90, 141),
            place,
            ("none", "roof"),
        )
        write_geojson(tmp_path / f"{name}.geojson", boxes(3, 9, 90, 141), place)
    truth = [str(tmp_path / f"{name}.geojson") for name in "abc"]
    picture = tmp_path / "errors.png"
    said = ["evaluate", "--predicted", str(tmp_path / "maps"), "--truth", *truth, "--picture", str(picture)]
    assert main([*said, "--picture-size", "100"]) == 0
    assert "green true, yellow missed, purple false" in capsys.readouterr().err
    assert max(read(picture).shape) <= 100
    assert main(["evaluate", "--predicted", str(tmp_path / "maps" / "a.tif"), *said[3:]]) == 0
    plain = read(picture)
    assert plain.shape == (90, 141, 3), "no larger than the raster"
    image = make_raster(90, 141, name="a.tif")
    assert (
        main(["evaluate", "--predicted", str(tmp_path / "maps" / "a.tif"), *said[3:], "--images", str(image)])
        == 0
    )
    assert not np.array_equal(read(picture), plain)


def test_polygons_alone_are_drawn_too(tmp_path):
    place = georef()
    truth = write_geojson(tmp_path / "truth.geojson", boxes(3), place)
    predicted = write_geojson(tmp_path / "predicted.geojson", moved(boxes(3), 3), place)
    picture = tmp_path / "errors.png"
    said = ["--predicted", predicted, "--truth", truth, "--picture", picture, "--picture-size", 200]
    assert main(["evaluate", *map(str, said)]) == 0
    drawn_ = read(picture)
    assert max(drawn_.shape) == 200
    for kind in (ErrorKind.NOTHING, ErrorKind.TRUE, ErrorKind.MISSED, ErrorKind.FALSE):
        assert (drawn_ == COLOURS[kind]).all(axis=2).any(), kind.name
