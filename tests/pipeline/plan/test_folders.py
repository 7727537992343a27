"""Folders that nothing can be written to are said before any work; those of runs are left alone while these go on."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import rasterio
from tiers import some
from vectorize_cases import patches, vectorize, write_labels

from terraseam.pipeline.plan.reasons import folder_reason
from terraseam.pipeline.storage import run_paths
from terraseam.pipeline.storage.disk_errors import DiskError, writes_to
from terraseam.pipeline.storage.owner import Owner, _began
from terraseam.pipeline.storage.run_paths import RunFolder, beating, remove_left_behind


def link(place, target):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


@pytest.mark.parametrize("below", ["", "a/b"])
def test_a_link_to_what_is_not_there_is_no_folder(tmp_path, below):
    lost = link(tmp_path / "out", "not/there")
    reason = folder_reason("--output", str(lost / below))
    assert reason == (
        f"--output {lost / below} cannot be a folder: {lost} is a link to not/there, which does not exist; "
        "create that folder, or remove the link"
    )


def test_a_link_to_a_link_that_is_lost_and_links_in_a_circle_are_no_folders(tmp_path):
    link(tmp_path / "one", tmp_path / "two")
    assert "is a link to" in str(folder_reason("--work", str(tmp_path / "one" / "deep")))
    link(tmp_path / "two", tmp_path / "one")
    assert "is a link to" in str(folder_reason("--work", str(tmp_path / "one" / "deep")))


def test_a_link_to_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    place = link(tmp_path / "out", "file")
    assert str(folder_reason("--output", str(place))).endswith(
        f"cannot be a folder: {place} is a link to a file"
    )
    assert str(folder_reason("--output", str(place / "x"))).endswith(
        f"cannot be a folder: {place} is a link to a file"
    )


def test_a_link_to_a_folder_is_a_folder(tmp_path):
    (tmp_path / "there").mkdir()
    assert folder_reason("--output", str(link(tmp_path / "out", "there") / "deep")) is None


@pytest.mark.parametrize("option", ["--output", "--work"])
def test_the_command_says_so(tmp_path, capsys, option):
    labels = write_labels(tmp_path / "map.tif", patches(60, 70))
    lost = str(link(tmp_path / "lost", "not/there"))
    folders = (lost,) if option == "--output" else (str(tmp_path / "out"), "--work", lost)
    assert vectorize(labels, *folders) == 2
    assert f"- {option} {lost} cannot be a folder: {lost} is a link to not/there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def ended_process():
    """A process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        began = _began(process.pid)
    return replace(Owner.here(), pid=process.pid, began=began)


def leave(work, output, name, age=0.0):
    """The folders of a run, as if nothing had been heard of it for so many seconds."""
    left = [work / "runs" / name, output / f".staging-{name}"]
    for folder in left:
        folder.mkdir(parents=True)
        (folder / "fragments").write_text("x")
        os.utime(folder, (time.time() - age,) * 2)
    return left


CONTAINER = replace(Owner.here(), machine="another boot id and pid:[4026532]")
HOST = replace(Owner.here(), host="elsewhere")


@pytest.mark.parametrize(
    ("owner", "age", "stays"),
    [
        (ended_process, 0, False),
        (Owner.here, 0, False),  # an earlier run of this process
        (lambda: replace(Owner.here(), pid=os.getppid(), began=_began(os.getppid())), 99 * 86400, True),
        (lambda: replace(CONTAINER, pid=2**22 - 1), 3600, True),
        (lambda: replace(CONTAINER, pid=2**22 - 1), 2 * 86400, False),
        (lambda: replace(HOST, pid=2**22 - 1), 3600, True),
        (lambda: replace(HOST, pid=2**22 - 1), 2 * 86400, False),
    ],
)
def test_what_runs_have_left_goes_where_they_are_known_to_be_no_more(tmp_path, owner, age, stays):
    left = leave(tmp_path / "work", tmp_path / "out", owner().name, age)
    remove_left_behind(str(tmp_path / "out"), str(tmp_path / "work"))
    assert [folder.exists() for folder in left] == [stays] * 2


def test_what_a_run_elsewhere_works_with_is_never_removed(tmp_path):
    folder = RunFolder.of(str(tmp_path / "out"), str(tmp_path / "work"), here=False)
    left = leave(tmp_path / "work", tmp_path / "out", folder.path.rpartition("/")[2], 99 * 86400)
    assert [str(one) for one in left] == [folder.path, folder.staging]
    remove_left_behind(str(tmp_path / "out"), str(tmp_path / "work"))
    assert all(one.exists() for one in left)


def test_folders_of_earlier_versions_go_by_their_age(tmp_path):
    young = leave(tmp_path / "work", tmp_path / "out", f"{2**22 - 1}@{socket.gethostname()}")
    old = leave(tmp_path / "work", tmp_path / "out", f"{2**22 - 2}@{socket.gethostname()}", 2 * 86400)
    remove_left_behind(str(tmp_path / "out"), str(tmp_path / "work"))
    assert all(one.exists() for one in young) and not any(one.exists() for one in old)


def test_a_run_that_goes_on_gives_a_sign_of_life(tmp_path, monkeypatch):
    folder = RunFolder.of(str(tmp_path / "out"), str(tmp_path / "work"))
    for path in leave(tmp_path / "work", tmp_path / "out", Owner.here().name, 2 * 86400):
        assert time.time() - path.stat().st_mtime > 86400
    monkeypatch.setattr(run_paths, "BEAT_S", 0.01)
    with beating(folder):
        while any(time.time() - Path(one).stat().st_mtime > 60 for one in (folder.path, folder.staging)):
            time.sleep(0.01)


def test_containers_have_folders_of_their_own_where_numbers_and_hosts_are_the_same():
    assert Owner.here().name != CONTAINER.name
    assert Owner.named(Owner.here().name) == Owner.here()
    assert Owner.named(CONTAINER.name) is None and Owner.named(HOST.name) is None


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=False)


@pytest.mark.parametrize("ending", some(["geojson", "gpkg", "fgb"], 1))
@pytest.mark.parametrize("option", ["--output", "--work"])
def test_a_disk_that_is_full_is_named_with_what_is_needed(small_disk, tmp_path, capsys, ending, option):
    labels = write_labels(
        tmp_path / "map.tif", patches(600, 700) if option == "--output" else patches(1500, 1700)
    )
    folders = (small_disk / "out", "--work", str(tmp_path / "work"))
    if option == "--work":
        folders = (tmp_path / "out", "--work", str(small_disk / "work"))
    assert vectorize(labels, *folders, "--format", ending) == 1
    said = capsys.readouterr().err
    assert (
        f"{small_disk}/" in said
        and " cannot be written: " in said
        and " are free there); free some space" in said
    )
    assert "so far and needs more space" in said and "Error" not in said and said.count("\n") == 1
    assert not list((folders[0] / "map").glob("*"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left"), "no space left on device ("),
        (OSError(errno.EDQUOT, "Quota"), "disk quota exceeded ("),
        (OSError(errno.EROFS, "Read-only"), "read-only file system"),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (sqlite3.OperationalError("database or disk is full"), "no space left on device ("),
        (rasterio.errors.RasterioIOError("TIFFAppendToStrip:Write error"), "TIFFAppendToStrip:Write error ("),
    ],
)
def test_what_a_disk_refuses_is_said_with_the_folder(tmp_path, error, words):
    with pytest.raises(DiskError) as caught, writes_to(tmp_path):
        raise error
    assert str(caught.value).startswith(f"{tmp_path} cannot be written: {words}")


@pytest.mark.parametrize(
    "error", [ValueError("no space left in this name"), FileNotFoundError(2, "none", "/elsewhere/a")]
)
def test_what_is_not_of_the_disk_stays_what_it_is(tmp_path, error):
    with pytest.raises(type(error)) as caught, writes_to(tmp_path):
        raise error
    assert caught.value is error
