"""Whole runs with rasters, bundles, store and results on servers; all of them real ones on 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import nets
import numpy as np
import pytest
import rasterio
import servers
from places import ROOT
from train_town import make_town, words

from terraseam.pipeline.cli import main
from terraseam.pipeline.options.segment_arguments import parse
from terraseam.pipeline.plan.make import make_plan
from terraseam.pipeline.publish.unchanged import foresee

RESULTS = ("labels.tif", "polygons.geojson", "polygons.gpkg")
pytestmark = pytest.mark.slow
TILING = ("--tile", "512", "--sheet", "512", "--format", "geojson,gpkg")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Bundles that are fetched stay with the test."""
    monkeypatch.setenv("TERRASEAM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["gs", "s3"])
def bucket(request, monkeypatch):
    with servers.bucket(request.param, monkeypatch) as made:
        yield made


@pytest.fixture
def bundle(tmp_path):
    return nets.make_bundle(tmp_path / "bundle", nets.small_unet())


@pytest.fixture
def scene(make_raster):
    """A raster of two by two sheets, with a mask beside it."""
    coarse = np.random.default_rng(3).integers(1, 255, (70, 60, 3)).astype(np.uint8)
    path = make_raster(
        pixels=np.kron(coarse, np.ones((9, 11, 1), np.uint8)), tiled=True, name="scenes/scene.tif"
    )
    mask = np.full((630, 660), 255, np.uint8)
    mask[100:220, 300:420] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as dataset:
        dataset.write_mask(mask)
    assert path.with_name("scene.tif.msk").exists()
    return path


def segment(rasters, bundle, output, *more):
    return main(["segment", str(rasters), "--model", str(bundle), "--output", str(output), *TILING, *more])


def local_results(scene, bundle, folder):
    assert segment(scene, bundle, folder) == 0
    return {name: (folder / "scene" / name).read_bytes() for name in RESULTS}


def results(bucket, output="out"):
    found = bucket.objects(f"{output}/scene")
    return {name: found[name] for name in RESULTS}


def manifest(bucket, output="out"):
    return json.loads(bucket.objects(output)["manifest.json"])


def test_a_run_from_bucket_to_bucket_writes_the_bytes_of_a_local_one_and_is_not_done_twice(
    bucket, bundle, scene, tmp_path
):
    want = local_results(scene, bundle, tmp_path / "local")
    there = bucket.put_folder(bundle, "bundles/tiny")
    bucket.put_folder(scene.parent, "scenes")
    arguments = (f"{bucket.root}/scenes/*.tif", there, f"{bucket.root}/out")
    assert segment(*arguments) == 0
    assert results(bucket) == want
    record = manifest(bucket)
    assert record["counts"]["sheets_inferred"] == 4
    assert record["rasters"][0]["path"] == f"{bucket.root}/scenes/scene.tif"
    assert record["model"]["members"][0]["bundle"] == there
    left = [
        name for name in bucket.objects("out") if "/runs/" in name or name.startswith((".staging", ".writ"))
    ]
    assert not left

    bucket.door.seen()
    assert segment(*arguments) == 0
    assert (
        manifest(bucket)["counts"] | {"rasters_kept": 1, "sheets_inferred": 0} == manifest(bucket)["counts"]
    )
    assert not windows(bucket.door)
    # Another option for polygons: sheets are known, and still no pixel is read.
    assert foreseen(*arguments, "--min-area", "50") == (4, 0, 0)
    assert not windows(bucket.door)
    assert segment(*arguments, "--min-area", "50") == 0
    counts = manifest(bucket)["counts"]
    assert (counts["rasters_kept"], counts["sheets_reused"], counts["sheets_inferred"]) == (0, 4, 0)
    assert not windows(bucket.door)


def foreseen(rasters, bundle, output, *more):
    """Sheets that a run would find known, changed and new."""
    plan = make_plan(
        parse(["plan", rasters, "--model", str(bundle), "--output", output, *TILING, *more], "")[1]
    )
    ahead = foresee(plan)
    return ahead.known, ahead.changed, ahead.new


def windows(door):
    """Requests for pixels: ranges of a raster behind its first 16 kB, which tell what it is."""
    return [
        path
        for method, path, asked in door.seen()
        if method == "GET" and path.endswith("scene.tif") and asked and not asked.startswith("bytes=0-")
    ]


def test_a_raster_that_was_changed_in_its_bucket_is_read_anew(bucket, bundle, scene, tmp_path):
    bucket.put_folder(scene.parent, "scenes")
    arguments = (f"{bucket.root}/scenes", bundle, f"{bucket.root}/out")
    assert segment(*arguments) == 0
    assert windows(bucket.door)
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(255 - dataset.read())
    want = local_results(scene, bundle, tmp_path / "local")
    bucket.put_folder(scene.parent, "scenes")
    assert segment(*arguments) == 0
    assert results(bucket) == want


def test_rasters_and_bundles_of_web_servers_are_read_in_parts_and_their_masks_found(
    bundle, scene, tmp_path, monkeypatch, cache
):
    servers.forget_servers(monkeypatch)
    want = local_results(scene, bundle, tmp_path / "local")
    with servers.server(str(tmp_path)) as door:
        arguments = (f"{door.url}/scenes/scene.tif", f"{door.url}/bundle")
        assert segment(*arguments, tmp_path / "out") == 0
        got = {name: (tmp_path / "out" / "scene" / name).read_bytes() for name in RESULTS}
        assert got == want
        seen = door.seen()
        assert servers.count(seen, "GET .*model.keras") == 1
        assert any("scene.tif.msk" in path for _, path, _ in seen)
        assert segment(*arguments, tmp_path / "out") == 0
        assert json.loads((tmp_path / "out/manifest.json").read_text())["counts"]["rasters_kept"] == 1
        assert servers.count(door.seen(), "GET .*model.keras") == 0
    assert len(list(cache.glob("bundles/*/card.json"))) == 1


UNLUCKY = {"actions": [503, "cut", 500]}
"""What becomes of requests, in one way after another."""


def test_requests_that_fail_in_between_change_no_byte(bucket, bundle, scene, tmp_path):
    want = local_results(scene, bundle, tmp_path / "local")
    bucket.put_folder(scene.parent, "scenes")
    bucket.door.rule(**UNLUCKY, every=9)
    assert segment(f"{bucket.root}/scenes/scene.tif", bundle, f"{bucket.root}/out") == 0
    assert len(bucket.door.seen()) > 40
    bucket.door.rule()
    assert results(bucket) == want
    assert manifest(bucket)["counts"]["sheets_quarantined"] == 0


def test_a_web_server_that_fails_in_between_changes_no_byte(bundle, scene, tmp_path, monkeypatch):
    servers.forget_servers(monkeypatch)
    want = local_results(scene, bundle, tmp_path / "local")
    with servers.server(str(tmp_path)) as door:
        door.rule(**UNLUCKY, every=5)
        assert segment(f"{door.url}/scenes/scene.tif", f"{door.url}/bundle", tmp_path / "out") == 0
    got = {name: (tmp_path / "out" / "scene" / name).read_bytes() for name in RESULTS}
    assert got == want


def test_a_run_that_is_killed_while_it_publishes_leaves_no_manifest_that_lies(
    bucket, bundle, scene, tmp_path
):
    """The kill comes where some files of the raster are new and others are still those of the run before."""
    bucket.put_folder(scene.parent, "scenes")
    arguments = (f"{bucket.root}/scenes/scene.tif", bundle, f"{bucket.root}/out")
    assert segment(*arguments) == 0
    before = results(bucket)
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(255 - dataset.read())
    want = local_results(scene, bundle, tmp_path / "local")
    bucket.put_folder(scene.parent, "scenes")
    assert not set(before.values()) & set(want.values())

    command = [sys.executable, "-m", "terraseam", "segment", arguments[0], "--model", str(bundle)]
    running = subprocess.Popen(
        [*command, "--output", arguments[2], *TILING], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    # The second file appears: it is copied from where it was brought.
    appears = (
        "POST .*polygons.geojson/(copyTo|rewriteTo)/"
        if bucket.root.startswith("gs")
        else "PUT /scenes/out/scene/polygons.geojson"
    )
    bucket.door.rule(pattern=appears, actions=[503], kill=running.pid)
    assert running.wait(120) == -signal.SIGKILL
    bucket.door.rule()
    objects = bucket.objects("out")
    assert objects["scene/labels.tif"] == want["labels.tif"]
    assert objects["scene/polygons.geojson"] == before["polygons.geojson"]
    assert "manifest.json" not in objects and ".done/scene.json" not in objects

    assert segment(*arguments) == 0
    assert results(bucket) == want
    assert manifest(bucket)["counts"]["sheets_inferred"] == 0
    assert not [name for name in bucket.objects("out") if name.startswith(".staging")]


def test_worker_processes_know_the_servers_that_options_name(bundle, scene, tmp_path, monkeypatch):
    with servers.bucket("s3", monkeypatch) as bucket:
        bucket.put_folder(scene.parent, "scenes")
        endpoint = os.environ["AWS_ENDPOINT_URL_S3"]
        want = local_results(scene, bundle, tmp_path / "local")
        servers.forget_servers(monkeypatch)
        keys = [
            "--s3_access_key_id",
            "testing",
            "--s3_secret_access_key=testing",
            "--s3_region_name",
            "us-east-1",
        ]
        beam = [f"--s3_endpoint_url={endpoint}", *keys, "--direct_num_workers", "2"]
        assert segment("s3://scenes/scenes/scene.tif", bundle, "s3://scenes/out", *beam) == 0
        assert results(bucket) == want


def test_areas_and_what_is_true_are_read_from_buckets(
    bucket, bundle, make_raster, tmp_path, capsys, monkeypatch
):
    site = tmp_path / "site"
    site.mkdir()
    make_town(site, lambda **town: make_raster(**town).rename(site / "town.tif"))
    there = bucket.put_folder(site, "site")

    assert segment(site / "town.tif", bundle, tmp_path / "want", "--aoi", str(site / "west.geojson")) == 0
    assert segment(site / "town.tif", bundle, tmp_path / "got", "--aoi", f"{there}/west.geojson") == 0
    want, got = ((tmp_path / out / "town" / "labels.tif").read_bytes() for out in ("want", "got"))
    assert got == want

    def told(verb, *words):
        for name in ("CPL_GS_ENDPOINT", "AWS_S3_ENDPOINT"):  # as they are before anything was asked for
            monkeypatch.delenv(name, raising=False)
        capsys.readouterr()
        assert main([verb, *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    def dry(place):
        moved = [word.replace(str(site), place) for word in words(site) if word != str(site / "bundle")]
        moved.insert(moved.index("--output") + 1, str(tmp_path / "trained"))
        return told("train", *moved, "--aoi", f"{place}/west.geojson", "--dry-run")

    assert dry(there) == dry(str(site))

    shutil.copy(tmp_path / "want" / "town" / "labels.tif", site)
    bucket.put_folder(site, "site")

    def measured(place):
        more = ["--truth", f"{place}/labels.tif", "--aoi", f"{place}/west.geojson", "--json"]
        return json.loads(told("evaluate", "--predicted", f"{site}/labels.tif", *more))

    assert measured(there)["pixels"] == measured(str(site))["pixels"]
    assert measured(there)["pixels"]["pixels"] == 192 * 100
