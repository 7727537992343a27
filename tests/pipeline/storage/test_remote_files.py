"""Files in buckets: whole or not at all, tried again, and told in a sentence where they cannot be had."""

from __future__ import annotations

import io

import pytest

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments
from terraseam.pipeline.storage import files, remote_files
from terraseam.pipeline.storage.errors import RemoteFileError
from terraseam.pipeline.storage.fingerprint import fingerprint
from terraseam.pipeline.storage.servers import prepare, share_settings


@pytest.fixture(autouse=True)
def quick(monkeypatch, request):
    monkeypatch.setattr(remote_files, "WAITS_S", (0.01, 0.02))
    yield
    if "bucket" in request.fixturenames:
        request.getfixturevalue("bucket").door.rule()


def test_files_are_written_listed_copied_and_removed(bucket):
    root = f"{bucket.root}/folder"
    for name, data in {"a.bin": b"", "b.bin": b"two", "deep/c.bin": bytes(9_000_000)}.items():
        files.write_bytes(files.join(root, name), data)
    assert files.sizes(root) == {"a.bin": 0, "b.bin": 3}
    assert [one.size for one in files.listing(root)] == [0, 3, 9_000_000]
    assert files.folders(bucket.root, "fol") == [root]
    assert files.read_bytes(f"{root}/deep/c.bin") == bytes(9_000_000)
    assert files.read_bytes(f"{root}/a.bin") == b""
    files.appear(f"{root}/b.bin", f"{root}/a.bin")
    assert files.sizes(root) == {"a.bin": 3} and files.read_bytes(f"{root}/a.bin") == b"two"
    assert not files.exists(f"{root}/b.bin")
    files.remove(f"{root}/b.bin")
    with pytest.raises(FileNotFoundError, match=r"folder/b.bin does not exist"):
        files.read_bytes(f"{root}/b.bin")
    files.remove_tree(root)
    assert files.listing(root) == []


def test_a_file_that_fails_on_its_way_is_not_there(bucket):
    path = f"{bucket.root}/whole.bin"
    files.write_bytes(path, b"before")
    with pytest.raises(ZeroDivisionError), files.writing(path) as file:
        file.write(b"half")
        _ = 1 / 0
    assert files.read_bytes(path) == b"before"
    bucket.door.rule(pattern="(PUT|POST) ", actions=[403])
    with pytest.raises(
        RemoteFileError, match=r"whole.bin cannot be written: no permission \(403\); ask the owner"
    ):
        files.write_bytes(path, bytes(9_000_000))
    bucket.door.rule()
    assert files.read_bytes(path) == b"before"


def test_reading_is_tried_again_where_the_answer_breaks_off(bucket):
    path, data = f"{bucket.root}/long.bin", bytes(range(256)) * 4000
    files.write_bytes(path, data)
    bucket.door.rule(pattern="GET .*long.bin", every=2, actions=["cut"])
    assert files.read_bytes(path) == data
    assert files.read_bytes(path) == data


def test_what_files_are_known_by_changes_with_their_content(bucket):
    path = f"{bucket.root}/raster.tif"
    files.write_bytes(path, b"one")
    first = fingerprint(path, [path])
    assert first is not None and fingerprint(path, [path]) == first
    files.write_bytes(path, b"two")
    assert fingerprint(path, [path]) not in (first, None)
    assert fingerprint(path, [f"{path}.gone"]) is None


def test_other_filesystems_of_beams_are_taken_as_they_are(tmp_path):
    """Beam's own filesystem of this machine stands for them: it has folders."""
    from terraseam.pipeline.storage.object_stores import BeamStore

    store, path = BeamStore(None), str(tmp_path / "file.bin")
    store.upload(io.BytesIO(b"one"), 3, path)
    store.upload(io.BytesIO(b"three"), 5, path)
    target = io.BytesIO()
    store.read(path, target)
    assert target.getvalue() == b"three" and store.version(path)[1] == 5
    store.copy(path, f"{path}.copy")
    assert sorted(one.path for one in store.below(path)) == [path, f"{path}.copy"]
    store.delete([path, f"{path}.copy", f"{path}.gone"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("beam", "given"),
    [
        (["--s3_endpoint_url=http://127.0.0.1:5000"], {}),
        (["--s3_endpoint_url", "http://127.0.0.1:5000"], {"AWS_ENDPOINT_URL_S3": "https://other"}),
        ([], {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:5000"}),
        ([], {"AWS_ENDPOINT_URL": "http://127.0.0.1:5000"}),
        ([], {"AWS_S3_ENDPOINT": "127.0.0.1:5000", "AWS_HTTPS": "NO"}),
    ],
)
def test_one_word_for_a_server_of_amazons_kind_is_enough(beam, given):
    env = dict(given)
    share_settings(BeamArguments(tuple(beam)), env)
    assert env["AWS_ENDPOINT_URL_S3"] == "http://127.0.0.1:5000"
    assert (env["AWS_S3_ENDPOINT"], env["AWS_HTTPS"]) == ("127.0.0.1:5000", "NO")
    assert env["AWS_VIRTUAL_HOSTING"] == "FALSE"


@pytest.mark.parametrize("name", ["STORAGE_EMULATOR_HOST", "CPL_GS_ENDPOINT"])
def test_one_word_for_an_emulator_of_googles_store_is_enough(name):
    env = {name: "http://127.0.0.1:9000/" if name.startswith("CPL") else "http://127.0.0.1:9000"}
    share_settings(NO_BEAM_ARGUMENTS, env)
    assert env == {
        "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9000",
        "CPL_GS_ENDPOINT": "http://127.0.0.1:9000/",
        "GS_NO_SIGN_REQUEST": "YES",
    }


def test_nothing_is_set_where_nothing_is_said():
    env: dict[str, str] = {}
    share_settings(BeamArguments(("--runner", "DirectRunner")), env)
    prepare(["/a/path", "name"], BeamArguments(("--s3_region_name=x",)))
    assert env == {}
