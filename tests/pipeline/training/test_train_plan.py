"""What a training sees of rasters, labels and areas of all kinds, and what it refuses."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.vrt import WarpedVRT
from train_cases import (
    HOME,
    elsewhere,
    make_towns,
    planned,
    read,
    reasons,
    true_labels,
    write,
    write_outlines,
)
from train_town import POOLS, ROOFS, SIDE, make_town, write_polygons

from terraseam.models.bundle.values import Scaling
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.scene import IGNORED

WHOLE = View(0, 0, 1, 1, SIDE, SIDE)
FILL = 127


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


def names_of(plan) -> tuple[set[str], set[str]]:
    """Names of the rasters that are trained on, and of those that are validated on."""
    validation = plan.validation
    return {one.name for one in plan.train}, {validation.scenes[place].name for place, _ in validation.views}


def test_rasters_are_trained_on_or_validated_on_when_split_by_raster(site):
    towns = make_towns(site, 6)
    plan = planned(site, *towns, "--split", "raster", "--val-fraction", "0.34")
    trained, validated = names_of(plan)
    assert len(trained) == 4 and len(validated) == 2
    assert not trained & validated
    assert {scene.name for scene in plan.chips.scenes} == trained
    chosen = {frozenset(names_of(planned(site, *towns, "--split", "raster", "--seed", seed))[1])
        for seed in range(4)}  # fmt: skip
    assert len(chosen) > 1


def test_every_raster_is_split_by_block(site):
    plan = planned(site, *make_towns(site, 2))
    assert names_of(plan) == ({"town0", "town1"}, {"town0", "town1"})
    first, second = (scene.hidden.chosen for scene in plan.chips.scenes)
    assert not np.array_equal(first, second)


def test_no_training_chip_shows_a_pixel_of_a_block_set_apart(site):
    more = ("--val-fraction", "0.4", "--no-symmetries", "--scale-range", "0.5-2")
    plan = planned(site, *more)
    apart = plan.chips.scenes[0].hidden.inside(WHOLE)
    loud = write(
        site / "loud" / "town.tif", np.where(apart[..., None], np.uint8(255), read(site / "town.tif"))
    )
    other = planned(site, *more, "--images", loud)
    hidden_ones = 0
    for number in range(40):
        view = plan.chips.sampler.draw(number).view
        hidden = plan.chips.scenes[0].hidden.inside(view)
        if hidden.all():
            continue  # Another one is drawn in its place.
        made = plan.chips([number])
        assert np.array_equal(made.pixels, other.chips([number]).pixels)
        assert (made.labels[0][hidden] == IGNORED).all()
        hidden_ones += np.count_nonzero(hidden)
    assert hidden_ones > 1000
    for pixels, labels in plan.validation:
        assert not (pixels[0][labels[0] != IGNORED] == FILL).all(axis=-1).any()


@pytest.mark.parametrize("split", ["block", "raster"])
def test_ground_set_apart_on_one_raster_is_hidden_on_those_that_lie_over_it(site, split):
    """Two rasters of the same ground, of which one is moved by half a raster and has pixels of its own."""
    pixels = read(site / "town.tif")
    over = elsewhere(SIDE / 4)
    write(site / "images" / "town.tif", pixels)
    write(site / "images" / "over.tif", 255 - pixels, over)
    write_outlines(site / "labels" / "all.geojson")
    more = ("--images", site / "images", "--labels", site / "labels", "--split", split, "--no-symmetries")
    plan = planned(site, *more, "--val-fraction", "0.4")
    places = {"town": 0, "over": SIDE // 2}
    judged = np.zeros((SIDE, SIDE + SIDE // 2), bool)
    for _, scene in [(None, plan.validation.scenes[site]) for site, _ in plan.validation.views]:
        col = places[scene.name]
        judged[:, col : col + SIDE] |= scene.labels(WHOLE) != IGNORED
    assert judged.any() and not judged.all()
    for scene in plan.chips.scenes:
        here = judged[:, places[scene.name] :][:, :SIDE]
        chip = scene.chip(WHOLE)
        assert here.any()
        assert (chip.labels[here] == IGNORED).all()
        assert (chip.pixels[here] == FILL).all()
        assert (chip.labels[~here] != IGNORED).any()


def test_a_raster_that_lies_over_what_is_validated_on_is_told(site):
    write(site / "val" / "copy.tif", read(site / "town.tif"))
    write_outlines(site / "val" / "copy.geojson")
    said = ("--val-images", site / "val", "--val-labels", site / "val" / "copy.geojson")
    (note,) = planned(site, *said).findings.notes
    assert "town.tif overlaps the validation raster" in note and "copy.tif: validation figures" in note
    write(site / "val" / "copy.tif", read(site / "town.tif"), elsewhere(SIDE / 2))
    write_outlines(site / "val" / "copy.geojson", elsewhere(SIDE / 2))
    assert not planned(site, *said).findings.notes


def test_a_label_raster_that_lies_elsewhere_or_is_a_picture_is_told(site):
    maps = ("--labels", site / "maps", "--classes", "background,roof,pool")
    write(site / "maps" / "town.tif", np.repeat(true_labels()[..., None], 3, axis=-1))
    told = reasons(site, *maps, without=["class-property"])
    assert "town.tif has 3 bands, but a label raster has one, of whole numbers" in told[0]
    write(site / "maps" / "town.tif", true_labels()[..., None], elsewhere(1_000))
    told = reasons(site, *maps, without=["class-property"])
    assert "does not overlap its raster; check the CRS and the geotransform of both" in told[0]


def test_values_of_no_class_are_told_with_their_share(site):
    labels = true_labels()[..., None].copy()
    labels[: SIDE // 4] = 9
    write(site / "maps" / "town.tif", labels)
    maps = ("--labels", site / "maps", "--classes", "background,roof,pool")
    notes = planned(site, *maps, without=["class-property"]).findings.notes
    assert any("values that belong to no class and are ignored: 9 (25.0 %)" in note for note in notes), notes


def test_polygons_as_images_and_labels_without_polygons_are_told(site):
    (site / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    empty = ["--labels", site / "empty.geojson", "--classes", "roof"]
    told = reasons(site, *empty, without=["labels", "class-property"])
    assert "empty.geojson of --labels holds no polygon, so there is nothing to learn from" in " ".join(told)
    told = reasons(site, "--images", site / "town.geojson", without=["images"])
    assert "town.geojson, which holds polygons, not a raster" in " ".join(told)


def test_named_rasters_are_validated_on_and_all_else_is_trained_on(site):
    shutil.copy(write(site / "val" / "other.tif", read(site / "town.tif"), elsewhere(300)), site)
    write_outlines(site / "val" / "other.geojson", elsewhere(300))
    more = ["--val-images", site / "val" / "other.tif", "--val-labels", site / "val" / "other.geojson"]
    plan = planned(site, *more)
    assert names_of(plan) == ({"town"}, {"other"})
    assert (plan.chips.scenes[0].labels(WHOLE) == true_labels()).all()
    assert (plan.validation.scenes[0].labels(WHOLE) == true_labels()).all()

    write_polygons(site / "area.geojson", elsewhere(300), [(0, 0, 80, SIDE)], ["x"])
    half = planned(site, *more, "--val-aoi", site / "area.geojson")
    assert (half.chips.scenes[0].labels(WHOLE) == true_labels()).all()
    known = half.validation.scenes[0].labels(WHOLE) != IGNORED
    assert known[:80].all() and not known[80:].any()
    assert 0 < len(half.validation.views) < len(plan.validation.views)


def test_a_detector_sees_nothing_outside_of_an_area_and_a_label_map_does(site):
    detector = ["--architecture", "mask_rcnn", "--encoder", "mobilenet_fpn", "--block-size", "48"]
    more = ["--aoi", site / "west.geojson", "--val-fraction", "0.5"]
    blind = planned(site, *detector, *more, without=["set"]).validation.scenes[0]
    seeing = planned(site, *more).chips.scenes[0]
    east = WHOLE.cols > 100
    assert (blind.chip(WHOLE).pixels[:, east] == FILL).all()
    shown = seeing.chip(WHOLE).pixels[:, east][~seeing.hidden.inside(WHOLE)[:, east]]
    assert (shown != FILL).any(axis=-1).mean() > 0.99


def test_polygons_without_a_class_teach_nothing_even_in_a_file_of_nothing_else(site):
    towns = make_towns(site, 2)
    kinds = [None] * (len(ROOFS) + len(POOLS))
    write_polygons(site / "labels" / "town1.geojson", elsewhere(200.0), ROOFS + POOLS, kinds)
    plan = planned(site, *towns, "--classes", "roof")
    labels = plan.train[1].truth.labels(WHOLE)
    assert (labels == np.where(true_labels() > 0, IGNORED, 0)).all()
    assert plan.findings.unnamed == len(kinds)
    one = planned(site, *towns, "--classes", "roof", without=["class-property"])
    assert (one.train[1].truth.labels(WHOLE) == (true_labels() > 0)).all()


def test_a_detector_learns_no_polygons_of_the_background(site):
    kinds = ["roof"] * len(ROOFS) + ["background"] * len(POOLS)
    write_polygons(site / "town.geojson", HOME, ROOFS + POOLS, kinds)
    detector = ["--architecture", "mask_rcnn", "--encoder", "mobilenet_fpn", "--classes", "roof"]
    more = ["--block-size", "48", "--val-fraction", "0.5", "--object-fraction", "1"]
    plan = planned(site, *detector, *more, without=["set"])
    batches = [plan.chips(range(first, first + 8)) for first in range(0, 64, 8)]
    assert {label for batch in batches for label in np.unique(batch.truth["labels"]).tolist()} == {0, 1}
    assert {thing.label for _, (things,) in plan.validation for thing in things} == {1}


def of_rasters(site: Path, *more: object):
    """A plan on label rasters, with chips that are drawn without regard to what they show."""
    classes = [] if "--classes" in more else ["--classes", "background,roof,pool"]
    words = [*classes, "--object-fraction", "0", *more]
    return planned(site, *words, without=["class-property"])


def test_label_rasters_of_another_grid_say_the_same(site):
    write(site / "maps" / "fine.tif", true_labels()[..., None])
    path = site / "maps" / "town.tif"
    with (
        rasterio.open(site / "maps" / "fine.tif") as dataset,
        WarpedVRT(dataset, crs="EPSG:3857", nodata=255, height=800, width=800) as warped,
    ):
        rasterio.shutil.copy(warped, path, driver="GTiff")
    (site / "maps" / "fine.tif").unlink()
    plan = of_rasters(site, "--labels", site / "maps")
    labels = plan.chips.scenes[0].labels(WHOLE)
    shown = ~plan.chips.scenes[0].hidden.inside(WHOLE)
    assert (labels[shown] == true_labels()[shown]).mean() > 0.97
    assert plan.classes.names == ("background", "roof", "pool")


def test_pixels_off_a_label_raster_and_of_other_values_are_ignored(site):
    labels = true_labels()[:100, :, None].copy()
    labels[:10], labels[10:20] = 77, 200
    write(site / "maps" / "town.tif", labels, replace(HOME, height=100), nodata=200)
    plan = of_rasters(site, "--labels", site / "maps", "--classes", "background,roof")
    labels = replace(plan.chips.scenes[0], hidden=None).labels(WHOLE)
    expected = np.where(true_labels() == 2, IGNORED, true_labels())
    expected[:20], expected[100:] = IGNORED, IGNORED
    assert np.array_equal(labels, expected)


def test_label_rasters_can_be_without_a_background(site):
    write(site / "maps" / "town.tif", true_labels()[..., None])
    names = {
        name: of_rasters(site, "--labels", site / "maps", "--background", name)
        for name in ("none", "roof", "background")
    }
    assert [plan.classes.background for plan in names.values()] == [None, 1, 0]
    counts = [plan.train[0].truth.counts() > 0 for plan in names.values()]
    assert [list(one) for one in counts] == [[True] * 3, [True, False, True], [False, True, True]]
    told = reasons(site, "--labels", site / "maps", "--classes", "background,roof,pool", "--background", "rof",
        without=["class-property"])  # fmt: skip
    assert "did you mean roof?" in told[0]


def test_values_of_16_bits_are_measured_and_the_card_maps_them_as_training_does(site):
    rng = np.random.default_rng(0)
    pixels = rng.integers(300, 4000, (SIDE, SIDE, 4)).astype(np.uint16)
    pixels[..., 3] //= 4
    pixels[:30] = 0
    pixels[40, 40] = 65535
    write(site / "town.tif", pixels, nodata=0)
    plan = planned(site)
    assert plan.bands == (1, 2, 3, 4)
    measured = pixels[30:].reshape(-1, 4)
    for low, high, band in zip(plan.values.low, plan.values.high, measured.T, strict=True):
        assert (low, high) == tuple(np.round(np.percentile(band, (1, 99))))
    own = Scaling((1 / 127.5,) * 4, (-1.0,) * 4)
    scaling = plan.values.scaling(own)
    ends = np.stack([plan.values.low, plan.values.high])
    assert np.allclose(ends * scaling.scale + scaling.offset, [[-1] * 4, [1] * 4], atol=1e-6)
    raw = pixels[50:60].astype(np.float64)
    trained = plan.values.to_bytes(raw) / 127.5 - 1
    assert np.allclose(raw * scaling.scale + scaling.offset, trained, atol=1e-5)
    assert np.abs(np.asarray(plan.values.fill) * scaling.scale + scaling.offset).max() < 0.01
    scene = replace(plan.chips.scenes[0], hidden=None)
    chip = scene.chip(WHOLE)
    assert (chip.labels[:30] == IGNORED).all()
    assert (chip.pixels[:30] == plan.values.fill).all()


@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0), (1e-4, 1), (1e6, -3e8), (0, 0), (0, 7)])
def test_values_of_floats_are_measured_at_any_scale(site, factor, offset):
    pixels = read(site / "town.tif").astype(np.float32) * np.float32(factor) + np.float32(offset)
    write(site / "town.tif", pixels)
    values = planned(site).values
    expected = np.percentile(pixels.reshape(-1, 3), (1, 99), axis=0)
    if factor:
        width = expected[1] - expected[0]
        assert (np.abs([values.low, values.high] - expected) <= 1e-4 * width).all()
    assert (np.asarray(values.high) > values.low).all()
    assert np.isfinite(values.to_bytes(pixels)).all()


def test_floats_that_are_no_numbers_are_no_measurements(site):
    pixels = read(site / "town.tif").astype(np.float32) / 255
    pixels[:50] = np.nan
    write(site / "town.tif", pixels)
    plan = planned(site)
    expected = np.percentile(pixels[50:].reshape(-1, 3), (1, 99), axis=0)
    assert np.allclose([plan.values.low, plan.values.high], expected, atol=1e-6)
    made = plan.chips(range(20))
    assert np.isfinite(made.pixels).all()
    assert (plan.chips.scenes[0].chip(WHOLE).labels[:50] == IGNORED).all()


def test_numbers_of_large_rasters_are_measured_on_a_reduced_picture(site):
    pixels = np.kron(read(site / "town.tif"), np.ones((5, 5, 1))).astype(np.float32)
    pixels[400:] = np.nan
    write(site / "town.tif", pixels, replace(HOME, transform=(0.1, 0, 500_000, 0, -0.1, 5_600_000)))
    values = planned(site).values
    expected = np.percentile(pixels[:400].reshape(-1, 3), (1, 99), axis=0)
    assert np.allclose([values.low, values.high], expected, atol=2)


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_transparent_pixels_are_no_measurements_on_a_reduced_picture_either(site, make_raster, dtype, scale):
    seen = np.kron(read(site / "town.tif"), np.ones((scale, scale, 1))).astype(dtype)
    opaque = np.full(seen.shape[:2], 255)
    opaque[:, : 70 * scale] = 0
    hidden = np.where(opaque[..., None] > 0, seen, 5000).astype(dtype)
    transform = rasterio.Affine(0.5 / scale, 0, 500_000, 0, -0.5 / scale, 5_600_000)
    make_raster(pixels=hidden, name="town.tif", alpha=opaque, transform=transform)
    values = planned(site, "--gsd", 0.5).values
    expected = np.percentile(seen[:, 70 * scale :].reshape(-1, 3), (1, 99), axis=0)
    assert np.allclose([values.low, values.high], expected, atol=2)


def test_bytes_stay_as_they_are(site):
    values = planned(site).values
    assert (values.low, values.high, values.fill) == ((0.0,) * 3, (255.0,) * 3, (FILL,) * 3)
    own = Scaling((0.5, 0.6, 0.7), (1.0, 2.0, 3.0))
    assert np.allclose(values.scaling(own).scale, own.scale) and values.scaling(own).offset == own.offset


def test_a_raster_whose_first_row_is_the_southernmost_has_its_labels_where_they_belong(site):
    up = replace(HOME, transform=(0.5, 0, 500_000, 0, 0.5, 5_600_000 - SIDE / 2))
    write(site / "town.tif", read(site / "town.tif")[::-1], up)
    plan = planned(site)
    scene = replace(plan.chips.scenes[0], hidden=None)
    assert (scene.labels(WHOLE) == true_labels()[::-1]).all()
    assert plan.gsd == 0.5


def test_degrees_have_a_gsd_in_metres(site):
    degrees = replace(HOME, crs="EPSG:4326", transform=(7e-6, 0, 9.0, 0, -4.5e-6, 50.55))
    write(site / "town.tif", read(site / "town.tif"), degrees)
    write_outlines(site / "town.geojson", degrees)
    plan = planned(site)
    assert plan.gsd == pytest.approx(0.5, rel=0.02)
    assert (replace(plan.chips.scenes[0], hidden=None).labels(WHOLE) == true_labels()).mean() > 0.999


def test_footprints_pair_what_names_do_not_and_the_unpaired_are_told_of(site):
    make_towns(site, 2)
    labels = site / "one.geojson"
    shutil.move(site / "labels" / "town1.geojson", labels)
    plan = planned(site, "--images", site / "images", "--labels", labels)
    assert [one.name for one in plan.train] == ["town1"]
    assert any("1 raster without a partner" in note and "town0.tif" in note for note in plan.findings.notes)


def test_invalid_polygons_are_mended_and_counted_and_what_is_no_polygon_is_left_out(site):
    file = site / "town.geojson"
    told = json.loads(file.read_text())
    ring = told["features"][0]["geometry"]["coordinates"][0]
    ring[1], ring[2] = ring[2], ring[1]
    point = {"type": "Feature", "properties": {"kind": "roof"},
        "geometry": {"type": "Point", "coordinates": ring[0]}}  # fmt: skip
    told["features"].append(point)
    file.write_text(json.dumps(told))
    found = planned(site).findings
    assert found.mended == 1
    assert found.left_out == {"a Point, not a polygon": 1}


def test_polygons_that_do_not_say_what_they_are_are_ignored(site):
    file = site / "town.geojson"
    told = json.loads(file.read_text())
    told["features"][0]["properties"]["kind"] = None
    told["features"][1]["properties"]["kind"] = "shed"
    file.write_text(json.dumps(told))
    plan = planned(site)
    labels = replace(plan.chips.scenes[0], hidden=None).labels(WHOLE)
    assert (labels[10:40, 20:60] == IGNORED).all()
    assert (labels[90:120, 12:40] == 0).all()
    assert plan.findings.others == {"shed": 1}


def test_a_class_that_no_label_raster_holds_is_told_with_the_values_that_there_are(site):
    write(site / "maps" / "town.tif", (true_labels() * 3)[..., None])
    more = ["--labels", site / "maps", "--classes", "ground,roof,tree", "--label-values", "0,3,4"]
    (told,) = reasons(site, *more, without=["class-property"])
    assert "the value 4 (tree); they hold 0, 3, 6: see --label-values" in told


def test_labels_that_miss_every_raster_are_refused(site):
    write_outlines(site / "far.geojson", elsewhere(90_000))
    (told,) = reasons(site, "--labels", site / "far.geojson")
    assert "by name or by location" in told
    shutil.copy(site / "far.geojson", site / "town.geojson")
    (told,) = reasons(site)
    assert "no polygon of roof, pool lies on any" in told


def test_rasters_that_differ_are_refused_by_name(site):
    more = make_towns(site, 3)
    pixels = read(site / "town.tif")
    write(site / "images" / "town1.tif", pixels[..., :2], elsewhere(200))
    write(site / "images" / "town2.tif", pixels.astype(np.uint16), elsewhere(400))
    bands, kind = reasons(site, *more)
    assert "town1.tif has 2 bands, but" in bands and "town0.tif has 3" in bands and "--bands" in bands
    assert "town2.tif is uint16, but" in kind
    (kind,) = reasons(site, *more, "--bands", "1,2")
    assert "uint16" in kind


def test_a_raster_without_a_place_is_refused(site):
    write(site / "town.tif", read(site / "town.tif"), None)
    (told,) = reasons(site)
    assert "has no CRS" in told and "town.tif" in told


def test_an_area_that_covers_nothing_is_refused(site):
    write_polygons(site / "nowhere.geojson", elsewhere(5000), [(0, 0, 50, 50)], ["x"])
    (told,) = reasons(site, "--aoi", site / "nowhere.geojson")
    assert "--aoi" in told


def test_an_area_that_cannot_be_read_is_never_passed_over(site):
    (site / "bad.geojson").write_text("{nonsense")
    more = [*make_towns(site, 2), "--aoi", site / "bad.geojson"]
    for policy in ("fail", "skip"):
        (told,) = reasons(site, *more, "--on-error", policy)
        assert told.startswith("--aoi cannot be used: ") and "bad.geojson" in told


def test_broken_labels_of_several_rasters_are_counted_once(site):
    make_towns(site, 2)
    shutil.copytree(site / "images", site / "again")
    (site / "labels" / "town1.geojson").write_text("{nonsense")
    more = ["--images", site / "images", site / "again", "--labels", site / "labels"]
    (told,) = reasons(site, *more)
    assert "town1.geojson" in told and "--on-error skip" in told
    plan = planned(site, *more, "--on-error", "skip")
    assert [one.info.path for one in plan.train] == [
        str(site / folder / "town0.tif") for folder in ("images", "again")
    ]
    assert len(plan.findings.skipped) == 1


def test_what_is_validated_on_is_never_passed_over_whole(site):
    (site / "broken.tif").write_text("nonsense")
    val = ["--val-images", site / "broken.tif", "--val-labels", site / "town.geojson", "--on-error", "skip"]
    (told,) = reasons(site, *val)
    assert told == "no raster with labels is left to validate on: check --val-images and --val-labels"


def test_polygons_and_label_rasters_do_not_mix(site):
    write(site / "maps" / "other.tif", true_labels()[..., None])
    mixed = ["--labels", site / "town.geojson", site / "maps" / "other.tif"]
    assert reasons(site, *mixed) == ["--labels names polygons and label rasters; train on one kind at a time"]
    write(site / "val" / "other.tif", read(site / "town.tif"), elsewhere(300))
    write(site / "valmaps" / "other.tif", true_labels()[..., None], elsewhere(300))
    val = ["--val-images", site / "val", "--val-labels", site / "valmaps"]
    assert "give one kind for both" in reasons(site, *val)[0]


def test_a_detector_wants_polygons(site):
    write(site / "maps" / "town.tif", true_labels()[..., None])
    more = ["--architecture", "mask_rcnn", "--encoder", "mobilenet_fpn", "--labels", site / "maps"]
    told = reasons(site, *more, "--classes", "background,roof,pool", without=["class-property", "set"])
    assert told == ["mask_rcnn finds instances and needs polygons as labels, not label rasters"]


def test_a_raster_has_one_label_raster(site):
    write(site / "maps" / "a.tif", true_labels()[..., None])
    write(site / "maps" / "b.tif", true_labels()[..., None])
    more = ["--labels", site / "maps", "--classes", "background,roof,pool"]
    assert "has several label rasters" in reasons(site, *more, without=["class-property"])[0]


def test_classes_need_a_property_that_tells_them_apart_and_one_class_needs_none(site):
    assert "pass --class-property" in reasons(site, without=["class-property"])[0]
    plan = planned(site, "--classes", "building", without=["class-property"])
    labels = replace(plan.chips.scenes[0], hidden=None).labels(WHOLE)
    assert (labels == (true_labels() > 0)).all()
    assert "--background none is for label rasters" in reasons(site, "--background", "none")[0]
