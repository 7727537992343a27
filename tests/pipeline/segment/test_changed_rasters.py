"""A raster that changes while it is read is not published as a mixture, and one that was replaced is read again."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import nets
import numpy as np
import pytest
import servers
from mosaics import mosaic
from segment_cases import blocky, labels, manifest, segment
from tiers import some

from terraseam.pipeline.storage import files, retries
from terraseam.pipeline.storage.fingerprint import read_file_states
from terraseam.pipeline.storage.watched_files import MOST_PER_SHEET, WatchedFiles
from terraseam.tiles.raster.source import RasterSource

SHEETS = ("--sheet", "512", "--tile", "512")
THEN = 1_700_000_000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(retries, "WAITS_S", (0.0, 0.0))


@pytest.fixture
def scenes(make_raster):
    """A raster of four sheets, and another one of its size and time."""
    found = []
    for name, seed in (("scene.tif", 1), ("other/scene.tif", 2)):
        found.append(make_raster(pixels=blocky(1000, 700, seed), name=name))
        os.utime(found[-1], (THEN, THEN))
    return found


def other_labels(raster, bundle, folder):
    assert segment(raster, bundle, folder, *SHEETS) == 0
    return labels(folder, raster.stem)


@pytest.fixture
def while_read(monkeypatch):
    """Let something happen after so many sheets were read."""

    def happen(number, what):
        read, seen = RasterSource.read, []

        def reading(self, window):
            chip = read(self, window)
            seen.append(window)
            if len(seen) == number:
                what()
            return chip

        monkeypatch.setattr(RasterSource, "read", reading)

    return happen


def overwrite(path: Path, other: Path) -> None:
    """Write over a file in place, as ``rsync --inplace`` does."""
    path.write_bytes(other.read_bytes())


def replace(path: Path, other: Path) -> None:
    """Put another file of its time in the place of a file, as ``rsync -t`` does."""
    fresh = path.with_suffix(".new")
    shutil.copy2(other, fresh)
    fresh.replace(path)


def forgotten(path: Path, other: Path) -> None:
    """Write over a file, and turn its time back."""
    overwrite(path, other)
    os.utime(path, (THEN, THEN))


SAME = "replaced by one of the same size and time"
CHANGES = {
    "overwritten": overwrite,
    SAME: replace,
    "overwritten, and its time turned back": forgotten,
    "removed": lambda path, _: path.unlink(),
    "cut off": lambda path, _: os.truncate(path, 5000),
    "masked": lambda path, _: shutil.copy(path, f"{path}.msk"),
}


@pytest.mark.parametrize(
    ("name", "after"),
    some(
        [
            *((name, 1) for name in CHANGES),
            ("removed", 3),
            (SAME, 3),
        ],
        2,
    ),
)
def test_no_mixture_is_published_or_kept(scenes, bundle, tmp_path, while_read, name, after):
    scene, other = scenes
    first = tmp_path / "first.tif"
    shutil.copy2(scene, first)
    while_read(after, lambda: CHANGES[name](scene, other))
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 3
    (raster,) = manifest(tmp_path / "out")["rasters"]
    assert not raster["published"] and not (tmp_path / "out" / "scene").exists()
    assert {sheet["failure"] for sheet in raster["sheets"]} == {
        f"{scene} or a file that is read with it was changed or replaced while it was read; nothing of it is published: "
        "run the same command again when it is no longer written to"
    }
    Path(f"{scene}.msk").unlink(missing_ok=True)
    shutil.copy2(first, scene)  # with its old time
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 0
    assert np.array_equal(labels(tmp_path / "out"), other_labels(first, bundle, tmp_path / "fresh"))


def plain(number):
    pixels = np.zeros((91, 70, 3), np.uint8)
    pixels[..., number % 3] = 200
    return pixels


@pytest.fixture
def patchwork(make_raster, tmp_path):
    """A virtual raster of more files than are looked at after each sheet, and another file for one of them."""
    parts = []
    assert MOST_PER_SHEET < 11 * 10
    for row in range(11):
        for col in range(10):
            part = make_raster(pixels=plain(row + col), name=f"parts/{row}-{col}.tif")
            parts.append((part, (91 * row, 70 * col, 91, 70)))
    other = make_raster(pixels=plain(2), name="other.tif")
    for path in (*(part for part, _ in parts), other):
        os.utime(path, (THEN, THEN))
    return mosaic(tmp_path / "parts" / "scene.vrt", parts, (1001, 700)), parts[0][0], other


@pytest.mark.parametrize("name", some([SAME, "overwritten", "removed"], 1))
def test_a_raster_of_very_many_files_is_looked_at_once_all_is_read(
    patchwork, bundle, tmp_path, while_read, name
):
    scene, part, other = patchwork
    kept = shutil.copy2(part, tmp_path / "kept.tif")
    while_read(2, lambda: CHANGES[name](part, other))
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 3
    assert not manifest(tmp_path / "out")["rasters"][0]["published"]
    assert "was changed or replaced" in manifest(tmp_path / "out")["rasters"][0]["sheets"][0]["failure"]
    shutil.copy2(kept, part)
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 0
    assert np.array_equal(labels(tmp_path / "out"), other_labels(scene, bundle, tmp_path / "fresh"))


def test_a_raster_of_very_many_files_that_stays_as_it_is_is_published(
    patchwork, bundle, tmp_path, while_read
):
    while_read(2, lambda: patchwork[1].chmod(0o640))
    assert segment(patchwork[0], bundle, tmp_path / "out", *SHEETS) == 0
    assert manifest(tmp_path / "out")["rasters"][0]["published"]


def test_a_raster_that_changes_on_a_web_server_is_not_published(scenes, bundle, tmp_path, while_read):
    scene, other = scenes
    with servers.server(str(scene.parent)) as door:
        address = f"{door.url}/scene.tif"
        while_read(2, lambda: overwrite(scene, other))
        assert segment(address, bundle, tmp_path / "out", *SHEETS) == 3
        (raster,) = manifest(tmp_path / "out")["rasters"]
        assert not raster["published"]
        assert f"{address} or a file that is read with it was changed" in raster["sheets"][0]["failure"]
        assert segment(address, bundle, tmp_path / "out", *SHEETS) == 0
    assert np.array_equal(labels(tmp_path / "out"), other_labels(scene, bundle, tmp_path / "fresh"))


@pytest.mark.parametrize("kind", some(["gs", "s3"], quick=1))
def test_a_raster_that_changes_in_a_bucket_is_not_published(
    scenes, bundle, tmp_path, while_read, monkeypatch, kind
):
    with servers.bucket(kind, monkeypatch) as bucket:
        address = f"{bucket.root}/scene.tif"
        files.write_bytes(address, scenes[0].read_bytes())
        while_read(2, lambda: files.write_bytes(address, scenes[1].read_bytes()))
        assert segment(address, bundle, tmp_path / "out", *SHEETS) == 3
        assert not manifest(tmp_path / "out")["rasters"][0]["published"]


def test_a_run_may_end_with_a_raster_that_changes(scenes, bundle, tmp_path, while_read, capsys):
    while_read(1, lambda: overwrite(*scenes))
    assert segment(scenes[0], bundle, tmp_path / "out", *SHEETS, "--on-error", "fail") == 1
    assert "was changed or replaced while it was read" in capsys.readouterr().err


def test_what_an_earlier_run_has_published_stays(scenes, bundle, tmp_path, while_read):
    scene, other = scenes
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 0
    before = labels(tmp_path / "out")
    os.utime(scene)
    while_read(2, lambda: overwrite(scene, other))
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 3
    assert np.array_equal(labels(tmp_path / "out"), before)


def test_a_raster_whose_status_changed_alone_is_published(scenes, bundle, tmp_path, while_read):
    while_read(2, lambda: scenes[0].chmod(0o640))
    assert segment(scenes[0], bundle, tmp_path / "out", *SHEETS) == 0
    assert manifest(tmp_path / "out")["rasters"][0]["published"]


def counts(output):
    found = manifest(output)["counts"]
    return found["rasters_kept"], found["sheets_inferred"], found["sheets_reused"]


def test_equal_pixels_are_read_again_and_nothing_else_is_done(scenes, bundle, tmp_path):
    scene, out = scenes[0], tmp_path / "out"
    assert segment(scene, bundle, out, *SHEETS) == 0
    written = {path: path.stat().st_mtime_ns for path in (out / "scene").iterdir()}
    replace(scene, shutil.copy2(scene, tmp_path / "copy.tif"))
    assert segment(scene, bundle, out, *SHEETS) == 0
    assert counts(out) == (0, 0, 4)
    assert {path: path.stat().st_mtime_ns for path in (out / "scene").iterdir()} == written
    assert segment(scene, bundle, out, *SHEETS) == 0
    assert counts(out) == (1, 0, 4)

    (record,) = (out / ".done").glob("*.json")
    old = json.loads(record.read_text())
    del old["marks"]
    record.write_text(json.dumps(old))
    for kept in (0, 1):
        assert segment(scene, bundle, out, *SHEETS) == 0
        assert counts(out) == (kept, 0, 4)


def test_another_raster_of_the_same_size_and_time_is_segmented(scenes, bundle, tmp_path):
    scene, other = scenes
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 0
    replace(scene, other)
    assert segment(scene, bundle, tmp_path / "out", *SHEETS) == 0
    assert np.array_equal(labels(tmp_path / "out"), other_labels(other, bundle, tmp_path / "fresh"))


def test_files_are_told_apart_by_all_that_costs_nothing(tmp_path):
    scene, source = tmp_path / "scene.vrt", tmp_path / "source.tif"
    paths = (str(scene), str(source))
    for path in paths:
        Path(path).write_bytes(b"pixels")
        os.utime(path, (THEN, THEN))
    watched = WatchedFiles.now(paths[0], paths)
    assert read_file_states(paths[0], paths) == watched.file_states
    state = watched.state

    assert not state().changed and not state().moved
    source.chmod(0o600)
    assert state().moved and not state().changed
    replace(source, shutil.copy2(source, tmp_path / "copy.tif"))
    assert state().moved and not state().changed
    os.utime(source)
    assert state().changed
    os.utime(source, (THEN, THEN))
    for end in (".msk", ".aux.xml", ".ovr"):
        beside = Path(f"{source}{end}")
        beside.write_bytes(b"")
        assert state().changed
        beside.unlink()
        assert not state().changed
    source.unlink()
    assert state().changed
    assert read_file_states("gs://bucket/a.tif", ("gs://bucket/a.tif",)) is None
