"""What cannot be done with servers is said in a sentence each, before any work, with exit status 2."""

from __future__ import annotations

import socket

import nets
import pytest
import servers

from terraseam.pipeline.cli import main
from terraseam.pipeline.storage import remote_files
from terraseam.pipeline.storage import servers as remote


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(remote_files, "WAITS_S", (0.01,))
    monkeypatch.setenv("TERRASEAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.brightest_band())


def refused(capsys, raster, bundle, output, *more):
    assert main(["plan", str(raster), "--model", str(bundle), "--output", str(output), *more]) == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def test_rasters_that_are_not_there(bucket, bundle, tmp_path, capsys):
    root = bucket.root
    wants = {
        f"{root}/none.tif": f"{root}/none.tif does not exist",
        f"{root}/none/*.tif": f"no file matches {root}/none/*.tif",
        f"{root}elsewhere/a.tif": f"the bucket {root}elsewhere does not exist",
    }
    said = [refused(capsys, raster, bundle, tmp_path / "out") for raster in wants]
    for sentence, found in zip(wants.values(), said, strict=True):
        assert sentence in found, found
    bucket.put_folder(tmp_path_with_text(tmp_path), "texts")
    assert "is a folder without rasters (.img, " in refused(capsys, f"{root}/texts", bundle, tmp_path / "out")


def tmp_path_with_text(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "read.me").write_text("no raster")
    return folder


def test_outputs_that_cannot_be_written(bucket, bundle, make_raster, capsys):
    elsewhere = f"{bucket.root}elsewhere"
    said = refused(capsys, make_raster(), bundle, f"{elsewhere}/out")
    assert (
        f"--output {elsewhere}/out cannot be written: the bucket {elsewhere} does not exist; create it"
        in said
    )
    bucket.door.rule(pattern="(PUT|POST) ", actions=[403])
    said = refused(capsys, make_raster(), bundle, f"{bucket.root}/out", "--work", f"{bucket.root}/work")
    bucket.door.rule()
    assert said.count("cannot be written: no permission (403); ask the owner of") == 2
    assert bucket.objects("out") == bucket.objects("work") == {}
    for folder in ("https://127.0.0.1/out", "/vsis3/scenes/out", "odd://out"):
        found = refused(capsys, make_raster(), bundle, folder)
        assert f"--output {folder} " in found and "name a folder of this machine, or one of gs://" in found


def test_bundles_that_are_not_there_or_not_whole(bucket, bundle, make_raster, tmp_path, capsys):
    said = refused(capsys, make_raster(), f"{bucket.root}/none", tmp_path / "out")
    assert f"no bundle at {bucket.root}/none: {bucket.root}/none/card.json does not exist" in said
    where = bucket.put_folder(bundle, "tiny")
    remote_files.delete([f"{where}/model.keras"])
    assert f"{where}/model.keras does not exist" in refused(capsys, make_raster(), where, tmp_path / "out")
    bucket.put_folder(bundle, "tiny")
    from terraseam.pipeline.storage import files

    files.write_bytes(f"{where}/model.keras", b"another network")
    said = refused(capsys, make_raster(), where, tmp_path / "out")
    assert f"model.keras of bundle {where} does not match its card" in said
    assert not list((tmp_path / "cache" / "bundles").iterdir())


def test_credentials_that_are_missing(bundle, make_raster, tmp_path, monkeypatch, capsys):
    with servers.bucket("s3", monkeypatch) as bucket:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        words = "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        assert words in refused(capsys, "s3://scenes/a.tif", bundle, tmp_path / "out")
        assert words in refused(capsys, make_raster(), bundle, "s3://scenes/out")
        assert bucket.door.seen() == []
    with servers.bucket("gs", monkeypatch) as bucket:
        bucket.door.rule(pattern=".", actions=[401])
        words = "no credentials were found; run `gcloud auth application-default login`"
        assert words in refused(capsys, "gs://scenes/a.tif", bundle, tmp_path / "out")
        assert words in refused(capsys, make_raster(), bundle, "gs://scenes/out")


def test_web_servers_that_are_gone_or_do_not_serve_parts(bundle, make_raster, tmp_path, monkeypatch, capsys):
    servers.forget_servers(monkeypatch)
    monkeypatch.setattr("terraseam.pipeline.storage.web.WAITS_S", (0.01,))
    scene = make_raster(name="whole.tif")
    out = tmp_path / "out"
    with servers.server(str(tmp_path)) as door:
        url = door.url
        assert f"{url}/none.tif does not exist (404)" in refused(capsys, f"{url}/none.tif", bundle, out)
        said = refused(capsys, f"{url}/{scene.name}", bundle, out)
        assert "cannot be read in parts: the server does not support range requests" in said
        assert "is a pattern, but web servers do not list their" in refused(
            capsys, f"{url}/*.tif", bundle, out
        )
        door.rule(pattern="whole", actions=[403])
        assert "whole.tif may not be read (403" in refused(capsys, f"{url}/whole.tif", bundle, out)
        assert f"{url}/none/card.json does not exist (404)" in refused(capsys, scene, f"{url}/none", out)
    said = refused(capsys, f"{url}/whole.tif", f"{url}/bundle", out)
    assert said.count(f"the server {url.removeprefix('http://')} does not respond (Connection refused)") == 2


def test_servers_of_buckets_that_are_gone(bundle, tmp_path, monkeypatch, capsys):
    servers.forget_servers(monkeypatch)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free.getsockname()[1]}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        said = refused(capsys, "s3://scenes/a.tif", bundle, tmp_path / "out")
    assert "s3://scenes/a.tif cannot be accessed (Could not connect to the endpoint URL" in said
    assert "after 2 attempts" in said


def test_extras_that_are_not_installed(monkeypatch, capsys):
    monkeypatch.setattr(remote, "EXTRAS", {"gs": ("gcp", "google.none.storage"), "s3": ("aws", "none_boto3")})
    said = refused(capsys, "s3://scenes/a.tif", "s3://scenes/tiny", "gs://scenes/out")
    assert said.count("needs the package none_boto3; install it with pip install 'terraseam[aws]'") == 2
    assert "--output gs://scenes/out needs the package google.none.storage" in said
