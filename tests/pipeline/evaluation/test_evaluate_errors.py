"""What cannot be measured is said in one sentence each, all at once, before any work."""

from __future__ import annotations

import json

import numpy as np
import pytest
from evaluate_scenes import boxes, drawn, georef, write_geojson, write_gpkg, write_labels

from terraseam.pipeline.cli import main

PLACE = georef()


@pytest.fixture
def files(tmp_path):
    """A label map, its truth, and the words that compare them."""
    write_labels(tmp_path / "map.tif", drawn(boxes(1)), PLACE)
    write_gpkg(tmp_path / "map.gpkg", boxes(1), PLACE, kind=["roof"] * 23 + ["tree"])
    write_geojson(tmp_path / "found.geojson", boxes(1), PLACE, score="high")
    write_geojson(tmp_path / "map.geojson", boxes(1), georef(north=7_000_000.0))
    write_geojson(tmp_path / "far.geojson", boxes(1), georef(north=7_000_000.0))
    write_geojson(tmp_path / "cars.geojson", boxes(1), PLACE, **{"class": "car"})
    write_geojson(tmp_path / "plain.geojson", boxes(1), PLACE)
    (tmp_path / "empty.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    (tmp_path / "broken.geojson").write_text("{")
    write_labels(tmp_path / "many.tif", drawn(boxes(1), 9), PLACE)
    write_labels(tmp_path / "unnamed.tif", drawn(boxes(1)), PLACE, names=None)
    write_labels(tmp_path / "floats.tif", drawn(boxes(1)).astype(np.float32), PLACE)
    write_labels(tmp_path / "small.tif", drawn(boxes(1))[:50], PLACE)
    write_labels(tmp_path / "other.tif", drawn(boxes(1)), PLACE, names=("background", "tree"))
    write_labels(tmp_path / "far" / "map.tif", drawn(boxes(1)), georef(north=7_000_000.0))
    (tmp_path / "nothing").mkdir()
    return tmp_path


def fails(capsys, files, said, status=2):
    """Run the command, with names of files in place of paths; returns what it said."""
    options = []
    for name, values in said.items():
        options.append(f"--{name}")
        for value in values.split():
            options.append(str(files / value) if "." in value or value in ("nothing", "gone") else value)
    assert main(["evaluate", *options]) == status
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("terraseam: ")
    return captured.err


ROOF = {"predicted": "map.tif", "truth": "map.gpkg", "classes": "roof"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"predicted": "gone"}, "gone does not exist"),
        ({"predicted": "nothing"}, "holds neither labels.tif nor polygons.geojson"),
        ({"truth": "gone.gpkg"}, "gone.gpkg does not exist"),
        ({"truth": "gone*.gpkg"}, "no file matches --truth"),
        ({"truth": "broken.geojson"}, "broken.geojson"),
        ({"aoi": "gone.gpkg"}, "gone.gpkg does not exist"),
        ({"aoi": "map.tif"}, "map.tif is a raster; give a file of polygons"),
        ({"aoi": "far.geojson"}, "overlaps no prediction; check its CRS"),
        ({"images": "gone.tif"}, "--images"),
        ({"images": "far/map.tif"}, "map.tif does not overlap the prediction map; give the raster that was segmented"),
        ({"truth": "far.geojson"}, "share neither a name nor an area; check the CRS of both"),
        ({"truth": "map.geojson"}, "do not overlap; check the CRS of both"),
        ({"classes": "rof"}, "--classes rof is not one of the classes background, roof, road; did you mean roof?"),
        ({"background": "sky"}, "--background sky is not one of the classes background, roof, road"),
        ({"class-property": "sort"}, "has no property 'sort', only kind"),
        (
            {"classes": None},
            "does not state the class of its polygons, and the classes are roof, road; pass --class-property",
        ),
        ({"classes": None, "class-property": "kind"}, "has polygons of 'tree', but the classes are background, roof, road"),
        (
            {"predicted": "cars.geojson", "classes": "roof,road", "background": "car"},
            "does not state the class of its polygons",
        ),
        ({"predicted": "found.geojson"}, "has scores that are not numbers; fix its property 'score'"),
        ({"predicted": "unnamed.tif", "truth": "plain.geojson", "classes": None}, "names no classes; name its labels 0, 1,"),
        ({"predicted": "many.tif"}, "the prediction holds the label 9, but there are 3 classes"),
        ({"predicted": "floats.tif"}, "has 1 bands of float32; a label map has one band of whole numbers"),
        ({"truth": "small.tif", "label-values": "0,1"}, "--label-values has 2 values, but there are 3 classes"),
        ({"truth": "small.tif", "class-property": "kind"}, "is for polygons, but the ground truth is label rasters"),
        ({"truth": "small.tif plain.geojson"}, "give one label raster, or only polygons"),
        ({"truth": "other.tif"}, "has the classes background, tree, but not roof, road; pass --label-values"),
        ({"label-values": "0,1,2"}, "--label-values is for label rasters, but the ground truth is polygons"),
        ({"label-values": "0,1,1"}, "'0,1,1' names a value twice"),
        ({"label-values": "a"}, "'a' is not a list of values such as 0,1,2"),
        ({"tolerance": "99"}, "'99' is not a whole number from 0 to 64"),
        ({"tolerance": "-1"}, "not a whole number from 0 to 64"),
        ({"block-size": "0"}, "not a whole number of 1 or more"),
        ({"max-detections": "0"}, "not a whole number of 1 or more"),
        ({"picture": "errors.jpg"}, "must end in .png"),
        ({"predicted": "empty.geojson", "truth": "empty.geojson", "classes": None}, "hold no polygons"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_said_in_one_sentence(files, capsys, changes, words):
    said = {name: value for name, value in {**ROOF, **changes}.items() if value is not None}
    error = fails(capsys, files, said)
    assert words in error, error
    assert error.count("\n") == 1


def test_all_reasons_come_at_once(files, capsys):
    error = fails(
        capsys, files, {**ROOF, "truth": "gone.gpkg broken.geojson", "predicted": "gone", "aoi": "map.tif"}
    )
    assert error.startswith("terraseam: nothing can be measured:\n- ") and error.count("\n- ") == 4
    assert main(["evaluate", "--predicted", "gone", "--truth", "gone", "--json"]) == 2
    assert len(json.loads(capsys.readouterr().out)["reasons"]) == 2


def test_a_missing_result_of_a_run_and_a_broken_manifest_are_named(files, capsys):
    run = files / "nothing"
    (run / "manifest.json").write_text(json.dumps({"rasters": [{"id": "a"}, {"id": "b"}]}))
    error = fails(capsys, files, {**ROOF, "predicted": "nothing"})
    assert "a holds neither" in error and "b holds neither" in error
    (run / "manifest.json").write_text("{}")
    assert "is not a manifest of `terraseam segment`" in fails(
        capsys, files, {**ROOF, "predicted": "nothing"}
    )


def test_a_picture_that_cannot_be_written_fails(files, capsys):
    said = {**ROOF, "picture": "map.tif/errors.png"}
    assert "cannot be read or written" in fails(capsys, files, said, status=1)


def test_predictions_of_nothing_miss_everything(files, capsys):
    words = ["evaluate", "--predicted", files / "empty.geojson", "--truth", files / "map.gpkg", "--json"]
    assert main([str(word) for word in words]) == 0
    polygons = json.loads(capsys.readouterr().out)["polygons"]
    assert (polygons["true"], polygons["false"], polygons["missed"]) == (0, 0, 24)
    assert (polygons["ap"], polygons["recall"], polygons["precision"]) == (0, 0, None)


def test_truth_without_polygons_makes_all_predictions_false(files, capsys):
    (files / "map.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    words = [
        "evaluate",
        "--predicted",
        files / "map.tif",
        "--truth",
        files / "map.geojson",
        "--classes",
        "roof",
        "--json",
    ]
    assert main([str(word) for word in words]) == 0
    roof = json.loads(capsys.readouterr().out)["pixels"]["classes"]["roof"]
    assert (roof["iou"], roof["precision"], roof["recall"]) == (0, 0, None)


def test_what_is_wrong_with_polygons_of_the_truth_is_told(files, capsys):
    write_geojson(files / "map.geojson", boxes(1), PLACE, kind=[None, None, *["roof"] * 22])
    told = json.loads((files / "map.geojson").read_text())
    ring = told["features"][0]["geometry"]["coordinates"][0]
    ring[1], ring[-2] = ring[-2], ring[1]
    (files / "map.geojson").write_text(json.dumps(told))
    words = ["--predicted", files / "map.tif", "--truth", files / "map.geojson", "--class-property", "kind"]
    assert main(["evaluate", *map(str, words), "--json"]) == 0
    captured = capsys.readouterr()
    assert "map.geojson: 1 invalid polygon repaired\n" in captured.err
    assert "map.geojson: 2 polygons without a class: the area they cover is ignored\n" in captured.err
    assert len(json.loads(captured.out)["notes"]) == 3


def test_help_names_the_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "evaluate" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    assert "--label-values" in capsys.readouterr().out
