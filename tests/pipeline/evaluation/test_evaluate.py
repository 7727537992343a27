"""``terraseam evaluate``: its figures are those of plain computations, whatever the files, blocks and options."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import shapely
from evaluate_scenes import (
    HEIGHT,
    WIDTH,
    boxes,
    drawn,
    georef,
    moved,
    write_geojson,
    write_gpkg,
    write_labels,
    write_run,
)
from places import ROOT
from rasterio.vrt import WarpedVRT
from sklearn import metrics

from terraseam.pipeline.cli import main

PLACE = georef()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two rasters with true roofs and roads, and a run that found most of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    rasters = {}
    for number, name in enumerate(("east", "west")):
        place = georef(north=5_600_000.0 - 1_000 * number)
        roofs, roads = boxes(number), boxes(number + 7, 6)
        write_gpkg(folder / f"{name}.gpkg", [*roofs, *roads], place, kind=["roof"] * 24 + ["road"] * 6)
        found, ways = moved(roofs, number), moved(roads, number + 3, lost=1)
        labels = drawn([*found, *ways], [1] * len(found) + [2] * len(ways))
        labels[:40, :60] = 255
        scores = np.random.default_rng(number).random(len(found) + len(ways)).round(1).tolist()
        classes = ["roof"] * len(found) + ["road"] * len(ways)
        rasters[name] = (place, labels, [*found, *ways], classes, scores)
        write_labels(folder / f"{name}_true.tif", drawn([*roofs, *roads], [1] * 24 + [2] * 6), place)
    write_run(folder / "out", rasters)
    return folder


def evaluate(capsys, *words, **said):
    """Run the command; returns its figures."""
    options = []
    for name, value in said.items():
        options += [f"--{name.replace('_', '-')}", *map(str, value if isinstance(value, list) else [value])]
    status = main(["evaluate", *map(str, words), *options, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out)


def both(run):
    return {"predicted": run / "out", "truth": run / "*.gpkg", "class_property": "kind"}


def test_pixels_are_those_of_scikit_learn_on_labels_that_gdal_has_drawn(run, capsys):
    result = evaluate(capsys, **both(run))
    matrix = np.zeros((3, 3), int)
    for number, name in enumerate(("east", "west")):
        truth = drawn([*boxes(number), *boxes(number + 7, 6)], [1] * 24 + [2] * 6)
        with rasterio.open(run / "out" / name / "labels.tif") as dataset:
            labels = dataset.read(1)
        known = labels != 255
        matrix += metrics.confusion_matrix(truth[known], labels[known], labels=range(3))
    pixels = result["pixels"]
    difference = np.abs(np.array(pixels["confusion"]) - matrix).sum()
    assert difference <= 12, "only centres that lie on an edge, to a hair, may differ"
    right = np.diagonal(pixels["confusion"])
    total = np.array(pixels["confusion"])
    iou = right / (total.sum(0) + total.sum(1) - right)
    assert [pixels["classes"][name]["iou"] for name in result["classes"]] == pytest.approx(iou.tolist())
    assert pixels["mean_iou"] == pytest.approx(iou.mean())
    assert pixels["without_prediction"] == 2 * 40 * 60 and pixels["without_truth"] == 0
    assert pixels["pixels"] + pixels["without_prediction"] == 2 * HEIGHT * WIDTH
    assert [raster["name"] for raster in result["rasters"]] == ["east", "west"]
    summed = sum(np.array(raster["pixels"]["confusion"]) for raster in result["rasters"])
    assert np.array_equal(summed, total)


def plain_spacenet(numbers):
    """SpaceNet's counts in plain words: polygons cut at the raster, mostly unseen ones left out, for each class."""
    true = false = missed = 0
    grid, unseen = shapely.box(0, 0, WIDTH, HEIGHT), shapely.box(0, 0, 60, 40)
    for number in numbers:
        scores = np.random.default_rng(number).random(100).round(1)
        roofs, roads = boxes(number), boxes(number + 7, 6)
        found, ways = moved(roofs, number), moved(roads, number + 3, lost=1)
        for truth, some, score in ((roofs, found, scores), (roads, ways, scores[len(found) :])):
            cut = [one.intersection(grid) for one in truth]
            free = [one for one in cut if one.area >= 1 and one.intersection(unseen).area <= one.area / 2]
            scored = [(value, one.intersection(grid)) for value, one in zip(score, some, strict=False)]
            for _, one in sorted(scored, key=lambda pair: -pair[0]):
                if one.area < 1:
                    continue
                best = max(
                    free, key=lambda other: one.intersection(other).area / one.union(other).area, default=None
                )
                if best is not None and one.intersection(best).area / one.union(best).area >= 0.5:
                    free = [other for other in free if other is not best]
                    true += 1
                else:
                    false += 1
            missed += len(free)
    return true, false, missed


def test_polygons_are_found_as_in_plain_words(run, capsys):
    result = evaluate(capsys, **both(run))
    figures = result["polygons"]
    assert (figures["true"], figures["false"], figures["missed"]) == plain_spacenet((0, 1))
    assert figures["left_out"] > 0
    assert figures["f1"] == pytest.approx(
        2 * figures["true"] / (2 * figures["true"] + figures["false"] + figures["missed"])
    )
    classes = figures["classes"]
    assert set(classes) == {"roof", "road"}, "the background is no thing"
    for key in ("ap", "ap50", "ar"):
        assert figures[key] == pytest.approx((classes["roof"][key] + classes["road"][key]) / 2)
    for number, raster in enumerate(result["rasters"]):
        one = raster["polygons"]
        assert (one["true"], one["false"], one["missed"]) == plain_spacenet((number,))


@pytest.mark.parametrize("block", [17, 64, 100, 512])
def test_blocks_change_no_figure(run, capsys, block):
    assert evaluate(capsys, block=block, **both(run)) == evaluate(capsys, **both(run))


def test_scores_decide_which_come_first(capsys, tmp_path, make_raster):
    place, shapes = georef(), boxes(0, 5)
    truth = write_geojson(tmp_path / "truth.geojson", shapes, place)
    found = [*shapes, *boxes(99, 5)]
    high = write_geojson(tmp_path / "high.geojson", found, place, score=[0.9] * 5 + [0.1] * 5)
    low = write_geojson(tmp_path / "low.geojson", found, place, score=[0.1] * 5 + [0.9] * 5)
    none = write_geojson(tmp_path / "none.geojson", found, place)
    far = [shapely.box(-900 - 9 * i, -900, -895 - 9 * i, -890) for i in range(5)]
    first = write_geojson(
        tmp_path / "far.geojson", [*far, *found], place, score=[0.5] * 5 + [0.9] * 5 + [0.1] * 5
    )
    aps = {
        path.stem: evaluate(capsys, predicted=path, truth=truth)["polygons"]["ap50"]
        for path in (high, low, none)
    }
    assert aps["high"] == pytest.approx(1) and aps["low"] < 0.6
    image = make_raster(HEIGHT, WIDTH, name="image.tif")
    result = evaluate(capsys, predicted=first, truth=truth, images=image)
    assert result["polygons"]["ap50"] == pytest.approx(1), (
        "scores stay with their polygons where some lie elsewhere"
    )
    assert aps["none"] == pytest.approx(1), "without scores, in the order of the file"


def test_an_area_of_interest_hides_the_rest(run, capsys, tmp_path):
    window = shapely.box(100, 60, 240, 200)
    aoi = write_gpkg(tmp_path / "aoi.gpkg", [window], PLACE)
    said = {**both(run), "truth": run / "east.gpkg"}
    result = evaluate(capsys, aoi=aoi, **{**said, "predicted": run / "out" / "east"})
    assert result["pixels"]["pixels"] == 140 * 140
    assert result["pixels"]["without_truth"] == HEIGHT * WIDTH - 140 * 140
    true = [one.intersection(window) for one in [*boxes(0), *boxes(7, 6)]]
    polygons = result["polygons"]
    assert polygons["true"] + polygons["missed"] == sum(one.area >= 1 for one in true)
    with rasterio.open(run / "out" / "east" / "labels.tif") as dataset:
        labels = dataset.read(1)[60:200, 100:240]
    truth = drawn([*boxes(0), *boxes(7, 6)], [1] * 24 + [2] * 6)[60:200, 100:240]
    matrix = metrics.confusion_matrix(truth.ravel(), labels.ravel(), labels=range(3))
    assert np.abs(np.array(result["pixels"]["confusion"]) - matrix).sum() <= 6


def test_what_was_predicted_inside_the_area_alone_is_measured_as_if_it_were_everywhere(capsys, tmp_path):
    place, roofs = georef(60, 100), [shapely.box(30, 10, 50, 30), shapely.box(60, 10, 80, 30)]
    aoi = write_gpkg(tmp_path / "aoi.gpkg", [shapely.box(0, 0, 40, 60), shapely.box(55, 0, 100, 60)], place)
    write_gpkg(tmp_path / "true.gpkg", roofs, place)
    labels = drawn(roofs, [1, 1], 60, 100)
    figures = {}
    for name, outside in (("everywhere", 0), ("inside", 255)):
        seen = labels.copy()
        seen[:, 40:55] = np.maximum(seen[:, 40:55], outside)
        write_run(tmp_path / name, {"one": (place, seen, roofs, ["roof", "roof"], [0.9, 0.8])})
        result = evaluate(
            capsys, predicted=tmp_path / name / "one", truth=tmp_path / "true.gpkg", aoi=aoi, classes="roof"
        )
        figures[name] = result["pixels"], result["polygons"]
    polygons = figures["inside"][1]
    assert (polygons["true"], polygons["false"], polygons["missed"], polygons["left_out"]) == (2, 0, 0, 0)
    assert figures["inside"] == figures["everywhere"]


def test_rasters_outside_the_area_are_left_out_and_named(run, capsys, tmp_path):
    aoi = write_gpkg(tmp_path / "aoi.gpkg", [shapely.box(0, 0, 50, 50)], PLACE)
    result = evaluate(capsys, aoi=aoi, **both(run))
    assert [raster["name"] for raster in result["rasters"]] == ["east"]
    assert "west lies outside --aoi and is skipped" in result["notes"]


def test_classes_choose_what_is_measured(run, capsys):
    every, roofs = evaluate(capsys, **both(run)), evaluate(capsys, classes="roof", **both(run))
    assert roofs["measured"] == ["roof"]
    assert roofs["pixels"]["classes"] == {"roof": every["pixels"]["classes"]["roof"]}
    assert roofs["pixels"]["mean_iou"] == every["pixels"]["classes"]["roof"]["iou"]
    assert roofs["pixels"]["confusion"] == every["pixels"]["confusion"]
    assert roofs["polygons"]["classes"] == {"roof": every["polygons"]["classes"]["roof"]}
    assert roofs["polygons"]["true"] == every["polygons"]["classes"]["roof"]["true"]


def test_without_a_class_property_true_polygons_are_of_the_one_class_that_is_measured(run, capsys):
    said = {"predicted": run / "out", "truth": run / "*.gpkg", "classes": "roof"}
    result = evaluate(capsys, **said)
    with_property = evaluate(capsys, **said, class_property="kind")
    assert (
        result["pixels"]["classes"]["roof"]["pixels"] > with_property["pixels"]["classes"]["roof"]["pixels"]
    )


def test_the_background_can_be_named(run, capsys):
    plain = evaluate(capsys, **both(run))
    other = evaluate(capsys, background="road", **both(run))
    assert (plain["background"], other["background"]) == ("background", "road")
    assert set(other["polygons"]["classes"]) == {"background", "roof"}
    assert other["pixels"]["confusion"] != plain["pixels"]["confusion"], "what no polygon covers is road"
    none = evaluate(capsys, background="none", **both(run))
    assert none["background"] is None
    assert none["pixels"]["without_truth"] > 0, "what no polygon covers is not known"


def test_tolerance_and_most_detections_change_their_figures_alone(run, capsys):
    plain = evaluate(capsys, **both(run))
    strict, loose = (evaluate(capsys, tolerance=px, **both(run)) for px in (0, 8))
    figures = [one["pixels"]["mean_boundary_f1"] for one in (strict, plain, loose)]
    assert figures == sorted(figures) and figures[0] < figures[1] < figures[2]
    few = evaluate(capsys, max_detections=4, **both(run))
    assert few["polygons"]["ar"] < plain["polygons"]["ar"]
    for one in (strict, few):
        assert one["pixels"]["confusion"] == plain["pixels"]["confusion"]
        assert one["polygons"]["f1"] == plain["polygons"]["f1"]


def test_truth_in_another_crs_gives_the_same_figures(run, capsys, tmp_path):
    shapes = [*boxes(0), *boxes(7, 6)]
    other = write_geojson(tmp_path / "east.geojson", shapes, PLACE, kind=["roof"] * 24 + ["road"] * 6)
    said = {**both(run), "predicted": run / "out" / "east"}
    mine = evaluate(capsys, **{**said, "truth": run / "east.gpkg"})
    theirs = evaluate(capsys, **{**said, "truth": other})
    difference = np.array(mine["pixels"]["confusion"]) - np.array(theirs["pixels"]["confusion"])
    assert np.abs(difference).sum() <= 12
    for key in ("ap", "ap50", "ar", "f1"):
        assert mine["polygons"][key] == pytest.approx(theirs["polygons"][key], abs=1e-9)


def test_polygons_alone_are_measured_in_an_equal_area_plane_and_in_pixels_of_the_image(
    run, capsys, make_raster
):
    image = make_raster(HEIGHT, WIDTH, name="east.tif")
    said = {
        **both(run),
        "predicted": run / "out" / "east" / "polygons.geojson",
        "truth": run / "east.gpkg",
    }
    plane, pixels = evaluate(capsys, **said), evaluate(capsys, images=image, **said)
    assert plane["pixels"] is None and plane["polygons"]["ap_medium"] is None
    assert any("--images" in note for note in plane["notes"])
    assert pixels["pixels"]["pixels"] == HEIGHT * WIDTH and pixels["polygons"]["ap_medium"] is not None
    unclipped = shapely.box(0, 0, WIDTH, HEIGHT)
    inside = sum(unclipped.covers(one) for one in [*boxes(0), *boxes(7, 6)])
    assert inside < 30 == plane["polygons"]["true"] + plane["polygons"]["missed"]
    whole = evaluate(capsys, **{**said, "predicted": run / "out" / "east"})
    left_out = whole["polygons"]["left_out"]
    assert left_out == pixels["polygons"]["missed"] + pixels["polygons"]["true"] - (
        whole["polygons"]["missed"] + whole["polygons"]["true"]
    )


def test_files_pair_by_overlap_where_their_names_differ(run, capsys, tmp_path):
    for name, new in (("east", "a"), ("west", "b")):
        (tmp_path / f"{new}.gpkg").write_bytes((run / f"{name}.gpkg").read_bytes())
    plain = evaluate(capsys, **both(run))
    renamed = evaluate(capsys, **{**both(run), "truth": [tmp_path / "b.gpkg", tmp_path / "a.gpkg"]})
    assert renamed["pixels"] == plain["pixels"] and renamed["polygons"] == plain["polygons"]


def test_the_manifest_says_which_rasters_there_are_and_what_has_no_truth_is_named(run, capsys):
    result = evaluate(capsys, **{**both(run), "truth": run / "west.gpkg"})
    assert [raster["name"] for raster in result["rasters"]] == ["west"]
    assert "east has no ground truth and is skipped" in result["notes"]
    manifest = run / "out" / "manifest.json"
    text = manifest.read_text()
    try:
        manifest.write_text(json.dumps({"rasters": [{"id": "west"}]}))
        alone = evaluate(capsys, **both(run))
    finally:
        manifest.write_text(text)
    assert [raster["name"] for raster in alone["rasters"]] == ["west"]
    assert any("also holds east of earlier runs" in note for note in alone["notes"])
    assert not any("earlier runs" in note for note in result["notes"])


def test_a_label_map_and_polygons_of_one_name_are_one_prediction(run, capsys, tmp_path):
    (tmp_path / "flat").mkdir()
    for name in ("east", "west"):
        for file in ("labels.tif", "polygons.geojson"):
            there = tmp_path / "flat" / f"{name}{Path(file).suffix}"
            shutil.copy(run / "out" / name / file, there)
    flat, there = (
        evaluate(capsys, **{**both(run), "predicted": tmp_path / "flat"}),
        evaluate(capsys, **both(run)),
    )
    assert flat["pixels"] == there["pixels"] and flat["polygons"] == there["polygons"]
    shutil.copy(run / "out" / "west" / "labels.tif", tmp_path / "flat" / "west.tiff")
    assert main(["evaluate", "--predicted", str(tmp_path / "flat"), "--truth", str(run / "west.gpkg")]) != 0
    assert "holds both west.tif and west.tiff" in capsys.readouterr().err


def test_rasters_of_nothing_that_was_predicted_are_named(run, capsys, make_raster):
    far = rasterio.Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
    images = [make_raster(name="far.tif", transform=far)]
    notes = evaluate(capsys, **both(run), images=images)["notes"]
    assert [note for note in notes if "far.tif of --images matches no prediction" in note]


def test_a_label_map_that_names_no_classes_is_told_them(capsys, tmp_path):
    labels = drawn(boxes(1), 1)
    write_labels(tmp_path / "map.tif", labels, PLACE, names=None)
    truth = write_geojson(tmp_path / "truth.geojson", boxes(1), PLACE)
    result = evaluate(capsys, predicted=tmp_path / "map.tif", truth=truth, classes="nothing,roof")
    assert result["classes"] == ["nothing", "roof"] and result["background"] == "nothing"
    assert result["pixels"]["accuracy"] > 0.999 and result["polygons"] is None
    assert any("only a label map" in note for note in result["notes"])


def rasters(run):
    return {"predicted": run / "out", "truth": [run / "east_true.tif", run / "west_true.tif"]}


def test_true_label_rasters_give_the_figures_of_the_polygons_they_were_drawn_of(run, capsys):
    result, polygons = evaluate(capsys, **rasters(run)), evaluate(capsys, **both(run))
    difference = np.array(result["pixels"]["confusion"]) - np.array(polygons["pixels"]["confusion"])
    assert np.abs(difference).sum() <= 12
    assert result["polygons"] is None
    assert "no polygons are measured: the truth is a label raster" in result["notes"]
    assert evaluate(capsys, block=50, **rasters(run)) == result


def test_label_values_say_what_true_labels_mean(run, capsys, tmp_path):
    plain = evaluate(capsys, **rasters(run))
    with rasterio.open(run / "east_true.tif") as dataset:
        truth = dataset.read(1)
    other = write_labels(
        tmp_path / "east.tif", np.array([7, 3, 200], np.uint8)[truth], PLACE, names=None, nodata=None
    )
    said = {"predicted": run / "out", "truth": other}
    result = evaluate(capsys, **said, label_values="7,3,200")
    assert result["rasters"][0]["pixels"] == plain["rasters"][0]["pixels"]
    partly = evaluate(capsys, **said, label_values="7,3,9")
    assert partly["pixels"]["without_truth"] == np.count_nonzero(truth == 2)


def test_true_labels_are_known_by_their_names(run, capsys, tmp_path):
    plain = evaluate(capsys, **rasters(run))
    with rasterio.open(run / "east_true.tif") as dataset:
        truth = dataset.read(1)
    names = ("road", "background", "roof")
    other = write_labels(tmp_path / "east.tif", np.array([1, 2, 0], np.uint8)[truth], PLACE, names=names)
    result = evaluate(capsys, predicted=run / "out", truth=other)
    assert result["rasters"][0]["pixels"] == plain["rasters"][0]["pixels"]


def test_true_labels_in_another_crs_are_nearly_the_same(run, capsys, tmp_path):
    with rasterio.open(run / "east_true.tif") as source, WarpedVRT(source, crs="EPSG:4326") as warped:
        rasterio.shutil.copy(warped, tmp_path / "east.tif", driver="GTiff")
        copy = tmp_path / "east.tif"
        with rasterio.open(copy, "r+") as dataset:
            dataset.update_tags(1, **source.tags(1))
    mine = evaluate(capsys, predicted=run / "out", truth=run / "east_true.tif")["pixels"]
    theirs = evaluate(capsys, predicted=run / "out", truth=copy)["pixels"]
    assert theirs["mean_iou"] == pytest.approx(mine["mean_iou"], abs=0.02)


def test_polygons_alone_are_drawn_on_a_true_label_raster(run, capsys):
    said = {"predicted": run / "out" / "east" / "polygons.geojson", "truth": run / "east_true.tif"}
    result = evaluate(capsys, **said, classes="roof,road")
    assert result["classes"] == ["background", "roof", "road"]
    found, ways = moved(boxes(0), 0), moved(boxes(7, 6), 3, lost=1)
    labels = drawn([*found, *ways], [1] * len(found) + [2] * len(ways))
    truth = drawn([*boxes(0), *boxes(7, 6)], [1] * 24 + [2] * 6)
    matrix = metrics.confusion_matrix(truth.ravel(), labels.ravel(), labels=range(3))
    assert np.abs(np.array(result["pixels"]["confusion"]) - matrix).sum() <= 6


def test_nodata_of_a_label_map_is_no_label_whatever_its_value(capsys, tmp_path):
    labels = drawn(boxes(1), 1)
    labels[:30] = 0
    truth = write_geojson(tmp_path / "truth.geojson", boxes(1), PLACE)
    said = {"truth": truth, "classes": "roof"}
    for nodata, without in ((None, 0), (0, np.count_nonzero(labels == 0))):
        path = write_labels(tmp_path / f"map_{nodata}.tif", labels, PLACE, nodata=nodata)
        result = evaluate(capsys, predicted=path, **said)
        assert result["pixels"]["without_prediction"] == without


def test_classes_that_are_called_by_numbers_are_the_values_of_label_rasters(capsys, tmp_path):
    place, shapes = georef(60, 60), [shapely.box(10, 10, 50, 40), shapely.box(52, 0, 60, 60)]
    labels = drawn(shapes, [1, 3], 60, 60)
    labels[50:, :10] = 4
    write_labels(tmp_path / "true.tif", labels, place, names=None, nodata=None)
    ground = shapely.box(0, 0, 60, 60).difference(shapely.union_all(shapes))
    named = {"class": ["0", "1", "3"]}
    write_geojson(tmp_path / "found.geojson", [ground, *shapes], place, **named)
    result = evaluate(capsys, predicted=tmp_path / "found.geojson", truth=tmp_path / "true.tif")
    assert result["classes"] == ["0", "1", "3", "4"] and result["background"] == "0"
    assert {name: one["iou"] for name, one in result["pixels"]["classes"].items()} == {
        "0": pytest.approx(1820 / 1920), "1": 1, "3": 1, "4": 0
    }  # fmt: skip
    assert result["pixels"]["accuracy"] == pytest.approx(3500 / 3600)
    told = evaluate(capsys, predicted=tmp_path / "true.tif", truth=tmp_path / "true.tif", classes="1,3,4")
    assert told["measured"] == ["1", "3", "4"] and told["pixels"]["mean_iou"] == 1


def test_what_a_mask_hides_is_no_prediction(capsys, tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    labels[10:30, 10:30] = 1
    place = georef(40, 40)
    write_labels(tmp_path / "true.tif", labels, place, names=None, nodata=None)
    wrong = labels.copy()
    wrong[:20] = 1 - wrong[:20]
    write_labels(tmp_path / "found.tif", wrong, place, names=None, nodata=None)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / "found.tif", "r+") as dataset:
        dataset.write_mask(np.repeat(np.uint8([0, 255]), 20)[:, None].repeat(40, 1))
    pixels = evaluate(
        capsys, predicted=tmp_path / "found.tif", truth=tmp_path / "true.tif", classes="ground,roof"
    )["pixels"]
    assert (pixels["accuracy"], pixels["pixels"], pixels["without_prediction"]) == (1, 800, 800)


def test_predictions_on_true_polygons_of_no_class_count_neither_way(capsys, tmp_path):
    place, shapes = georef(100, 100), [shapely.box(10, 10, 30, 30), shapely.box(50, 50, 80, 80)]
    inner = [shapely.box(50, 50, 60, 60), shapely.box(62, 62, 80, 80)]
    write_geojson(tmp_path / "true.geojson", shapes, place, kind=["roof", None])
    write_geojson(
        tmp_path / "found.geojson", [*inner, shapes[0]], place, **{"class": "roof", "score": [0.9, 0.8, 0.7]}
    )
    result = evaluate(
        capsys, predicted=tmp_path / "found.geojson", truth=tmp_path / "true.geojson", class_property="kind"
    )["polygons"]
    assert result["ap"] == pytest.approx(1) and result["f1"] == 1
    assert (result["true"], result["false"], result["missed"]) == (1, 0, 0)


def test_the_table_says_what_was_measured(run, capsys):
    words = [
        str(word) for word in ("--predicted", run / "out", "--truth", run / "east.gpkg", run / "west.gpkg")
    ]
    assert main(["evaluate", *words, "--class-property", "kind"]) == 0
    captured = capsys.readouterr()
    for part in (
        "boundary F1",
        "confusion, in pixels",
        "AP50",
        "missed",
        "ignored: 0 without truth",
        "east ",
    ):
        assert part in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("words", [["--help"], ["--predicted", "x", "--truth", "y"], ["--truth"]])
def test_what_measures_nothing_imports_neither_keras_nor_beam(words):
    code = (
        f"import sys; from terraseam.pipeline.cli import main\ntry: main(['evaluate', *{words}])\nexcept SystemExit: pass\n"
        "print(*sorted({'keras', 'tensorflow', 'apache_beam'} & {m.split('.')[0] for m in sys.modules}), sep='!')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == ""


def test_a_large_map_takes_seconds(capsys, tmp_path):
    height, width = 4096, 8192
    place = georef(height, width)
    shapes = boxes(3, 3000, height, width)
    labels = drawn(moved(shapes, 3), 1, height, width)
    write_labels(tmp_path / "large.tif", labels, place, names=("background", "roof"))
    truth = write_gpkg(tmp_path / "large.gpkg", shapes, place)
    started = time.monotonic()
    result = evaluate(capsys, predicted=tmp_path / "large.tif", truth=truth)
    assert time.monotonic() - started < 40
    assert result["pixels"]["pixels"] == height * width and result["pixels"]["mean_iou"] > 0.5
