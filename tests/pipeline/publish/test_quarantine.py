"""Sheets that cannot be segmented are left out, said so, and tried again by the next run."""

from __future__ import annotations

import json
from types import SimpleNamespace

import nets
import numpy as np
import pytest
import rasterio
import shapely
from damages import break_checksum, plain_pixels

from terraseam.models.engines.engine import Engine
from terraseam.models.engines.profile import EngineError
from terraseam.pipeline.cli import main
from terraseam.pipeline.storage import retries
from terraseam.pipeline.storage.retries import GaveUpError, with_retries
from terraseam.tiles.raster.source import RasterSource

SIDE = 512


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(retries, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def scene(make_raster):
    coarse = np.random.default_rng(3).integers(1, 255, (110, 130, 3)).astype(np.uint8)
    pixels = coarse.repeat(10, axis=0).repeat(10, axis=1)
    return make_raster(pixels=pixels, tiled=True, blockxsize=256, blockysize=256)


def segment(scene, bundle, output, *options):
    arguments = ["--model", str(bundle), "--output", str(output), "--tile", "512", "--sheet", str(SIDE)]
    return main(["segment", str(scene), *arguments, *options])


def manifest(output):
    return json.loads((output / "manifest.json").read_text())


def fates(output):
    counted = manifest(output)["counts"]
    found = {fate: counted[f"sheets_{fate}"] for fate in ("inferred", "reused", "skipped", "quarantined")}
    assert sum(found.values()) == counted["sheets"]
    return found


def labels(output):
    with rasterio.open(output / "scene" / "labels.tif") as dataset:
        return dataset.read(1)


def truncate(scene, share):
    whole = scene.read_bytes()
    scene.write_bytes(whole[: round(len(whole) * share)])
    return whole


def test_sheets_that_cannot_be_read_are_nodata_and_stop_no_other(scene, bundle, tmp_path, capsys):
    assert segment(scene, bundle, tmp_path / "calm") == 0
    whole = truncate(scene, 0.7)
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 3
    error = capsys.readouterr().err
    assert "quarantine.geojson says where and why; run the same command again to retry" in error
    found = fates(out)
    assert found["quarantined"] > 0 and found["inferred"] > 0
    collection = json.loads((out / "quarantine.geojson").read_text())
    lost = np.zeros((1100, 1300), bool)
    for feature in collection["features"]:
        said = feature["properties"]
        assert (
            said["raster"] == "scene" and said["attempts"] == 3 and "cannot be read at rows" in said["cause"]
        )
        rows = slice(said["row_off"], said["row_off"] + said["height"])
        lost[rows, said["col_off"] : said["col_off"] + said["width"]] = True
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid and shape.exterior.is_ccw and shape.bounds == tuple(feature["bbox"])
    assert len(collection["features"]) == found["quarantined"]
    calm, seen = labels(tmp_path / "calm"), labels(out)
    assert (seen[lost] == 255).all() and np.array_equal(seen[~lost], calm[~lost])

    scene.write_bytes(whole)
    assert segment(scene, bundle, out) == 0
    assert fates(out) == {
        **found,
        "inferred": found["quarantined"],
        "reused": found["inferred"],
        "quarantined": 0,
    }
    assert not (out / "quarantine.geojson").exists() and manifest(out)["quarantine"] is None
    for name in ("labels.tif", "polygons.geojson"):
        assert (out / "scene" / name).read_bytes() == (tmp_path / "calm" / "scene" / name).read_bytes()


def test_the_next_run_tries_only_what_is_in_quarantine(scene, bundle, tmp_path, monkeypatch):
    truncate(scene, 0.7)
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 3
    tried = []
    original = RasterSource.read
    monkeypatch.setattr(
        RasterSource, "read", lambda self, window: tried.append(window) or original(self, window)
    )
    assert segment(scene, bundle, out) == 3
    assert len(set(tried)) == fates(out)["quarantined"] and len(tried) == 3 * len(set(tried))


def test_what_an_earlier_run_knew_stays_where_nothing_can_be_read(scene, bundle, tmp_path, capsys):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    before = labels(out)
    truncate(scene, 0.01)
    assert segment(scene, bundle, out) == 3
    assert fates(out)["quarantined"] == 9 and not manifest(out)["rasters"][0]["published"]
    assert np.array_equal(labels(out), before)
    assert "Traceback" not in capsys.readouterr().err


def test_a_failure_that_passes_is_no_failure(scene, bundle, tmp_path, monkeypatch):
    original, failed = RasterSource.read, []

    def read(source, window):
        if failed.count(failed[0] if failed else window) < 2 and failed[:1] in ([], [window]):
            failed.append(window)
            raise rasterio.errors.RasterioIOError("timed out")
        return original(source, window)

    from terraseam.tiles.raster import source as sources

    def flaky(source, window):
        try:
            return read(source, window)
        except rasterio.errors.RasterioError as error:
            raise sources.damaged(source.path, window, error) from error

    monkeypatch.setattr(RasterSource, "read", flaky)
    assert segment(scene, bundle, tmp_path / "out") == 0
    assert sorted(sheet["attempts"] for sheet in manifest(tmp_path / "out")["rasters"][0]["sheets"])[-2:] == [
        1,
        3,
    ]


@pytest.mark.parametrize(("answer", "cause"), [(np.nan, "returned NaN"), (None, "ValueError: no such chip")])
def test_a_network_that_fails_on_a_sheet_puts_it_in_quarantine(
    scene, bundle, tmp_path, monkeypatch, answer, cause
):
    original = Engine.logits
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(np.full((3, 8, 8), 77, np.uint8), window=((40, 48), (60, 68)))

    def logits(engine, chips):
        found = np.array(original(engine, chips))
        if (chips == 77).all(axis=-1).sum() >= 64:
            if answer is None:
                raise ValueError("no such chip")
            found[0, 0, 0] = answer
        return found

    monkeypatch.setattr(Engine, "logits", logits)
    assert segment(scene, bundle, tmp_path / "out") == 3
    assert fates(tmp_path / "out")["quarantined"] == 1
    (feature,) = json.loads((tmp_path / "out" / "quarantine.geojson").read_text())["features"]
    assert cause in feature["properties"]["cause"]
    assert segment(scene, bundle, tmp_path / "strict", "--on-error", "fail") == 1


def test_what_no_sheet_can_do_without_ends_the_run(scene, bundle, tmp_path, monkeypatch, capsys):
    def broken(*_):
        raise EngineError("the network of tiny makes maps of another size")

    monkeypatch.setattr(Engine, "logits", broken)
    assert segment(scene, bundle, tmp_path / "out") == 1
    assert "maps of another size" in capsys.readouterr().err


def test_an_accelerator_without_room_gets_fewer_tiles_a_call(scene, bundle, tmp_path, monkeypatch, capsys):
    class ResourceExhaustedError(Exception):
        pass

    original = Engine.logits

    def small(engine, chips):
        if engine.profile.samples > 2:  # which every call takes, however few chips it is given
            raise ResourceExhaustedError("OOM when allocating")
        return original(engine, chips)

    assert segment(scene, bundle, tmp_path / "calm", "--batch-size", "8", "--sheet", "1024") == 0
    assert "ran out of memory" not in capsys.readouterr().out
    monkeypatch.setattr(Engine, "logits", small)
    assert segment(scene, bundle, tmp_path / "out", "--batch-size", "8", "--sheet", "1024") == 0
    assert capsys.readouterr().out.count("ran out of memory with 8 tiles per call") == 1
    assert [profile["samples"] for profile in manifest(tmp_path / "out")["profiles"]] == [2]
    assert np.array_equal(labels(tmp_path / "out"), labels(tmp_path / "calm"))


def test_sheets_of_nothing_but_nodata_are_skipped(make_raster, bundle, tmp_path):
    coarse = np.random.default_rng(0).integers(1, 255, (60, 150, 3)).astype(np.uint8)
    pixels = coarse.repeat(10, axis=0).repeat(10, axis=1)
    pixels[:, :1100] = 0
    assert segment(make_raster(pixels=pixels, nodata=0), bundle, tmp_path / "out") == 0
    found = fates(tmp_path / "out")
    assert found["inferred"] == 2 and found["skipped"] > 0 and found["skipped"] + found["reused"] == 4


def test_waits_grow_and_only_what_is_worth_it_is_tried_again(monkeypatch):
    waits = []
    monkeypatch.setattr(retries, "WAITS_S", (0.5, 2.0))
    monkeypatch.setattr(retries, "time", SimpleNamespace(sleep=waits.append))
    outcomes = [OSError("a"), OSError("b"), 7]

    def work():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert with_retries(work, lambda error: isinstance(error, OSError)) == (7, 3)
    assert waits == [0.5, 2.0]
    outcomes[:] = [OSError("a")] * 3
    with pytest.raises(GaveUpError) as gave_up:
        with_retries(work, lambda _: True)
    assert gave_up.value.attempts == 3 and isinstance(gave_up.value.__cause__, OSError)
    outcomes[:] = [KeyError("k")]
    with pytest.raises(KeyError):
        with_retries(work, lambda error: isinstance(error, OSError))


def test_damage_that_decoders_swallow_is_left_out_unless_it_is_not_looked_for(make_raster, bundle, tmp_path):
    path = make_raster(
        pixels=plain_pixels(700, 600),
        compress="deflate",
        zlevel=1,
        tiled=True,
        blockxsize=256,
        blockysize=256,
    )
    break_checksum(path, 2, 0)
    assert segment(path, bundle, tmp_path / "out") == 3
    left_out = [sheet for sheet in manifest(tmp_path / "out")["rasters"][0]["sheets"] if sheet["failure"]]
    assert [(sheet["row"], sheet["col"]) for sheet in left_out] == [(1, 0)]
    assert "the block at row 512, column 0 is corrupt" in left_out[0]["failure"]
    assert segment(path, bundle, tmp_path / "out", "--no-verify") == 0
