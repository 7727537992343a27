"""--resample, and rasters of all kinds in one run."""

from __future__ import annotations

import json

import nets
import numpy as np
import pytest
import rasterio
import shapely
from area_cases import reason, write_area
from mosaics import mosaic
from plan_cases import edited_card
from segment_cases import blocky, labels, manifest, results, segment
from smooth_rasters import encodings, smooth
from tiers import some

from terraseam.pipeline.cli import main
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.make import make_plan
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.source import RasterSource

METRE = rasterio.Affine(1, 0, 500_000, 0, -1, 5_600_000)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Trained at 2 m."""
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet(), gsd=2.0)


@pytest.fixture
def scene(make_raster):
    pixels = blocky(1500, 2600)
    pixels[300:420, 400:460] = 0
    return make_raster(pixels=pixels, nodata=0, name="scene.tif", transform=METRE, tiled=True)


def plan_of(bundle, *rasters, **options):
    return make_plan(SegmentOptions(tuple(map(str, rasters)), (str(bundle),), "out", **options))


def test_results_lie_on_the_grid_of_the_networks_gsd(scene, bundle, tmp_path, capsys):
    assert segment(scene, bundle, tmp_path, "--resample") == 0
    assert "scene.tif is resampled to 2 m/px" in capsys.readouterr().err
    with rasterio.open(tmp_path / "scene" / "labels.tif") as found, rasterio.open(scene) as raster:
        assert found.crs == raster.crs
        assert (found.transform.c, found.transform.f) == (raster.transform.c, raster.transform.f)
        # 1 m in UTM is 1.0004 m on the ground at the central meridian.
        assert found.transform.a == pytest.approx(2 * 0.9996, rel=1e-5)
        assert found.shape == (round(1500 / found.transform.a), round(2600 / found.transform.a))
        hole = found.read(1)[155:205, 205:225]
        assert (hole == 255).all() and (found.read(1) == 255).sum() < 4000
    record = manifest(tmp_path)["rasters"][0]
    assert (record["height"], record["width"]) == found.shape and record["gsd_m"] == pytest.approx(
        2, rel=1e-4
    )
    assert record["resampled_from"]["width"] == 2600
    assert record["resampled_from"]["gsd_m"] == pytest.approx(1.0004, rel=1e-4)
    assert manifest(tmp_path)["inputs"]["resample"]


@pytest.mark.slow
def test_the_labels_are_those_of_the_resampled_raster_as_a_file(scene, bundle, tmp_path, make_raster):
    """What is read on another grid is what a raster of these pixels would be."""
    assert segment(scene, bundle, tmp_path / "view", "--resample", "--sheet", "512") == 0
    planned = plan_of(bundle, scene, resample=True).rasters[0]
    grid = planned.georef
    chip = RasterSource(planned.path, planned.bands, (0, 0, 0), planned.regrid).read(
        Window(0, 0, grid.height, grid.width)
    )
    transform = rasterio.Affine(*grid.transform)
    copy = make_raster(
        pixels=np.where(chip.valid[..., None], chip.pixels, 0),
        nodata=0,
        name="scene.tif",
        transform=transform,
    )
    assert segment(copy, bundle, tmp_path / "file") == 0
    assert results(tmp_path / "view") == results(tmp_path / "file")


@pytest.mark.parametrize("metres", some([2.9, 0.7], quick=1))
def test_tiles_sheets_and_replays_change_no_byte(make_raster, bundle, tmp_path, metres):
    """Down and up: with an area, on a raster that is neither north-up nor square."""
    size = (2100, 2600) if metres < 1 else (700, 900)
    turned = rasterio.Affine.translation(500_000, 5_600_000) @ rasterio.Affine.rotation(30)
    scene = make_raster(
        pixels=blocky(*size), name="scene.tif", mask=np.random.default_rng(3).random(size) > 0.2,
        transform=turned @ rasterio.Affine.scale(metres, metres),
    )  # fmt: skip
    aoi = write_area(
        tmp_path / "area.gpkg", scene, [shapely.Polygon([(100, 50), (size[1] - 50, 300), (260, 680)])]
    )
    runs = {
        "one": ("--sheet", "512"),
        "two": ("--sheet", "1024", "--direct_runner_bundle_repeat=1"),
        "large": ("--tile", "1024"),
    }
    for name, options in runs.items():
        assert segment(scene, bundle, tmp_path / name, "--resample", "--aoi", aoi, *options) == 0
    for name in runs:
        assert results(tmp_path / name) == results(tmp_path / "one"), name
    assert 0 < manifest(tmp_path / "one")["rasters"][0]["aoi_share"] < 0.7


@pytest.mark.slow
def test_two_worker_processes_change_no_byte(scene, bundle, tmp_path):
    for name, workers in (("one", "1"), ("two", "2")):
        assert (
            segment(
                scene,
                bundle,
                tmp_path / name,
                "--resample",
                "--sheet",
                "512",
                "--direct_num_workers",
                workers,
            )
            == 0
        )
    assert results(tmp_path / "one") == results(tmp_path / "two")


@pytest.mark.slow
def test_a_run_again_infers_nothing_and_another_grid_everything(scene, bundle, tmp_path):
    counts = []
    for option in ("--resample", "--resample", "--any-gsd"):
        assert segment(scene, bundle, tmp_path, option) == 0
        counts.append(manifest(tmp_path)["counts"]["sheets_inferred"])
    assert counts == [1, 0, 2]


def test_all_encodings_of_nodata_give_one_label_map(make_raster, bundle, tmp_path):
    paths = list(encodings(make_raster, transform=METRE))
    said = ["segment", *paths, "--model", bundle, "--output", tmp_path / "out", "--resample", "--tile", "512"]
    assert main([*map(str, said)]) == 0
    found = {path.stem: labels(tmp_path / "out", path.stem) for path in paths}
    assert len(found) == 7 and 0.1 < (found["value"] == 255).mean() < 0.5
    for name, one in found.items():
        assert (one == found["value"]).all(), name


def test_a_plan_says_what_is_resampled_and_how_many_pixels_come_of_it(scene, make_raster, bundle, capsys):
    fine = make_raster(20, 30, name="fine.tif", transform=rasterio.Affine(2.001, 0, 5e5, 0, -2.001, 5.6e6))
    said = ["plan", scene, fine, "--model", bundle, "--output", "out", "--resample"]
    assert main([*map(str, said)]) == 0
    out = capsys.readouterr().out
    assert (
        "scene: 1301 x 750 px, 2 m/px, resampled from 2600 x 1500 px, 1 m/px, bands 1, 2, 3, 1 sheet" in out
    )
    assert "fine: 30 x 20 px, 2 m/px, bands" in out
    assert "scene.tif is resampled to 2 m/px" in out
    assert main([*map(str, said), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["pixels"] == 1301 * 750 + 600
    assert plan["rasters"][0]["resampled_from"] == {
        "height": 1500,
        "width": 2600,
        "gsd_m": pytest.approx(1.0004, rel=1e-4),
    }
    assert plan["rasters"][1]["resampled_from"] is None and plan["resample"]


def test_networks_of_a_range_get_the_near_end_of_it(make_raster, bundle, tmp_path):
    ranged = edited_card(bundle, tmp_path / "ranged", gsd=[1.0, 2.0])
    grids = {}
    for metres in (0.25, 1.5, 8.0):
        raster = make_raster(
            60, 70, name=f"at{metres}.tif", transform=METRE @ rasterio.Affine.scale(metres, metres)
        )
        grids[metres] = plan_of(ranged, raster, resample=True).rasters[0].georef
    gsds = [grid.gsd() for grid in grids.values()]
    assert gsds == pytest.approx([1.0, 1.5 * 1.0004, 2.0], rel=1e-4)
    notes = plan_of(ranged, tmp_path / "at8.0.tif", resample=True).notes
    assert any("read more than 2 times finer than their own GSD" in note for note in notes)
    anything = edited_card(bundle, tmp_path / "any", gsd="any")
    plan = plan_of(anything, tmp_path / "at8.0.tif", resample=True)
    assert plan.rasters[0].regrid is None and "--resample changes nothing" in plan.notes[0]


def test_what_cannot_be_resampled_is_refused_in_a_sentence(make_raster, bundle, tmp_path, capsys):
    speck = make_raster(7, 9, name="speck.tif", transform=rasterio.Affine(0.1, 0, 5e5, 0, -0.1, 5.6e6))
    said = ["plan", speck, "--model", bundle, "--output", "out"]
    (told,) = reason(capsys, *said)
    assert "pass --resample to read it at that GSD" in told
    (told,) = reason(capsys, *said, "--resample")
    assert "speck.tif is 7 pixels of 0.1 m/px on its smaller side, which is less than one at 2 m/px" in told
    other = nets.make_bundle(tmp_path / "other", nets.small_unet(seed=3), name="other", gsd=0.2)
    found = reason(capsys, *said, "--model", other, "--resample")
    assert (
        len(found) == 2 and "would have a GSD of 0.632 m/px, but tiny 1.0.0 was trained at 2 m/px" in found[0]
    )
    assert main([*map(str, said), "--resample", "--any-gsd"]) == 2
    assert "not allowed with argument" in capsys.readouterr().err
    with pytest.raises(ValueError, match="leave one out"):
        plan_of(bundle, speck, resample=True, any_gsd=True)


@pytest.mark.slow
def test_rasters_of_all_kinds_run_together_as_they_do_alone(make_raster, bundle, tmp_path):
    """CRS, GSD, size, type and orientation differ; so do bands and masks."""
    pixels = smooth(300, 401)
    away = rasterio.Affine(2e-5, 0, 9.0, 0, -2e-5, 50.0)
    south_up = rasterio.Affine(3, 0, 1.4e6, 0, 3, 6.0e6)
    rasters = [
        make_raster(pixels=pixels, name="bytes.tif", transform=METRE),
        make_raster(pixels=pixels.astype("uint16"), name="words.tif", crs="EPSG:4326", transform=away),
        make_raster(
            pixels=pixels[:90, :601], name="south.tif", crs="EPSG:3857", transform=south_up, nodata=25
        ),
        make_raster(pixels=smooth(77, 603, dtype="float32"), name="floats.tif", transform=METRE),
        make_raster(pixels=smooth(30, 40, dtype="int16"), name="small.tif", transform=METRE),
        make_raster(pixels=pixels, name="alpha.tif", alpha=np.tri(300, 401) * 255, transform=METRE),
    ]
    said = ["--model", bundle, "--resample", "--tile", "512", "--sheet", "512"]
    assert main([*map(str, ["segment", *rasters, *said, "--output", tmp_path / "all"])]) == 0
    for raster in rasters:
        assert main([*map(str, ["segment", raster, *said, "--output", tmp_path / "alone"])]) == 0
        assert results(tmp_path / "all", raster.stem) == results(tmp_path / "alone", raster.stem), raster.name
    with rasterio.open(tmp_path / "all" / "south" / "labels.tif") as dataset:
        assert dataset.transform.e > 0 and dataset.crs.to_epsg() == 3857
    for raster in manifest(tmp_path / "all")["rasters"]:
        assert raster["gsd_m"] == pytest.approx(2, rel=1e-3)


@pytest.mark.parametrize("gsd", some(["--resample", "--any-gsd"], 1))
def test_a_mosaic_is_the_raster_that_it_is_made_of(make_raster, bundle, tmp_path, gsd):
    """Parts meet off the lattice, and a corner of the mosaic is missing."""
    pixels = blocky(900, 1300)
    pixels[500:, 700:] = 0
    whole = make_raster(pixels=pixels, nodata=0, name="whole/scene.tif", transform=METRE)
    places = [(0, 0, 500, 700), (0, 700, 500, 600), (500, 0, 400, 700)]
    parts = []
    for number, (row, col, height, width) in enumerate(places):
        part = make_raster(
            pixels=pixels[row : row + height, col : col + width], nodata=0, name=f"part{number}.tif",
            transform=METRE @ rasterio.Affine.translation(col, row),
        )  # fmt: skip
        parts.append((part, places[number]))
    vrt = mosaic(tmp_path / "scene.vrt", parts, (900, 1300), nodata=0)
    for name, raster in (("whole", whole), ("vrt", vrt)):
        assert segment(raster, bundle, tmp_path / "out" / name, gsd, "--sheet", "512") == 0
    names = ["labels.tif"]
    assert results(tmp_path / "out" / "vrt", names=names) == results(tmp_path / "out" / "whole", names=names)
    assert (labels(tmp_path / "out" / "vrt") == 255).mean() > 0.15
