"""Networks on rasters that are partly off the Earth: segmented as they are and resampled, learned from, measured."""

from __future__ import annotations

import json
from dataclasses import replace

import nets
import numpy as np
import pytest
import rasterio
from segment_cases import features, labels, manifest
from tiers import some
from vectorize_cases import vectorize, write_labels
from world_rasters import checkers, world

from terraseam.pipeline.cli import main
from terraseam.pipeline.training.labelled import Labelled
from terraseam.pipeline.training.value_range import Values, values_of
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.earth import find_off_earth
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.raster.source import RasterSource
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.label_raster import RasterTruth
from terraseam.tiles.truth.polygons import PolygonClasses, PolygonTruth
from terraseam.tiles.truth.scene import IGNORED, Scene


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Labels each pixel by its brightest band."""
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band())


def write_scene(path, georef, known, off=None):
    """A raster whose brightest band is the label; black nodata where it is not known, `off` where that is measured."""
    chosen = known if off is None else np.where(known == 255, off, known)
    pixels = np.stack([np.where(chosen == band, 200, 40) for band in range(3)]).astype(np.uint8)
    pixels[:, chosen == 255] = 0
    shape = {"height": georef.height, "width": georef.width, "count": 3, "dtype": "uint8"}
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform), "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as file:
        file.write(pixels)
    return path


def off_earth(georef):
    everywhere = Window(0, 0, georef.height, georef.width)
    return find_off_earth(georef, everywhere, np.ones(everywhere.shape, bool))


def test_what_a_network_says_off_the_earth_counts_as_nodata(bundle, tmp_path, capsys):
    georef = world("geostationary")
    known = checkers(georef)
    scenes = [
        write_scene(tmp_path / "right.tif", georef, known),
        write_scene(tmp_path / "space.tif", georef, known, off=1),
    ]
    options = ["--model", bundle, "--output", tmp_path / "out", "--tile", "512"]
    assert main(list(map(str, ["segment", *scenes, *options]))) == 0
    count = int((known == 255).sum())
    said = capsys.readouterr().out
    assert f"space: {count:,} valid pixels have no place on the Earth and count as nodata\n" in said
    assert "right:" not in said
    assert [one["off_earth_px"] for one in manifest(tmp_path / "out")["rasters"]] == [0, count]
    for name in ("right", "space"):
        assert np.array_equal(labels(tmp_path / "out", name), known)
    right, space = (features(tmp_path / "out", name) for name in ("right", "space"))
    assert [one["geometry"] for one in right] == [one["geometry"] for one in space] and len(right) > 50


@pytest.mark.parametrize(
    ("name", "gsd"),
    some([("sinusoidal", 200_000.0), ("geostationary", 60_000.0)], 1),
)
def test_rasters_at_the_limb_are_resampled(name, gsd, tmp_path):
    bundle = nets.make_bundle(tmp_path / "brightest", nets.brightest_band(), gsd=gsd)
    georef = world(name)
    known = checkers(georef)
    scene = write_scene(tmp_path / "scene.tif", georef, known)
    full = write_scene(tmp_path / "full.tif", georef, known, off=1)
    factor = gsd / georef.gsd()
    assert 0.4 < factor < 0.7
    options = ["--model", bundle, "--output", tmp_path / "out", "--tile", "512", "--resample"]
    assert main(list(map(str, ["segment", scene, full, *options]))) == 0
    with rasterio.open(tmp_path / "out" / "full" / "labels.tif") as file:
        fine = Georef(file.crs.to_wkt(), tuple(file.transform)[:6], *file.shape)
        found = file.read(1)
    assert np.array_equal(found == 255, off_earth(fine))
    rows, cols = (((np.arange(size) + 0.5) * factor).astype(int) for size in found.shape)
    inside = np.ix_(rows.clip(0, georef.height - 1), cols.clip(0, georef.width - 1))
    assert (found != known[inside]).mean() < 0.05
    assert (labels(tmp_path / "out", "scene") != found).mean() < 0.03
    assert all(feature["properties"]["area_m2"] > 0 for feature in features(tmp_path / "out"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["geostationary", "sinusoidal", "interrupted"])
def test_networks_are_trained_and_measured_on_rasters_at_the_limb(name, tmp_path, capsys):
    georef = world(name)
    known = checkers(georef)
    scene = write_scene(tmp_path / "scene.tif", georef, known)
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform)}
    truth = write_labels(tmp_path / "map.tif", known, names=("land", "water", "lake"), **place)
    assert vectorize(truth, tmp_path, "--classes", "water,lake") == 0
    outlines = tmp_path / "map" / "polygons.geojson"
    words = [
        "train", "--images", scene, "--labels", outlines, "--classes", "water,lake", "--class-property", "class",
        "--architecture", "unet", "--encoder", "none", "--set", "width=4", "--chip-size", "32", "--block-size", "24",
        "--batch-size", "4", "--steps-per-epoch", "60", "--epochs", "1", "--pictures", "0",
        "--learning-rate", "0.02", "--gsd", georef.gsd(),
        "--output", tmp_path / "bundle",
    ]  # fmt: skip
    assert main(list(map(str, words))) == 0
    options = ["--model", tmp_path / "bundle", "--output", tmp_path / "out", "--tile", "512"]
    assert main(list(map(str, ["segment", scene, *options]))) == 0
    capsys.readouterr()
    measured = []
    for given in (
        ["--truth", truth, "--label-values", "0,1,2"],
        ["--truth", outlines, "--class-property", "class"],
    ):
        words = ["evaluate", "--predicted", tmp_path / "out", *given, "--json"]
        assert main(list(map(str, words))) == 0
        measured.append(json.loads(capsys.readouterr().out)["pixels"])
    by_pixels, by_outlines = measured
    assert by_pixels["pixels"] == (known != 255).sum() and by_pixels["mean_iou"] > 0.6
    for label, kind in enumerate(("background", "water", "lake")):
        expected = (known == label).sum()
        assert by_pixels["classes"][kind]["pixels"] == expected
        if label:
            assert by_outlines["classes"][kind]["pixels"] == pytest.approx(expected, rel=0.015)


@pytest.mark.parametrize("name", ["mollweide", "geostationary"])
def test_pixels_off_the_earth_teach_nothing_and_are_read_as_they_are(name, tmp_path):
    georef = world(name)
    known = checkers(georef)
    off = known == 255
    path = write_scene(tmp_path / "space.tif", georef, known, off=1)
    nothing = PolygonTruth(np.empty(0, object), [], PolygonClasses(2, 0), (georef.height, georef.width))
    scene = Scene("space", RasterSource(str(path), (1, 2, 3), (7.0, 8.0, 9.0)), georef, nothing)
    whole = View(0, 0, 1, 1, georef.height, georef.width)
    chip = scene.chip(whole)
    assert np.array_equal(chip.labels, np.where(off, IGNORED, 0))
    assert (chip.pixels[off] == [40, 200, 40]).all()
    assert np.array_equal(replace(scene, blind=True).chip(whole).pixels, chip.pixels)
    for steps in ((0.7, 1.3), (2, 3)):
        view = View(-2, 1, *steps, int(georef.height / steps[0]) + 2, int(georef.width / steps[1]) - 1)
        rows, cols = np.floor(view.rows).astype(int), np.floor(view.cols).astype(int)
        inside = (rows >= 0) & (rows < georef.height)
        expected = np.where(inside[:, None], off[np.ix_(rows.clip(0, georef.height - 1), cols)], True)
        assert np.array_equal(scene.labels(view) == IGNORED, expected)


def test_chips_are_drawn_around_no_place_off_the_earth(tmp_path):
    georef = world("mollweide")
    known = checkers(georef)
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform), "nodata": None}
    path = write_labels(tmp_path / "truth.tif", np.where(known == 255, 2, 0).astype(np.uint8), **place)
    assert RasterTruth(str(path), georef, (0, 1, 2), 0).counts().tolist() == [0, 0, 0]
    write_labels(tmp_path / "truth.tif", np.where(known == 255, 2, known).astype(np.uint8), **place)
    counts = RasterTruth(str(path), georef, (0, 1, 2), 0).counts()
    assert counts.tolist() == [0, (known == 1).sum(), (known == 2).sum()]


def test_values_are_measured_on_the_earth_alone(tmp_path):
    georef = world("geostationary")
    known = checkers(georef)
    pixels = np.where(known == 255, 60_000, 1000 + 100 * known.astype(np.uint16)).astype(np.uint16)
    path = tmp_path / "scene.tif"
    shape = {"height": georef.height, "width": georef.width, "count": 1, "dtype": "uint16"}
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place) as file:
        file.write(pixels, 1)
    info = inspect_raster(str(path))
    truth = PolygonTruth(np.empty(0, object), [], PolygonClasses(2, 0), (georef.height, georef.width))
    assert values_of([Labelled("scene", info, georef.gsd(), truth)], (1,)) == Values(
        (1000.0,), (1200.0,), True
    )


@pytest.mark.parametrize("kind", ["labels", "polygons"])
def test_predictions_off_the_earth_are_not_measured(kind, tmp_path, capsys):
    georef = world("mollweide")
    known = checkers(georef)
    place = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform), "nodata": None}
    names = ("land", "water", "lake")
    everywhere = np.where(known == 255, 0, known).astype(np.uint8)
    predicted = write_labels(tmp_path / "map.tif", everywhere, names=names, **place)
    if kind == "labels":
        truth = write_labels(tmp_path / "truth" / "map.tif", everywhere, names=names, **place)
        given = ["--truth", truth, "--label-values", "0,1,2"]
    else:
        assert vectorize(predicted, tmp_path, "--classes", "water,lake") == 0
        given = ["--truth", tmp_path / "map" / "polygons.geojson", "--class-property", "class"]
    capsys.readouterr()
    assert main(list(map(str, ["evaluate", "--predicted", predicted, *given, "--json"]))) == 0
    pixels = json.loads(capsys.readouterr().out)["pixels"]
    assert pixels["pixels"] == (known != 255).sum()
    assert pixels["classes"]["land"]["pixels"] == pytest.approx((known == 0).sum(), rel=0.02)
