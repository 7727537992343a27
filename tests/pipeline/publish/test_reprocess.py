"""Running a job again: only what changed is read, inferred and published, and the results are those of a cold run."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess

import nets
import numpy as np
import pytest
import rasterio
import rasterio.shutil

from terraseam.pipeline.cli import main
from terraseam.pipeline.plan import make
from terraseam.pipeline.storage import fingerprint as fingerprints
from terraseam.pipeline.storage.fingerprint import fingerprint
from terraseam.pipeline.storage.lock import Lock, lock_in
from terraseam.pipeline.vectorize import close
from terraseam.pipeline.vectorize import stage as vectorize
from terraseam.tiles.raster.inspect import inspect_raster
from terraseam.tiles.raster.source import RasterSource

PIXELS = np.kron(np.random.default_rng(0).integers(1, 255, (24, 36, 3)), np.ones((50, 50, 1))).astype("uint8")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "brightest", nets.brightest_band())


@pytest.fixture
def scene(make_raster):
    return make_raster(pixels=PIXELS, tiled=True, compress="deflate")


@pytest.fixture
def reads(monkeypatch):
    """Names of the rasters that are read, a window each."""
    found = []

    def read(source, window, original=RasterSource.read):
        found.append(source.path.rpartition("/")[2])
        return original(source, window)

    monkeypatch.setattr(RasterSource, "read", read)
    return found


def arguments(rasters, bundle, output, *options):
    rasters = rasters if isinstance(rasters, list) else [rasters]
    named = ["--model", str(bundle), "--output", str(output), "--tile", "512", "--sheet", "512", *options]
    return [*map(str, rasters), *named]


def segment(rasters, bundle, output, *options):
    return main(["segment", *arguments(rasters, bundle, output, *options)])


def counts(output):
    found = json.loads((output / "manifest.json").read_text())["counts"]
    return tuple(found[name] for name in ("rasters_kept", "sheets", "sheets_inferred", "sheets_reused"))


def results(output):
    return {
        str(path.relative_to(output)): path.read_bytes()
        for path in sorted(output.glob("*/*"))
        if path.parent.name not in (".done", ".work", "history") and path.is_file()
    }


def age(path, seconds=100):
    """Let a file look as if it had been changed so long ago."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns - int(seconds * 1e9)))


def ahead(capsys, scene, bundle, output, *options):
    capsys.readouterr()
    arguments = ["--model", str(bundle), "--output", str(output), "--tile", "512", "--sheet", "512", "--json"]
    assert main(["plan", str(scene), *arguments, *options]) == 0
    return tuple(json.loads(capsys.readouterr().out)["sheets_ahead"].values())


def test_an_unchanged_raster_is_not_read_and_its_results_stay(scene, bundle, tmp_path, reads, capsys):
    out = tmp_path / "out"
    assert ahead(capsys, scene, bundle, out) == (0, 0, 12)
    assert segment(scene, bundle, out) == 0
    assert len(reads) == 12
    before = results(out)
    stamps = {path: path.stat().st_mtime_ns for path in out.glob("scene/*")}
    reads.clear()
    assert ahead(capsys, scene, bundle, out) == (12, 0, 0)
    assert segment(scene, bundle, out) == 0
    assert "1 raster unchanged" in capsys.readouterr().out
    assert reads == [] and counts(out) == (1, 12, 0, 12)
    assert results(out) == before
    assert {path: path.stat().st_mtime_ns for path in out.glob("scene/*")} == stamps


def test_nothing_is_started_where_nothing_changed(scene, bundle, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    monkeypatch.setattr("terraseam.pipeline.run.job.run_plan", None)
    assert segment(scene, bundle, out) == 0
    assert counts(out) == (1, 12, 0, 12)


def test_an_option_of_polygons_reads_nothing_and_one_of_scores_everything(
    scene, bundle, tmp_path, reads, capsys
):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    reads.clear()
    assert ahead(capsys, scene, bundle, out, "--min-area", "2000") == (12, 0, 0)
    assert segment(scene, bundle, out, "--min-area", "2000") == 0
    assert reads == [] and counts(out) == (0, 12, 0, 12)
    cold = tmp_path / "cold"
    assert segment(scene, bundle, cold, "--min-area", "2000") == 0
    assert results(out) == results(cold)
    reads.clear()
    assert ahead(capsys, scene, bundle, out, "--halo", "8") == (0, 12, 0)
    assert segment(scene, bundle, out, "--halo", "8") == 0
    assert len(reads) == 12 and counts(out) == (0, 12, 12, 0)


def test_another_compression_reads_nothing_and_changes_labels_alone(scene, bundle, tmp_path, reads, capsys):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    before = results(out)
    reads.clear()
    assert ahead(capsys, scene, bundle, out, "--compress", "lzw") == (12, 0, 0)
    assert segment(scene, bundle, out, "--compress", "lzw") == 0
    assert reads == [] and counts(out) == (0, 12, 0, 12)
    after = results(out)
    assert {name for name in after if after[name] != before[name]} == {"scene/labels.tif"}
    with rasterio.open(out / "scene" / "labels.tif") as dataset:
        assert dataset.compression.value.lower() == "lzw"


def test_of_a_changed_raster_only_what_changed_is_inferred(scene, bundle, tmp_path, reads, capsys):
    out, cold = tmp_path / "out", tmp_path / "cold"
    assert segment(scene, bundle, out) == 0
    age(scene)
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(np.full((3, 20, 30), 9, np.uint8), window=((600, 620), (700, 730)))
    assert ahead(capsys, scene, bundle, out) == (0, 12, 0)
    reads.clear()
    assert segment(scene, bundle, out) == 0
    assert len(reads) == 12 and counts(out) == (0, 12, 1, 11)
    assert segment(scene, bundle, cold) == 0
    assert results(out) == results(cold)


def test_a_run_with_other_sheets_knows_that_nothing_changes(scene, bundle, tmp_path, reads):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    reads.clear()
    assert segment(scene, bundle, out, "--sheet", "1024") == 0
    assert reads == [] and counts(out)[0] == 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda out: (out / "scene" / "polygons.geojson").write_text("{}"),
        lambda out: (out / "scene" / "labels.tif").unlink(),
        lambda out: (out / ".done" / "scene.json").write_text("{"),
        lambda out: (out / ".done" / "scene.json").unlink(),
    ],
)
def test_results_that_were_touched_are_made_again(scene, bundle, tmp_path, reads, spoil):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    before = results(out)
    spoil(out)
    reads.clear()
    assert segment(scene, bundle, out) == 0
    assert reads == [] and counts(out) == (0, 12, 0, 12) and results(out) == before


def test_force_and_a_lost_or_damaged_entry_of_the_store_read_again(scene, bundle, tmp_path, reads, capsys):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    reads.clear()
    assert ahead(capsys, scene, bundle, out, "--force") == (0, 12, 0)
    assert segment(scene, bundle, out, "--force") == 0
    assert len(reads) == 12 and counts(out) == (0, 12, 12, 0)
    entries = sorted(out.glob(".work/store/*/*.sheet"))
    entries[0].unlink()
    entries[-1].write_bytes(entries[-1].read_bytes()[:-3])
    reads.clear()
    assert segment(scene, bundle, out, "--min-area", "10") == 0
    assert len(reads) == counts(out)[2] > 0 and counts(out)[2] < 12
    (out / ".work" / "known").rename(out / ".work" / "forgotten")
    reads.clear()
    assert segment(scene, bundle, out, "--min-area", "20") == 0
    assert len(reads) == 12 and counts(out)[2] == 0


@pytest.mark.parametrize("what", ["entries", "records"])
def test_what_the_store_has_of_another_sheet_is_not_taken(scene, bundle, tmp_path, what):
    """Entries say which key they are of, and records of an unchanged raster which sheet."""
    output = tmp_path / "out"
    assert segment(scene, bundle, output) == 0
    expected = results(output)
    folder, pattern = {"entries": ("store", "*.sheet"), "records": ("known", "*_*")}[what]
    kept = sorted(path for path in (output / ".work" / folder).rglob(pattern) if path.is_file())
    assert len(kept) == 12
    for one, other in itertools.pairwise(kept):
        one.write_bytes(other.read_bytes())
    shutil.rmtree(output / "scene")
    assert segment(scene, bundle, output) == 0
    assert results(output) == expected


def test_new_rasters_appear_beside_those_that_stay(make_raster, bundle, tmp_path, reads):
    out = tmp_path / "out"
    a = make_raster(pixels=PIXELS, name="a.tif")
    assert segment(a, bundle, out) == 0
    b = make_raster(pixels=PIXELS[::-1], name="b.tif")
    reads.clear()
    assert segment([a, b], bundle, out) == 0
    assert set(reads) == {"b.tif"} and counts(out) == (1, 24, 12, 12)
    listed = json.loads((out / "manifest.json").read_text())["rasters"]
    assert [(raster["id"], raster["kept"], raster["folder"]) for raster in listed] == [
        ("a", True, f"{out}/a"),
        ("b", False, f"{out}/b"),
    ]


def test_runs_that_cut_tiles_otherwise_share_no_labels_but_have_the_same(
    scene, bundle, tmp_path, monkeypatch
):
    """Scores may differ in their last bits; what a run without cuts has left serves another without cuts."""
    out = tmp_path / "out"
    with monkeypatch.context() as changed:
        changed.setattr(make, "cut_step", lambda *_, **__: None)
        assert segment(scene, bundle, out) == 0
        uncut = results(out)
    assert counts(out) == (0, 12, 12, 0)
    assert segment(scene, bundle, out) == 0
    assert counts(out) == (0, 12, 12, 0) and results(out) == uncut
    assert json.loads((out / "manifest.json").read_text())["tiling"]["cut_px"] == 128
    with monkeypatch.context() as changed:
        changed.setattr(make, "cut_step", lambda *_, **__: None)
        assert segment(scene, bundle, out) == 0
    assert counts(out) == (0, 12, 0, 12) and results(out) == uncut


def test_another_bundle_changes_everything(scene, bundle, tmp_path, reads):
    out = tmp_path / "out"
    assert segment(scene, bundle, out) == 0
    other = tmp_path / "other"
    shutil.copytree(bundle, other)
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "fill": [1.0, 1.0, 1.0]}))
    reads.clear()
    assert segment(scene, other, out) == 0
    assert len(reads) == 12 and counts(out)[0] == 0


def test_a_fingerprint_tells_of_size_time_and_every_file(make_raster, tmp_path):
    scene = make_raster(pixels=PIXELS)
    files = inspect_raster(str(scene)).files
    first = fingerprint(str(scene), files)
    assert first == fingerprint(str(scene), files) is not None
    age(scene, 1e-9)
    second = fingerprint(str(scene), files)
    assert second != first
    with rasterio.open(scene) as dataset:
        profile = dataset.profile
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(scene, "r+") as dataset:
        dataset.write_mask(np.ones(PIXELS.shape[:2], bool))
    assert profile["driver"] == "GTiff"
    files = inspect_raster(str(scene)).files
    assert str(scene) + ".msk" in files
    third = fingerprint(str(scene), files)
    age(tmp_path / "scene.tif.msk")
    assert fingerprint(str(scene), files) != third
    scene.unlink()
    assert fingerprint(str(scene), files) is None


def test_the_sources_of_nested_vrts_are_part_of_a_raster(make_raster, tmp_path):
    scene = make_raster(pixels=PIXELS)
    inner, outer = tmp_path / "inner.vrt", tmp_path / "outer.vrt"
    rasterio.shutil.copy(scene, inner, driver="VRT")
    outer.write_text(inner.read_text().replace("scene.tif", "inner.vrt"))
    files = inspect_raster(str(outer)).files
    assert {str(scene), str(inner), str(outer)} <= set(files)
    before = fingerprint(str(outer), files)
    age(scene)
    assert fingerprint(str(outer), files) != before


def test_a_file_that_may_change_within_a_tick_of_its_clock_has_no_fingerprint(make_raster, monkeypatch):
    scene = make_raster(pixels=PIXELS)
    os.utime(scene, (1_700_000_000, 1_700_000_000))
    monkeypatch.setattr(fingerprints.time, "time", lambda: 1_700_000_001.5)
    assert fingerprint(str(scene), (str(scene),)) is None
    monkeypatch.setattr(fingerprints.time, "time", lambda: 1_700_000_002.5)
    assert fingerprint(str(scene), (str(scene),)) is not None


def test_fingerprints_do_not_hang_on_how_a_folder_is_called(make_raster, tmp_path, monkeypatch):
    scene = make_raster(pixels=PIXELS)
    absolute = fingerprint(str(scene), inspect_raster(str(scene)).files)
    monkeypatch.chdir(tmp_path)
    assert fingerprint("scene.tif", inspect_raster("scene.tif").files) == absolute


def test_of_a_changed_raster_only_what_changed_is_traced(scene, bundle, tmp_path, monkeypatch):
    traced, closed = [], []
    trace_open, close_regions = vectorize.trace_open, close.close_regions
    monkeypatch.setattr(vectorize, "trace_open", lambda sheet: traced.append(sheet) or trace_open(sheet))
    monkeypatch.setattr(close, "close_regions", lambda parts: closed.append(parts) or close_regions(parts))
    out, cold = tmp_path / "out", tmp_path / "cold"
    assert segment(scene, bundle, out) == 0
    every = len(traced), len(closed)
    assert every[0] == 12 and every[1] > 1
    age(scene)
    with rasterio.open(scene, "r+") as dataset:
        dataset.write(np.full((3, 20, 30), 9, np.uint8), window=((600, 620), (700, 730)))
    traced.clear()
    closed.clear()
    assert segment(scene, bundle, out) == 0
    assert len(traced) == 1 and len(closed) <= 1
    assert segment(scene, bundle, cold) == 0
    assert results(out) == results(cold)
    made = sorted(out.glob(".work/made/*/*.made"))
    for entry in made:
        entry.write_bytes(entry.read_bytes()[:-1])
    (out / ".done" / "scene.json").unlink()
    traced.clear()
    assert segment(scene, bundle, out) == 0
    assert len(traced) == 12 and results(out) == results(cold)
    traced.clear()
    assert segment(scene, bundle, out, "--force") == 0
    assert len(traced) == 12


@pytest.fixture
def read_only():
    """Makes folders that can only be read, also for root."""
    mounted = []

    def make(folder):
        if os.geteuid():
            for place in (folder, *(path for path in folder.rglob("*") if path.is_dir())):
                place.chmod(0o555)
            return
        for options in (["--bind", str(folder)], ["-o", "remount,bind,ro"]):
            if subprocess.run(["mount", *options, str(folder)], capture_output=True, check=False).returncode:
                pytest.skip("nothing can be mounted here")
            mounted.append(folder)

    yield make
    for folder in dict.fromkeys(mounted):
        subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.mark.parametrize("which", ["output", "work"])
def test_folders_that_can_only_be_read_serve_a_run_with_nothing_to_do(
    scene, bundle, tmp_path, read_only, capsys, which
):
    output, work = tmp_path / "out", tmp_path / "work"
    options = ("--work", str(work))
    assert segment(scene, bundle, output, *options) == 0
    before = results(output)
    told = capsys.readouterr().out
    read_only({"output": output, "work": work}[which])
    assert segment(scene, bundle, output, *options) == 0
    assert "unchanged" in capsys.readouterr().out != told
    assert results(output) == before
    assert ahead(capsys, scene, bundle, output, *options) == (12, 0, 0)
    assert segment(scene, bundle, output, *options, "--min-area", "50") == 2
    assert f"- --{which} {locals()[which]} cannot be written: " in capsys.readouterr().err
    assert main(["plan", *arguments(scene, bundle, output, *options, "--min-area", "50")]) == 2
    assert results(output) == before


def test_two_runs_into_one_output_stay_apart_whatever_their_work_folders(scene, bundle, tmp_path, capsys):
    output = tmp_path / "out"
    with Lock(lock_in(str(output))).held(print):
        assert segment(scene, bundle, output, "--work", str(tmp_path / "other")) == 1
    assert "another run is working on this job" in capsys.readouterr().err
    assert not (output / "scene").exists()
    assert segment(scene, bundle, output, "--work", str(tmp_path / "other")) == 0
