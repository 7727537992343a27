"""What rasters are called, so that no results overwrite others, on any filesystem."""

from __future__ import annotations

import itertools
import os
import unicodedata

import numpy as np
import pytest
from vectorize_cases import patches, vectorize, write_labels

from terraseam.pipeline.cli import main
from terraseam.pipeline.inputs.expand import LONGEST_ID, names_in, raster_ids
from terraseam.pipeline.plan.reasons import folder_reason, result_reasons

EARTH = "\u5730"


def folded(name):
    return unicodedata.normalize("NFC", name.casefold())


def test_ids_that_do_not_collide_are_the_stems_of_files():
    paths = [
        "/a/roofs.tif",
        "/b/fields 2024.tif",
        "/c/straße.TIF",
        "/d/.hidden.tif",
        "/e/a.b.tif",
        f"/f/{'x' * 216}.tif",
    ]
    assert raster_ids(paths) == ["roofs", "fields_2024", "straße", "hidden", "a.b", "x" * 216]


def test_two_of_a_name_have_a_hash_of_their_paths_as_before():
    assert raster_ids(["/d1/a.tif", "/d2/a.tif", "/d2/b.tif"]) == ["a-4613ba74", "a-7cf20a42", "b"]


@pytest.mark.parametrize(
    "paths",
    [
        ["/d1/a.tif", "/d2/a.tif", "/d3/a-{0}.tif"],
        ["/d1/a.tif", "/d2/a.tif", "/d3/A-{0}.tif", "/d4/a-{1}.tif", "/d5/a-{1}.tif"],
        ["/d/A.tif", "/d/a.tif"],
        ["/d/\u00c5.tif", "/d/\u212b.tif"],
        ["/d/STRASSE.tif", "/d/straße.tif"],
        ["/d/\ud55c.tif", "/d/\u1112\u1161\u11ab.tif"],
        ["/d/a b.tif", "/d/a_b.tif", "/d/a?b.tif"],
        ["/d/a.tif", "/d/.a.tif", "/d/a.tiff", "/d/a.vrt"],
        [f"/d/{'x' * 250}{end}.tif" for end in "ab"],
        [f"/d/{EARTH * 80}{end}.tif" for end in "ab"],
        [f"/{folder}/{'x' * 216}.tif" for folder in "ab"],
    ],
)
def test_ids_never_collide_and_do_not_depend_on_the_order(paths):
    first = raster_ids(["/d1/a.tif", "/d2/a.tif"])
    paths = [path.format(*(one.partition("-")[2] for one in first)) for path in paths]
    ids = dict(zip(paths, raster_ids(paths), strict=True))
    assert len({folded(one) for one in ids.values()}) == len(paths)
    assert all(len(one.encode()) <= LONGEST_ID for one in ids.values())
    for order in itertools.permutations(paths):
        assert dict(zip(order, raster_ids(order), strict=True)) == ids


def test_long_hashes_tell_rasters_apart_whose_names_are_made_to_collide():
    """Random names with hashes of others for their ends."""
    rng, paths = np.random.default_rng(0), [f"/{k}/a.tif" for k in range(3)]
    for number in range(60):
        ids = raster_ids(paths)
        paths.append(f"/{number}/{ids[rng.integers(len(ids))]}.tif")
    assert len({folded(one) for one in raster_ids(paths)}) == len(paths)


@pytest.mark.parametrize(
    "name", ["manifest.json", "Manifest.JSON", "history", "HISTORY", "quarantine.geojson"]
)
def test_no_raster_is_called_like_a_file_of_ours(name):
    (found,) = raster_ids([f"/d/{name}.tif"])
    assert found.startswith(f"{name}-") and len(found) == len(name) + 9


def test_no_raster_is_called_like_the_work_folder(tmp_path):
    taken = names_in(str(tmp_path / "out"), str(tmp_path / "out" / "Scene" / "work"))
    assert taken == ["Scene"]
    assert raster_ids(["/d/scene.tif"], taken=taken)[0].startswith("scene-")
    assert names_in(str(tmp_path / "out"), str(tmp_path / "work")) == []
    assert names_in(str(tmp_path / "out"), None) == []


def test_label_rasters_that_are_called_like_their_folder_are_told_apart(tmp_path):
    """Both would be called like the folder, and have one hash."""
    for ending in ("tif", "tiff"):
        write_labels(tmp_path / "town" / f"labels.{ending}", patches(60, 70))
    assert vectorize(tmp_path / "town", tmp_path / "out") == 0
    assert len(list((tmp_path / "out").glob("town-*/polygons.geojson"))) == 2


@pytest.mark.parametrize(
    "stem", ["x" * 251, EARTH * 83, "e\u0301" * 83], ids=["letters", "Chinese", "decomposed"]
)
def test_files_are_called_as_long_as_the_filesystem_takes(stem, tmp_path, capsys):
    labels = write_labels(tmp_path / f"{stem}.tif", patches(60, 70))
    assert vectorize(labels, tmp_path / "out") == 0
    (found,) = (tmp_path / "out").glob("*/polygons.geojson")
    assert str(found) in capsys.readouterr().out.replace("{", "").replace("}", "")


def test_what_the_filesystem_does_not_take_is_refused_beforehand(tmp_path):
    (reason,) = result_reasons([str(tmp_path / ("x" * 230))])
    assert "its name has 230 bytes, but the filesystem allows 216; give the raster a shorter name" in reason
    deep = folder_reason("--output", str(tmp_path / "/".join(["y" * 200] * 19)))
    assert deep is not None and "is too long for a path: it has" in deep and "choose a shorter one" in deep


@pytest.mark.parametrize("given", ["{0}/d1 {0}/d2", "{0}/d*/*.tif"])
def test_what_cannot_be_read_keeps_its_name_from_others(given, tmp_path, capsys):
    """Folders and patterns name what lies there, also links to nothing."""
    write_labels(tmp_path / "d1" / "a.tif", patches())
    write_labels(tmp_path / "far.tif", patches())
    (tmp_path / "d2").mkdir()
    link = tmp_path / "d2" / "a.tif"
    link.symlink_to(tmp_path / "far.tif")
    words = ["vectorize", *given.format(tmp_path).split(), "--output", str(tmp_path / "out")]
    assert main(words) == 0
    before = {one.name for one in (tmp_path / "out").glob("a-*")}
    assert len(before) == 2
    link.unlink()
    link.symlink_to(tmp_path / "gone.tif")
    capsys.readouterr()
    assert main(words) == 3
    assert f"{link} is a link to {tmp_path / 'gone.tif'}, which does not exist" in capsys.readouterr().err
    assert {one.name for one in (tmp_path / "out").glob("a*")} == before


def test_fifos_are_named_and_never_opened(tmp_path, capsys):
    write_labels(tmp_path / "a" / "a.tif", patches())
    os.mkfifo(tmp_path / "a" / "b.tif")
    assert vectorize(tmp_path / "a", tmp_path / "out") == 3
    assert "b.tif is a named pipe (FIFO), not a regular file" in capsys.readouterr().err
