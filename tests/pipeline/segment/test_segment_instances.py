"""The main job with a detector: every thing once and whole, whatever sheets, replays and order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import nets
import numpy as np
import pyarrow.parquet
import pyogrio
import pytest
import rasterio
import rasterio.features
import rasterio.warp
import shapely
from area_cases import mask_of, write_area
from planted import planted_scene
from planted_things import Detector, bar, disk, plant
from segment_cases import assert_ways_change_no_byte, features, labels, manifest, results, segment
from tiers import some

import terraseam.pipeline.segment.sheet_inference
import terraseam.pipeline.vectorize.instances
from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import ClassInfo, NetworkFile
from terraseam.models.detection.instances import ChipDetections
from terraseam.models.engines.engine import Engine
from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.describe import describe_plan
from terraseam.pipeline.plan.make import make_plan

SHAPE = (1300, 1750)
CLASSES = (
    ClassInfo("ground", "#000000", background=True),
    ClassInfo("roof", "#ff0000"),
    ClassInfo("tank", "#0000ff"),
)


class PlantedDetector(Engine):
    """Finds the connected pieces of each value of the first band, on the chip that it is given alone."""

    def __init__(self):
        self.calls = 0
        self.room, self.full = 100, 0

    def instances(self, chips):
        self.calls += len(chips)
        found = [tuple(Detector().find(chip[..., 0].astype(int), (0, 0))) for chip in chips]
        self.full += sum(len(things) >= self.room for things in found)
        return [ChipDetections(things, full=len(things) >= self.room) for things in found]


class StutteringDetector(PlantedDetector):
    """Finds each small thing once more, less surely and without its upper quarter."""

    def instances(self, chips):
        return [
            ChipDetections(
                (*detections.instances, *map(self._again, filter(self._is_small, detections.instances))),
                detections.full,
            )
            for detections in super().instances(chips)
        ]

    @staticmethod
    def _is_small(thing):
        return max(thing.mask.shape) <= 96

    @staticmethod
    def _again(thing):
        cut = len(thing.mask) // 4
        return replace(thing, row=thing.row + cut, mask=thing.mask[cut:], score=thing.score - 0.3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """The card of a detector, and a file in the place of its network."""
    folder = tmp_path_factory.mktemp("bundles") / "planted"
    folder.mkdir()
    (folder / "model.keras").write_bytes(b"no network")
    fields = nets.card_fields(3, 1)
    changes = {
        "name": "planted",
        "format": 2,
        "encoder": None,
        "task": "instances",
        "classes": CLASSES,
        "network": NetworkFile(answer="instances"),
        "fill": (0.0,),
        "stride": 32,
        "reach": None,
        "reach_source": "graph",
        "halo": 96,
        "memory_per_pixel": 100,
        "weights_sha256": hashlib.sha256(b"no network").hexdigest(),
        "training": {},
        "metrics": {},
    }
    Card(**{**fields, **changes}).write(folder)
    return folder


@pytest.fixture
def detector(monkeypatch):
    planted = PlantedDetector()
    monkeypatch.setattr(terraseam.pipeline.segment.sheet_inference, "shared_ensemble", lambda *_: planted)
    return planted


@pytest.fixture(scope="module")
def things():
    """Disks and bars on corners of sheets, at edges, larger than a tile, and touching one another."""
    spots = [
        (512, 512, 60),
        (1024, 1024, 40),
        (0, 700, 50),
        (1290, 1740, 45),
        (700, 250, 20),
        (512, 1400, 30),
    ]
    masks = [disk(*SHAPE, *spot) for spot in spots]
    masks.append(bar(*SHAPE, (900, 1250), (900, 60), 20))
    masks += [bar(*SHAPE, (1100, 500 + 24 * n), (24, 120), 0) for n in range(4)]
    return plant(masks)


@pytest.fixture
def scene(make_raster, things):
    pixels = np.where(things, things, 200).astype("uint8")[..., None]
    pixels[pixels == 200] = 0
    pixels[:40, :60] = 255
    return make_raster(pixels=pixels, nodata=255, name="scene.tif", tiled=True, compress="deflate")


def burnt(feature, raster):
    """The pixels of a feature on the raster's grid."""
    polygon = shapely.geometry.shape(feature["geometry"])
    x, y = rasterio.warp.transform("EPSG:4326", raster.crs, *shapely.get_coordinates(polygon).T)
    mapped = shapely.set_coordinates(polygon, np.stack([x, y], axis=1))
    return rasterio.features.rasterize([mapped], raster.shape, transform=raster.transform).astype(bool)


@pytest.mark.usefixtures("detector")
def test_every_thing_is_one_polygon_on_its_pixels(scene, bundle, things, tmp_path, capsys):
    assert segment(scene, bundle, tmp_path, "--sheet", "1024") == 0
    collection = json.loads((tmp_path / "scene" / "polygons.geojson").read_text())
    with rasterio.open(scene) as raster:
        found = {}
        for feature in collection["features"]:
            mask = burnt(feature, raster)
            number = int(np.bincount(things[mask]).argmax())
            assert number not in found, "a thing was found twice"
            found[number] = mask
            assert feature["properties"]["class"] == CLASSES[1 + number % 2].name
    assert sorted(found) == list(range(1, things.max() + 1))
    for number, mask in found.items():
        assert np.array_equal(mask, things == number), number
    with rasterio.open(tmp_path / "scene" / "labels.tif") as labels:
        expected = np.where(things > 0, 1 + things % 2, 0)
        expected[:40, :60] = 255
        assert np.array_equal(labels.read(1), expected)
    record = json.loads((tmp_path / "manifest.json").read_text())
    counted = record["rasters"][0]["classes"]
    assert counted["roof"]["polygons"] + counted["tank"]["polygons"] == things.max()
    assert counted["roof"]["pixels"] == (expected == 1).sum()
    assert counted["ground"]["polygons"] is None
    assert "roof" in capsys.readouterr().out


@pytest.mark.usefixtures("detector")
def test_things_that_are_found_twice_are_published_once(scene, bundle, tmp_path, monkeypatch):
    assert segment(scene, bundle, tmp_path / "plain") == 0
    monkeypatch.setattr(
        terraseam.pipeline.segment.sheet_inference, "shared_ensemble", lambda *_: StutteringDetector()
    )
    for sheet in ("512", "2048"):
        assert segment(scene, bundle, tmp_path / sheet, "--sheet", sheet) == 0
        assert results(tmp_path / sheet) == results(tmp_path / "plain")


def test_things_are_neither_cut_nor_sieved(scene, bundle, tmp_path, capsys):
    assert (
        segment(scene, bundle, tmp_path, "--max-region", "1024", "--sieve", "9", "--connectivity", "8") == 2
    )
    said = capsys.readouterr().err
    assert (
        "--max-region is for regions of a label map, but a detector finds whole instances; leave it out"
        in said
    )
    assert "--sieve is for regions" in said and "--connectivity 8 is for regions" in said


@pytest.mark.usefixtures("detector")
def test_tables_hold_each_thing_as_a_multipolygon(scene, bundle, things, tmp_path):
    assert segment(scene, bundle, tmp_path, "--sheet", "512", "--format", "gpkg,parquet") == 0
    info = pyogrio.read_info(tmp_path / "scene" / "polygons.gpkg")
    assert (info["features"], info["geometry_type"]) == (things.max(), "MultiPolygon")
    table = pyarrow.parquet.read_table(tmp_path / "scene" / "polygons.parquet")
    shapes = shapely.from_wkb(table["geometry"].to_pylist())
    with rasterio.open(scene) as raster:
        pixel = abs(raster.transform.a * raster.transform.e)
    assert shapely.area(shapes).sum() == pytest.approx(np.count_nonzero(things) * pixel)


@pytest.mark.usefixtures("detector")
def test_sheets_replays_and_order_change_no_byte(scene, bundle, tmp_path, monkeypatch):
    assert_ways_change_no_byte(scene, bundle, tmp_path, monkeypatch)


@pytest.mark.slow
def test_a_finished_run_called_again_calls_no_network(scene, bundle, tmp_path, detector):
    assert segment(scene, bundle, tmp_path) == 0
    calls, before = detector.calls, results(tmp_path)
    assert calls > 0
    assert segment(scene, bundle, tmp_path) == 0
    assert (detector.calls, results(tmp_path)) == (calls, before)
    assert segment(scene, bundle, tmp_path, "--classes", "tank", "--min-area", "600") == 0
    collection = json.loads((tmp_path / "scene" / "polygons.geojson").read_text())
    assert detector.calls == calls
    assert {feature["properties"]["class"] for feature in collection["features"]} == {"tank"}
    assert all(feature["properties"]["area_m2"] >= 600 for feature in collection["features"])
    assert (tmp_path / "scene" / "labels.tif").read_bytes() == before[0]
    assert segment(scene, bundle, tmp_path, "--force") == 0
    assert (detector.calls, results(tmp_path)) == (2 * calls, before)


@pytest.mark.slow
@pytest.mark.usefixtures("detector")
@pytest.mark.parametrize("options", [(), ("--simplify", "1", "--min-area", "9")])
def test_of_a_changed_raster_only_what_changed_is_resolved(scene, bundle, tmp_path, monkeypatch, options):
    resolved = []
    resolve_instance = terraseam.pipeline.vectorize.instances.resolve_instance
    monkeypatch.setattr(
        terraseam.pipeline.vectorize.instances,
        "resolve_instance",
        lambda views, lattice: resolved.append(views) or resolve_instance(views, lattice),
    )
    out, cold = tmp_path / "out", tmp_path / "cold"
    assert segment(scene, bundle, out, "--sheet", "512", *options) == 0
    every = len(resolved)
    assert every > 8
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(np.full((1, 20, 30), 77, np.uint8), window=((1200, 1220), (120, 150)))
    resolved.clear()
    assert segment(scene, bundle, out, "--sheet", "512", *options) == 0
    assert 0 < len(resolved) < every / 2
    assert segment(scene, bundle, cold, "--sheet", "512", *options) == 0
    assert results(out) == results(cold)
    # What hangs on the area, or on options, is resolved anew.
    aoi = write_area(tmp_path / "area.geojson", scene, [ROUGH])
    for name, more in (("some", ("--aoi", aoi)), ("large", ("--min-area", "3000"))):
        said = ("--sheet", "512", *options, *more)
        assert segment(scene, bundle, tmp_path / name, *said, "--work", out / ".work") == 0
        assert segment(scene, bundle, tmp_path / f"{name}_cold", *said) == 0
        assert results(tmp_path / name) == results(tmp_path / f"{name}_cold")


def test_tiles_on_which_there_was_no_room_for_more_are_told(scene, bundle, tmp_path, detector, capsys):
    assert segment(scene, bundle, tmp_path / "a") == 0
    assert "reached its limit" not in capsys.readouterr().out
    detector.room = 5
    for _ in range(2):
        assert segment(scene, bundle, tmp_path / "b") == 0
        told = capsys.readouterr().out
        assert 0 < detector.full < 12
        assert f"scene: on {detector.full} tiles planted reached its limit of instances" in told
        assert "others may be missing; recreate the bundle with a higher limit per tile" in told
    assert (
        json.loads((tmp_path / "b" / "manifest.json").read_text())["rasters"][0]["full_tiles"]
        == detector.full
    )
    assert segment(scene, bundle, tmp_path / "c", "--tile", "1024") == 0
    assert "others may be missing; pass a smaller --tile" in capsys.readouterr().out


def test_a_raster_without_things_has_an_empty_collection(make_raster, bundle, tmp_path, detector):
    pixels = np.zeros((300, 700, 1), np.uint8)
    empty = make_raster(pixels=pixels, name="scene.tif")
    assert segment(empty, bundle, tmp_path) == 0
    assert detector.calls > 0
    assert json.loads((tmp_path / "scene" / "polygons.geojson").read_text())["features"] == []
    with rasterio.open(tmp_path / "scene" / "labels.tif") as labels:
        assert not labels.read(1).any()


def test_the_plan_says_what_instances_depend_on(scene, bundle, tmp_path):
    options = SegmentOptions((str(scene),), (str(bundle),), str(tmp_path), tile=512)
    text = describe_plan(make_plan(options))
    assert "each appears once and whole" in text
    assert "planted finds instances on the whole chip" in text
    assert "instances larger than the halo of 96 px are merged from several tiles" in text
    with pytest.raises(PlanError, match="--stitch blend averages pixel scores"):
        make_plan(SegmentOptions((str(scene),), (str(bundle),), str(tmp_path), stitch="blend"))


ROUGH = shapely.Polygon([(300, 100), (1100, 480), (1180, 1180), (700, 1010), (330, 1200)])
"""In pixels: cuts disks and bars, and has the disk on the corner of four sheets half inside."""


def things_of(output, raster):
    """Each thing as class, area in pixels and bounds, and what its pixels are."""
    features = json.loads((output / "scene" / "polygons.geojson").read_text())["features"]
    with rasterio.open(raster) as dataset:
        return {
            feature["id"]: (feature["properties"]["class"], burnt(feature, dataset)) for feature in features
        }


@pytest.mark.usefixtures("detector")
def test_things_are_cut_to_the_area_and_are_else_the_same(scene, bundle, tmp_path):
    aoi = write_area(tmp_path / "area.geojson", scene, [ROUGH])
    assert segment(scene, bundle, tmp_path / "all", "--sheet", "512") == 0
    assert segment(scene, bundle, tmp_path / "some", "--sheet", "512", "--aoi", aoi) == 0
    inside = mask_of(scene, [ROUGH])
    assert (labels(tmp_path / "some") == np.where(inside, labels(tmp_path / "all"), 255)).all()
    want = [(name, mask & inside) for name, mask in things_of(tmp_path / "all", scene).values()]
    want = sorted((name, mask.tobytes()) for name, mask in want if mask.any())
    got = sorted((name, mask.tobytes()) for name, mask in things_of(tmp_path / "some", scene).values())
    assert got == want and len(got) > 5


@pytest.mark.usefixtures("detector")
def test_things_end_where_the_earth_ends(make_raster, bundle, tmp_path, capsys):
    disc = "+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80"
    transform = rasterio.Affine(10_000, 0, 1_000_000, 0, -10_000, 5_000_000)
    spots = [(150, 150, 30), (255, 384, 40), (40, 400, 25)]
    things = np.stack([disk(300, 500, *spot) for spot in spots])
    pixels = things.any(axis=0)[..., None].astype("uint8")
    scene = make_raster(pixels=pixels, crs=disc, transform=transform)
    assert segment(scene, bundle, tmp_path) == 0
    found, shown = features(tmp_path), labels(tmp_path)
    off = (shown == 255).sum()
    assert f"scene: {off:,} valid pixels have no place on the Earth" in capsys.readouterr().out
    assert len(found) == 2
    whole, cut = (one["properties"]["area_m2"] for one in found)
    assert (shown[things[0]] == 2).all() and whole > 30e10 and cut > 0
    assert 0 < (shown[things[1]] == 2).sum() < things[1].sum() and (shown[things[2]] == 255).all()


class UnsureDetector(PlantedDetector):
    """Scores a thing by where on the chip it lies: the tiles that see it do not agree."""

    def instances(self, chips):
        return [
            replace(
                detections,
                instances=tuple(replace(one, score=self._score(one)) for one in detections.instances),
            )
            for detections in super().instances(chips)
        ]

    @staticmethod
    def _score(one):
        return 0.3 + 0.6 * ((7 * one.row + 11 * one.col + int(one.mask.sum())) % 97) / 97


@pytest.mark.parametrize(
    ("box", "sheets"),
    some(
        [
            ((460, 450, 505, 505), [4, 1, 1]),  # of one tile, but three others see it, and the disk on it
            (
                (830, 700, 900, 790),
                [1, 1, 1],
            ),  # the end of a bar that goes on through tiles that do not see it
            ((460, 450, 600, 600), [4, 1, 1]),
        ],
        quick=1,
    ),
)
def test_sheets_change_nothing_of_cut_things(scene, bundle, tmp_path, monkeypatch, box, sheets):
    monkeypatch.setattr(
        terraseam.pipeline.segment.sheet_inference, "shared_ensemble", lambda *_: UnsureDetector()
    )
    aoi = write_area(tmp_path / "area.geojson", scene, [shapely.box(*box)])
    for name, sheet in (("one", "512"), ("two", "1024"), ("four", "2048")):
        assert segment(scene, bundle, tmp_path / name, "--sheet", sheet, "--aoi", aoi) == 0
    assert results(tmp_path / "one") == results(tmp_path / "two") == results(tmp_path / "four")
    assert [manifest(tmp_path / name)["counts"]["sheets"] for name in ("one", "two", "four")] == sheets
    assert json.loads((tmp_path / "one" / "scene" / "polygons.geojson").read_text())["features"]


@pytest.mark.slow
def test_a_trained_mask_rcnn_finds_each_planted_thing_once(planted_detector, make_raster, tmp_path):
    pixels, things = planted_scene(1000, 1300, 45, 3)
    raster = make_raster(pixels=pixels, name="scene.tif", tiled=True)
    runs = {
        "large": ["--sheet", "2048"],
        "small": ["--sheet", "512"],
        "workers": ["--sheet", "512", "--direct_num_workers", "2"],
    }
    for name, options in runs.items():
        assert segment(raster, planted_detector, tmp_path / name, *options) == 0
        assert results(tmp_path / name) == results(tmp_path / "large")
    collection = json.loads((tmp_path / "large" / "scene" / "polygons.geojson").read_text())
    with rasterio.open(raster) as opened:
        masks = [burnt(feature, opened) for feature in collection["features"]]
    shares = np.zeros((len(things), len(masks)))
    for i, thing in enumerate(things):
        planted = np.zeros(pixels.shape[:2], bool)
        height, width = thing.mask.shape
        planted[thing.row : thing.row + height, thing.col : thing.col + width] = True
        shares[i] = [(planted & mask).sum() / (planted | mask).sum() for mask in masks]
    assert len(things) > 30
    assert (shares > 0.1).sum(axis=1).max() == 1, "a thing was found twice"
    found = shares.max(axis=1) > 0.7
    assert found.mean() >= 0.95
    assert len(masks) <= found.sum() + 2
