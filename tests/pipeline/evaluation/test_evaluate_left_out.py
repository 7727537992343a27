"""``terraseam evaluate`` leaves out what cannot be measured, says so, and measures the others as if they were alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from damages import overwrite_block
from evaluate_scenes import boxes, drawn, georef, moved, write_geojson, write_labels

import terraseam.pipeline.evaluation.measure
from terraseam.pipeline.cli import main

NAMES = ("background", "roof")
TILED = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Maps and truth of three rasters, of which all can be measured."""
    folder = tmp_path_factory.mktemp("left_out")
    for number, name in enumerate("abc"):
        place = georef(north=5_600_000.0 - 1_000 * number)
        shapes = boxes(number)
        found = drawn(moved(shapes, number))
        for kind, labels in (("maps", found), ("truth", drawn(shapes))):
            path = write_labels(folder / f"plain_{kind}" / f"{name}.tif", labels, place, NAMES)
            (folder / kind).mkdir(exist_ok=True)
            rasterio.shutil.copy(path, folder / kind / f"{name}.tif", driver="GTiff", **TILED)
        write_geojson(folder / "polygons" / f"{name}.geojson", shapes, place)
        image = np.random.default_rng(number).integers(0, 255, (3, *found.shape), np.uint8)
        (folder / "images").mkdir(exist_ok=True)
        profile = {
            "height": found.shape[0],
            "width": found.shape[1],
            "count": 3,
            "dtype": "uint8",
            "crs": place.crs,
        }
        with rasterio.open(
            folder / "images" / f"{name}.tif",
            "w",
            transform=rasterio.Affine(*place.transform),
            **profile,
            **TILED,
        ) as dataset:
            dataset.write(image)
    return folder


@pytest.fixture
def files(made, tmp_path):
    """A copy, of which some may be harmed."""
    for kind in ("maps", "truth", "polygons", "images"):
        shutil.copytree(made / kind, tmp_path / kind)
    return tmp_path


def evaluate(capsys, files, *more, truth="truth/*.tif", **options):
    """Run the command; returns its status, its figures and what it said."""
    words = ["--predicted", files / "maps", "--truth", files / truth]
    for name, value in options.items():
        words += [f"--{name.replace('_', '-')}", files / value]
    status = main(["evaluate", *map(str, words), *more, "--json"])
    captured = capsys.readouterr()
    return status, json.loads(captured.out) if captured.out else None, captured.err


def headless(path):
    path.write_bytes(path.read_bytes()[:100])


def emptied(path):
    path.write_bytes(b"")


def without_crs(path):
    with rasterio.open(path) as dataset:
        pixels, profile = dataset.read(), dataset.profile
    path.unlink()
    with rasterio.open(path, "w", **{**profile, "crs": None}) as dataset:
        dataset.write(pixels)


def as_floats(path):
    with rasterio.open(path) as dataset:
        pixels, profile = dataset.read(), dataset.profile
    path.unlink()
    with rasterio.open(path, "w", **{**profile, "dtype": "float32"}) as dataset:
        dataset.write(pixels.astype(np.float32))


def elsewhere(path):
    with rasterio.open(path, "r+") as dataset:
        dataset.transform = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 7_000_000)


def of_another_class(path):
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.full((1, 9, 9), 9, np.uint8), window=rasterio.windows.Window(0, 0, 9, 9))


BEFORE = [
    ("maps/b.tif", headless, "b.tif is not a raster that GDAL can open"),
    ("maps/b.tif", emptied, "b.tif is empty: 0 bytes"),
    ("maps/b.tif", as_floats, "a label map has one band of whole numbers"),
    ("truth/b.tif", without_crs, "b.tif has no CRS"),
    ("truth/b.tif", as_floats, "a label map has one band of whole numbers"),
    ("truth/b.tif", elsewhere, "b.tif and b do not overlap; check the CRS of both"),
    ("polygons/b.geojson", emptied, "b.geojson is empty: 0 bytes"),
    ("images/b.tif", headless, "b.tif is not a raster that GDAL can open"),
    (
        "images/b.tif",
        elsewhere,
        "b.tif does not overlap the prediction b; give the raster that was segmented",
    ),
]
MEANWHILE = [
    ("maps/b.tif", overwrite_block, "b.tif cannot be read at"),
    ("truth/b.tif", overwrite_block, "b.tif cannot be read at"),
    ("images/b.tif", overwrite_block, "b.tif cannot be read at"),
    ("maps/b.tif", of_another_class, "the prediction holds the label 9, but there are 2 classes"),
]


@pytest.mark.parametrize(("file", "harm", "reason"), [*BEFORE, *MEANWHILE])
def test_the_others_are_measured_as_if_they_were_alone(files, capsys, file, harm, reason):
    more = {"truth": "polygons/*.geojson"} if file.startswith("polygons") else {}
    if file.startswith("images"):
        more |= {"images": "images/*.tif", "picture": "errors.png"}
    harm(files / file)
    status, found, said = evaluate(capsys, files, "--classes", "roof", **more)
    assert status == 3 and said.splitlines()[-1].startswith("terraseam: 1 raster was skipped: ")
    assert reason in said.splitlines()[-1] and said.endswith("; run the same command again to retry\n")
    (left_out,) = found["left_out"]
    assert left_out["id"] == "b" and reason in left_out["reasons"][0] and "maps/b.tif" in left_out["path"]
    for kind in ("maps", "truth", "polygons", "images"):
        next((files / kind).glob("b.*")).unlink()
    status, alone, _ = evaluate(capsys, files, "--classes", "roof", **more)
    assert status == 0 and [one["name"] for one in alone["rasters"]] == ["a", "c"]
    for name in ("pixels", "polygons", "rasters"):
        assert found[name] == alone[name]


@pytest.mark.parametrize(("file", "harm", "reason"), BEFORE)
def test_on_error_fail_refuses_before_any_work(files, capsys, monkeypatch, file, harm, reason):
    more = {"truth": "polygons/*.geojson"} if file.startswith("polygons") else {}
    more |= {"images": "images/*.tif"} if file.startswith("images") else {}
    harm(files / file)
    monkeypatch.delattr("terraseam.pipeline.evaluation.measure.measure")
    status, found, said = evaluate(capsys, files, "--classes", "roof", "--on-error", "fail", **more)
    assert status == 2 and reason in said and reason in found["reasons"][0]


def test_on_error_fail_ends_where_a_damaged_block_is_found(files, capsys):
    overwrite_block(files / "maps" / "b.tif")
    status, found, said = evaluate(capsys, files, "--on-error", "fail")
    assert status == 2 and "b.tif cannot be read at" in said and set(found) == {"reasons"}


def test_all_that_is_wrong_is_named_and_counted(files, capsys):
    emptied(files / "maps" / "a.tif")
    overwrite_block(files / "truth" / "b.tif")
    (files / "truth" / "stray.tif").write_bytes(b"no raster")
    status, found, said = evaluate(capsys, files)
    assert status == 3 and "3 rasters were skipped: " in said.splitlines()[-1]
    assert [one["name"] for one in found["rasters"]] == ["c"]
    assert [one["id"] for one in found["left_out"]] == ["a", "", "b"]
    overwrite_block(files / "maps" / "c.tif")
    status, found, said = evaluate(capsys, files)
    assert status == 2 and all(name in said for name in ("a.tif", "b.tif", "c.tif", "stray.tif"))


def test_a_missing_result_of_a_run_leaves_that_raster_out(files, capsys):
    for name in "abc":
        (files / "run" / name).mkdir(parents=True)
        shutil.copy(files / "maps" / f"{name}.tif", files / "run" / name / "labels.tif")
    rasters = {"rasters": [{"id": name} for name in "abc"]}
    (files / "run" / "manifest.json").write_text(json.dumps(rasters))
    (files / "run" / "b" / "labels.tif").unlink()
    words = [
        "evaluate",
        "--predicted",
        str(files / "run"),
        "--truth",
        str(files / "truth" / "*.tif"),
        "--json",
    ]
    assert main(words) == 3
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert [one["name"] for one in found["rasters"]] == ["a", "c"]
    assert [one["id"] for one in found["left_out"]] == [
        "b"
    ] and "run `terraseam segment` again" in captured.err


def test_what_names_nothing_is_refused(files, capsys):
    status, _, said = evaluate(capsys, files, "--images", str(files / "gone.tif"))
    assert status == 2 and "--images" in said and "gone.tif does not exist" in said


def overwritten(path):
    path.write_bytes(path.with_name("c" + path.suffix).read_bytes())


def replaced(path):
    shutil.copy2(path, path.with_name("new")).replace(path)


@pytest.fixture
def while_b_is_measured(monkeypatch):
    """Let something happen when the second raster is measured."""

    def happen(what):
        original, seen = terraseam.pipeline.evaluation.measure.measure_maps, []

        def measuring(*arguments):
            seen.append(arguments)
            if len(seen) == 2:
                what()
            return original(*arguments)

        monkeypatch.setattr(terraseam.pipeline.evaluation.measure, "measure_maps", measuring)

    return happen


CHANGED = [
    ("maps/b.tif", overwritten),
    ("truth/b.tif", lambda path: path.unlink()),
    ("images/b.tif", overwritten),
    ("polygons/b.geojson", overwritten),
    ("maps/b.tif", headless),
]


@pytest.mark.parametrize(("file", "harm"), CHANGED)
def test_a_raster_of_which_a_file_changes_is_left_out(files, capsys, while_b_is_measured, file, harm):
    more = {"truth": "polygons/*.geojson"} if file.startswith("polygons") else {}
    while_b_is_measured(lambda: harm(files / file))
    status, found, said = evaluate(capsys, files, "--classes", "roof", images="images/*.tif", **more)
    assert status == 3
    (left_out,) = found["left_out"]
    reason = f"{files / file} or a file that is read with it was changed or replaced while it was measured; run the same"
    assert left_out["id"] == "b" and left_out["reasons"][0].startswith(reason) and reason in said


def test_a_file_that_may_have_been_replaced_is_told_of(files, capsys, while_b_is_measured):
    while_b_is_measured(lambda: replaced(files / "truth" / "b.tif"))
    status, found, said = evaluate(capsys, files)
    assert status == 0 and len(found["rasters"]) == 3
    assert (
        "b.tif or a file that is read with it was replaced by one of the same size and time while it was"
        in said
    )
