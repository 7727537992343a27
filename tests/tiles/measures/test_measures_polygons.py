"""Measures of polygons: equal to pycocotools, and to SpaceNet's rule in plain words."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest
import shapely
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from terraseam.tiles.measures.average_precision import SIZES, THRESHOLDS, average_precision, match
from terraseam.tiles.measures.clip import clip
from terraseam.tiles.measures.overlaps import overlaps
from terraseam.tiles.measures.spacenet import PolygonMatches, find


def scene(seed, count=40, side=500.0):
    """True polygons, and predictions that are some of them moved and resized, some more, with tied scores."""
    rng = np.random.default_rng(seed)
    centres, sizes = rng.random((count, 2)) * side, rng.uniform(4, 130, (count, 2))
    turns = rng.uniform(0, 3, count)

    def boxes(centres, sizes, turns):
        found = [shapely.box(-w / 2, -h / 2, w / 2, h / 2) for w, h in sizes]
        return [
            shapely.affinity.translate(shapely.affinity.rotate(one, turn, use_radians=True), *centre)
            for one, turn, centre in zip(found, turns, centres, strict=True)
        ]

    truth = boxes(centres, sizes, turns)
    seen = rng.integers(0, count, count + 10)
    moved = centres[seen] + rng.normal(0, 0.08, (len(seen), 2)) * sizes[seen]
    predicted = boxes(moved, sizes[seen] * rng.uniform(0.8, 1.25, (len(seen), 2)), turns[seen])
    scores = rng.integers(0, 8, len(seen)) / 8
    return np.array(truth, object), np.array(predicted, object), scores


def full_iou(predicted, truth, crowds=False):
    """IoU of all pairs, without a tree or a filter; with crowds the share of the prediction that they hold."""
    common = shapely.area(shapely.intersection(predicted[:, None], truth[None]))
    areas = shapely.area(predicted)[:, None]
    return common / np.where(crowds, areas, areas + shapely.area(truth)[None] - common)


def coco(scenes, most):
    """pycocotools' figures ``(size, ap, ap50, ap75, ar)`` of scenes with one class each, fed with IoUs of geometry.

    Args:
        scenes: For each image, ``{class: (truth, predicted, scores)}``, and which of the truth are crowds.
        most: Detections that count.
    """
    classes = sorted({label for one in scenes for label in one})
    annotations, detections = [], []
    for image, one in enumerate(scenes):
        for label, (truth, predicted, scores, *crowds) in one.items():
            for shape, crowd in zip(truth, *(crowds or [np.zeros(len(truth))]), strict=True):
                annotations.append(
                    {"image_id": image, "category_id": label, "area": shape.area, "iscrowd": int(crowd)}
                )
            for shape, score in zip(predicted, scores, strict=True):
                detections.append(
                    {"image_id": image, "category_id": label, "area": shape.area, "score": float(score)}
                )
    for entries in (annotations, detections):
        for number, entry in enumerate(entries):
            entry |= {"id": number + 1, "bbox": [0, 0, 1, 1], "segmentation": [[0, 0, 1, 0, 1, 1]]}

    class OutOfGeometry(COCOeval):
        def computeIoU(self, image, label):  # noqa: N802 - pycocotools' name
            truth, predicted, scores, *crowds = scenes[image].get(label, ([], [], []))
            if not len(truth) or not len(predicted):
                return []
            order = np.argsort(-np.asarray(scores), kind="mergesort")[:most]
            return full_iou(predicted, truth, *crowds)[order]

    with contextlib.redirect_stdout(io.StringIO()):
        both = []
        for entries in (annotations, detections):
            data = COCO()
            data.dataset = {
                "images": [{"id": image, "height": 2, "width": 2} for image in range(len(scenes))],
                "categories": [{"id": label} for label in classes],
                "annotations": entries,
            }
            data.createIndex()
            both.append(data)
        run = OutOfGeometry(*both, "segm")
        run.params.maxDets = [most]
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"][..., 0], run.eval["recall"][..., 0]
    # (thresholds, recalls, classes, sizes) -> mean over recalls -> (classes, sizes, thresholds)
    unknown = (precision < 0).all(axis=1)
    mean = np.where(unknown, np.nan, precision.mean(axis=1))
    return np.moveaxis(mean, 0, -1), np.moveaxis(np.where(recall < 0, np.nan, recall), 0, -1)


def ours(scenes, most=None):
    classes = sorted({label for one in scenes for label in one})
    figures = []
    for label in classes:
        parts = [one[label] for one in scenes if label in one]
        matches = [
            match(overlaps(predicted, truth, ignored=ignored[0] if ignored else None), scores, most)
            for truth, predicted, scores, *ignored in parts
        ]
        figures.append(average_precision(matches))
    return np.stack([one.precision for one in figures]), np.stack([one.recall for one in figures])


NONE = np.empty(0, object)
CASES = {
    "one image": [{1: scene(0)}],
    "several images and classes": [{1: scene(1), 2: scene(2, 9)}, {1: scene(3, 25)}, {2: scene(4, 60)}],
    "images without predictions or truth": [
        {1: scene(5)},
        {1: (scene(6)[0], NONE, np.empty(0))},
        {1: (NONE, *scene(7)[1:])},
    ],
    "nothing predicted": [{1: (scene(8)[0], NONE, np.empty(0))}],
    "small ones alone": [{1: scene(9, 30, 60.0)}, {1: (NONE, NONE, np.empty(0))}],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("most", [10_000, 20])
def test_average_precision_and_recall_are_those_of_pycocotools(case, most):
    for mine, theirs in zip(ours(CASES[case], most), coco(CASES[case], most), strict=True):
        assert mine.shape == theirs.shape == (mine.shape[0], len(SIZES), len(THRESHOLDS))
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(20, 40))
def test_average_precision_is_that_of_pycocotools_on_random_scenes(seed):
    scenes = [{1: scene(seed, 15)}, {1: scene(seed + 100, 8, 90.0)}]
    for mine, theirs in zip(ours(scenes), coco(scenes, 10_000), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_ignored_regions_count_as_the_crowds_of_pycocotools(seed):
    crowds = np.random.default_rng(seed).random(40) < 0.3
    scenes = [{1: (*scene(seed, side=250.0), crowds)}, {1: (*scene(seed + 9), ~crowds)}]
    for mine, theirs in zip(ours(scenes), coco(scenes, 1000), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)
    plain = [{1: one[1][:3]} for one in scenes]
    assert abs(ours(scenes)[0][0, 0, 0] - ours(plain)[0][0, 0, 0]) > 0.01


def test_predictions_in_ignored_regions_are_neither_found_nor_false():
    truth = np.array(
        [shapely.box(0, 0, 10, 10), shapely.box(20, 0, 60, 40), shapely.box(80, 0, 90, 10)], object
    )
    inside = [shapely.box(20 + 10 * k, 0, 28 + 10 * k, 8) for k in range(3)]
    half, less = shapely.box(55, 30, 65, 40), shapely.box(57, 10, 67, 20)
    predicted = np.array([truth[0], *inside, half, less], object)
    pairs = overlaps(predicted, truth, ignored=np.array([False, True, False]))
    assert find(pairs, np.ones(len(predicted))) == PolygonMatches(true=1, false=1, missed=1)


def test_equal_overlaps_sizes_at_a_limit_and_exact_hits_go_as_in_pycocotools():
    square = shapely.box(0, 0, 32, 32)
    halves = [shapely.box(0, 0, 16, 32), shapely.box(16, 0, 32, 32)]
    truth = np.array([*halves, square, shapely.box(100, 0, 196, 96)], object)
    predicted = np.array([square, shapely.box(0, 0, 32, 32), shapely.box(100, 0, 196, 96), halves[0]], object)
    scenes = [{1: (truth, predicted, np.array([0.5, 0.5, 0.9, 0.4]))}]
    for mine, theirs in zip(ours(scenes), coco(scenes, 100), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-12)


def test_perfect_predictions_have_a_precision_of_one_and_none_have_zero():
    truth, _, _ = scene(11)
    precision, recall = ours([{1: (truth, truth, np.ones(len(truth)))}])
    assert (precision == pytest.approx(1)) and (recall == 1).all()
    precision, recall = ours([{1: (truth, NONE, np.empty(0))}])
    assert (precision == 0).all() and (recall == 0).all()
    precision, _ = ours([{1: (NONE, truth, np.ones(len(truth)))}])
    assert np.isnan(precision).all()


def test_most_predictions_change_recall():
    scenes = [{1: scene(12)}]
    assert ours(scenes, 5)[1][0, 0, 0] < ours(scenes)[1][0, 0, 0]


@pytest.mark.parametrize("seed", range(6))
def test_pairs_are_those_of_all_pairs(seed):
    truth, predicted, _ = scene(seed, 60, 300.0)
    iou = full_iou(predicted, truth)
    for least in (0.5, 0.2):
        pairs = overlaps(predicted, truth, least)
        first, second = np.nonzero(iou >= least)
        assert np.array_equal(pairs.predicted, first) and np.array_equal(pairs.truth, second)
        np.testing.assert_allclose(pairs.iou, iou[first, second], rtol=1e-12)


def test_pairs_do_not_depend_on_how_many_are_computed_at_once(monkeypatch):
    truth, predicted, _ = scene(3, 200)
    whole = overlaps(predicted, truth)
    monkeypatch.setattr("terraseam.tiles.measures.overlaps.AT_ONCE", 7)
    parts = overlaps(predicted, truth)
    for name in ("predicted", "truth", "iou"):
        assert np.array_equal(getattr(whole, name), getattr(parts, name))


def spacenet(truth, predicted, scores):
    """SpaceNet's rule, word for word."""
    free, true = list(range(len(truth))), 0
    for number in sorted(range(len(predicted)), key=lambda one: -scores[one]):
        best, best_iou = None, 0.5
        for other in free:
            common = predicted[number].intersection(truth[other]).area
            iou = common / predicted[number].union(truth[other]).area
            if iou >= 0.5 and (best is None or iou > best_iou):
                best, best_iou = other, iou
        if best is not None:
            free.remove(best)
            true += 1
    return PolygonMatches(true, len(predicted) - true, len(free))


@pytest.mark.parametrize("seed", range(12))
def test_found_polygons_are_those_of_spacenets_rule(seed):
    truth, predicted, scores = scene(seed, 50, 250.0)
    wanted = spacenet(truth, predicted, scores)
    assert 0 < wanted.true < len(predicted) and wanted.missed > 0
    assert find(overlaps(predicted, truth), scores) == wanted


def test_figures_of_found_polygons():
    found = PolygonMatches(2, 1, 0) + PolygonMatches(1, 1, 3)
    assert found == PolygonMatches(3, 2, 3)
    assert (found.precision, found.recall) == (3 / 5, 3 / 6) and found.f1 == pytest.approx(6 / 11)
    assert np.isnan(
        [PolygonMatches(0, 0, 0).f1, PolygonMatches(0, 0, 1).precision, PolygonMatches(0, 1, 0).recall]
    ).all()
    assert PolygonMatches(0, 0, 1).f1 == 0


def test_a_hundred_thousand_polygons_take_seconds():
    places = np.stack(np.meshgrid(np.arange(400), np.arange(250)), axis=-1).reshape(-1, 2) * 20.0
    shift = np.random.default_rng(0).normal(0, 1.5, places.shape)
    truth = shapely.box(*places.T, *(places + 14).T)
    predicted = shapely.box(*(places + shift).T, *(places + shift + 14).T)
    started = time.monotonic()
    pairs = overlaps(predicted, truth)
    scores = np.linspace(1, 0, len(predicted))
    found, figures = find(pairs, scores), average_precision([match(pairs, scores)])
    assert time.monotonic() - started < 20
    assert found.true > 90_000 and figures.recall[0, 0] == found.recall


def test_polygons_are_cut_and_what_is_hardly_left_is_dropped():
    region = shapely.union(shapely.box(0, 0, 10, 10), shapely.box(20, 0, 30, 10))
    shapes = [
        shapely.box(2, 2, 2.5, 2.5),  # small, but whole
        shapely.box(8, 2, 22, 4),  # in both parts
        shapely.box(9.9, 2, 15, 4),  # hardly in
        shapely.box(10, 2, 15, 4),  # touches
        shapely.box(12, 2, 15, 4),  # outside
        shapely.box(-5, -5, 10, 10),  # covers one part
    ]
    cut, numbers = clip(np.array(shapes, object), region, 1.0)
    assert numbers.tolist() == [0, 1, 5]
    assert [one.geom_type for one in cut] == ["Polygon", "MultiPolygon", "Polygon"]
    assert shapely.area(cut).tolist() == [0.25, 8.0, 100.0]
