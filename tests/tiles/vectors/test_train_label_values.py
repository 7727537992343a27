"""What label rasters hold is counted pixel by pixel, and said before anything is trained."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import rasterio
import shapely
from train_cases import HOME, NORTH, planned, reasons, true_labels, write
from train_town import SIDE, make_town

from terraseam.pipeline.training import label_values
from terraseam.pipeline.training.label_values import count_values
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.source import RasterReadError
from terraseam.tiles.truth.label_raster import RasterTruth
from terraseam.tiles.vectors.area import TrustedArea

WITHOUT = ("class-property",)


@pytest.fixture
def site(tmp_path, make_raster):
    return make_town(tmp_path, make_raster)


def with_labels(site, labels, **profile):
    write(site / "labels" / "town.tif", labels[..., None], **profile)
    return ["--labels", str(site / "labels" / "town.tif"), "--classes", "ground,roof,pool"]


def counted(path, *values, area=None):
    with rasterio.open(path) as file:
        georef = Georef(file.crs.to_wkt(), tuple(file.transform)[:6], *file.shape)
    return count_values(RasterTruth(str(path), georef, values or (0,)), area)


def notes(site, labels, *more, **profile):
    found = planned(site, *with_labels(site, labels, **profile), *more, without=WITHOUT).findings.notes
    return [note for note in found if "label raster" in note]


def refused(site, labels, *more, **profile):
    return reasons(site, *with_labels(site, labels, **profile), *more, without=WITHOUT)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32"])
@pytest.mark.parametrize("side", [37, 4096])
def test_each_pixel_is_counted_once_whatever_the_type_and_the_squares(tmp_path, monkeypatch, dtype, side):
    monkeypatch.setattr(label_values, "SIDE", side)
    rng = np.random.default_rng(3)
    labels = rng.choice([0, 1, 7, 100], (101, 83)).astype(dtype)
    labels[50, 40] = 120 if dtype == "uint8" else 30_000
    if dtype in ("int16", "int32", "float32"):
        labels[0, 0] = -30_000
    labels[10:20] = 100
    path = write(tmp_path / "labels.tif", labels[..., None], nodata=100)
    wanted = Counter(labels[labels != 100].tolist())
    assert counted(path) == wanted
    if dtype == "int32":
        labels[1, 1] = 2_000_000_000
        assert counted(write(path, labels[..., None], nodata=100)) == Counter(labels[labels != 100].tolist())


def test_many_values_take_bounded_memory_and_those_of_classes_are_never_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(label_values, "MOST_VALUES", 64)
    monkeypatch.setattr(label_values, "SIDE", 32)
    numbers = np.arange(128 * 128, dtype=np.int32).reshape(128, 128) + 1000
    numbers[0, 0], numbers[64:, 64:] = 1, 2
    found = counted(write(tmp_path / "labels.tif", numbers[..., None]), 1, 2)
    assert found[1] == 1 and found[2] == 64 * 64 and len(found) < 64 + 32 * 32


def test_a_label_raster_with_a_damaged_block_is_refused(tmp_path):
    labels = np.random.default_rng(1).integers(0, 2, (128, 128, 1)).astype(np.uint8)
    path = write(tmp_path / "labels.tif", labels, compress="deflate")
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(RasterReadError, match="cannot be read at"):
        counted(path)


def test_a_value_of_a_single_pixel_is_told(site):
    place = Georef("EPSG:32632", (0.05, 0, 500_000, 0, -0.05, 5_600_000), 1920, 1920)
    labels = true_labels().repeat(10, 0).repeat(10, 1)
    labels[1004:1006, 334:336] = 9
    (note,) = notes(site, labels, place=place, compress="deflate")
    assert "values that belong to no class and are ignored: 9 (0.0027 %); see --classes" in note


def test_most_pixels_without_a_class_are_noted_with_their_share(site):
    labels = true_labels()
    labels[labels == 0] = 200
    labels[:20, :20] = 0
    share = 100 * (labels == 200).mean()
    (note,) = notes(site, labels)
    assert share > 50
    assert f"ignored: {share:.1f} % of their pixels: 200 ({share:.1f} %); see" in note


def test_where_nothing_can_be_learned_is_refused_with_the_values(site):
    (nothing,) = refused(site, np.full((SIDE, SIDE), 77, np.uint8))
    assert (
        "no pixel of a label raster has the value 1 (roof), 2 (pool); they hold 77: see --label-values"
        in nothing
    )
    (empty,) = refused(site, np.full((SIDE, SIDE), 77, np.uint8), nodata=77)
    assert "they hold only nodata: see" in empty
    roofs = np.full((SIDE, SIDE), 1, np.uint8)
    roofs[:9] = 50
    write(site / "labels" / "town.tif", roofs[..., None])
    (alone,) = reasons(
        site, "--labels", site / "labels" / "town.tif", "--classes", "ground,roof", without=WITHOUT
    )
    assert (
        "every pixel of label rasters that has a class is roof, so there is nothing to distinguish; they hold 1, 50"
        in alone
    )


@pytest.mark.parametrize("side", [37, 4096])
def test_pixels_are_counted_inside_the_area_and_on_the_raster(tmp_path, monkeypatch, side):
    monkeypatch.setattr(label_values, "SIDE", side)
    rng = np.random.default_rng(5)
    labels = rng.choice([0, 1, 7, 100], (SIDE, SIDE)).astype(np.uint8)
    path = write(tmp_path / "labels.tif", labels[..., None], nodata=100)
    area = TrustedArea(np.array([shapely.box(20, 11, 90, 150)], object))
    inside = labels[11:150, 20:90]
    assert counted(path, area=area) == Counter(inside[inside != 100].tolist())
    part = Georef(HOME.crs, (0.5, 0, 500_010, 0, -0.5, NORTH - 5.5), 139, 70)
    assert count_values(RasterTruth(str(path), part, (0,))) == counted(path, area=area)


def test_what_labels_hold_outside_the_area_is_not_told_and_lets_nothing_be_learned(site):
    labels = true_labels()
    labels[:, 100:] = 2
    labels[:, :100][labels[:, :100] == 2] = 1
    area = ["--aoi", site / "west.geojson"]
    (told,) = refused(site, labels, *area)
    assert "no pixel of a label raster inside --aoi has the value 2 (pool); they hold 0, 1: see" in told
    labels = true_labels()
    labels[:, 100:] = 77
    assert notes(site, labels, *area) == []
    labels[::2, :100] = 78
    (note,) = notes(site, labels, *area)
    assert "values that belong to no class and are ignored: 78 (50.0 %); see" in note


def test_a_class_that_is_too_rare_to_be_drawn_around_is_noted_and_not_refused(site, monkeypatch):
    monkeypatch.setattr("terraseam.tiles.truth.label_raster._LOOK_AT_MOST", 48)
    labels = true_labels()
    labels[labels == 2] = 0
    labels[151, 33] = 2
    (note,) = notes(site, labels)
    assert note == "chips are not centred on pool (1 pixel), which is too rare on label rasters"
