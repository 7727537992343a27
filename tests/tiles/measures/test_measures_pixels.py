"""Measures of label maps: equal to scikit-learn and to plain loops, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from terraseam.tiles.measures.boundary import BoundaryCounts, boundary_counts, disk
from terraseam.tiles.measures.confusion import confusion, mean_of_known, pixel_figures

IGNORED = 255


def maps(seed, height=41, width=59, classes=4):
    """A blobby true map and a prediction that differs in places; both have pixels without a label."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, classes, (7, 10)), np.ones((7, 7)))[:height, :width].astype(np.uint8)
    predicted = np.roll(truth, rng.integers(-3, 4, 2), (0, 1))
    noise = rng.random(truth.shape) < 0.02
    predicted[noise] = rng.integers(0, classes, noise.sum())
    truth[rng.random(truth.shape) < 0.03] = IGNORED
    truth[:5, :9] = IGNORED
    predicted[30:35, 50:] = IGNORED
    return truth, predicted


@pytest.mark.parametrize("seed", range(5))
def test_the_confusion_matrix_and_its_figures_are_those_of_scikit_learn(seed):
    truth, predicted = maps(seed)
    known = (truth != IGNORED) & (predicted != IGNORED)
    matrix = confusion(truth, predicted, 5)
    assert matrix.dtype == np.int64
    assert np.array_equal(matrix, metrics.confusion_matrix(truth[known], predicted[known], labels=range(5)))
    figures = pixel_figures(matrix)
    occurs = {"labels": range(4), "average": None}
    t, p = truth[known], predicted[known]
    assert figures.accuracy == pytest.approx(metrics.accuracy_score(t, p), abs=1e-12)
    np.testing.assert_allclose(figures.iou[:4], metrics.jaccard_score(t, p, **occurs), rtol=1e-12)
    np.testing.assert_allclose(figures.precision[:4], metrics.precision_score(t, p, **occurs), rtol=1e-12)
    np.testing.assert_allclose(figures.recall[:4], metrics.recall_score(t, p, **occurs), rtol=1e-12)
    np.testing.assert_allclose(figures.f1[:4], metrics.f1_score(t, p, **occurs), rtol=1e-12)
    assert np.isnan([figures.iou[4], figures.f1[4]]).all(), "a class that occurs nowhere has no figure"
    assert mean_of_known(figures.iou) == pytest.approx(
        metrics.jaccard_score(t, p, average="macro"), abs=1e-12
    )


def test_figures_of_nothing_are_not_numbers_and_a_class_that_is_only_predicted_counts_as_zero():
    nothing = pixel_figures(np.zeros((2, 2), np.int64))
    assert np.isnan(nothing.accuracy) and np.isnan(mean_of_known(nothing.iou))
    figures = pixel_figures(np.array([[5, 5], [0, 0]]))
    assert figures.iou.tolist() == [0.5, 0.0] and mean_of_known(figures.iou) == 0.25
    assert np.isnan(figures.recall[1])


def test_a_label_of_no_class_is_refused():
    with pytest.raises(ValueError, match="label 3 is not one of the 3 classes"):
        confusion(np.array([0, 3], np.uint8), np.array([0, 1], np.uint8), 3)


def plain_boundaries(truth, predicted, tolerance, classes):
    """Csurka's counts by plain loops over pixels."""
    height, width = truth.shape
    known = (truth != IGNORED) & (predicted != IGNORED)

    def edge(labels, label):
        found = []
        for row, col in np.argwhere(known & (labels == label)).tolist():
            for r, c in ((row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)):
                if 0 <= r < height and 0 <= c < width and known[r, c] and labels[r, c] != label:
                    found.append((row, col))
                    break
        return found

    def near(some, others):
        return sum(any((r - a) ** 2 + (c - b) ** 2 <= tolerance**2 for a, b in others) for r, c in some)

    rows = []
    for label in range(classes):
        true, said = edge(truth, label), edge(predicted, label)
        rows.append((len(said), near(said, true), len(true), near(true, said)))
    return np.array(rows).T


def counts_of(counts):
    return np.stack([counts.predicted, counts.predicted_near, counts.true, counts.true_near])


def blockwise(truth, predicted, tolerance, classes, side):
    """Counts of all blocks, each with its margin, beyond the edges of which nothing is known."""
    margin = tolerance + 1
    padded = [np.pad(labels, margin, constant_values=IGNORED) for labels in (truth, predicted)]
    total = BoundaryCounts.zero(classes)
    for row in range(0, truth.shape[0], side):
        for col in range(0, truth.shape[1], side):
            height, width = min(side, truth.shape[0] - row), min(side, truth.shape[1] - col)
            cut = [part[row : row + height + 2 * margin, col : col + width + 2 * margin] for part in padded]
            core = slice(margin, margin + height), slice(margin, margin + width)
            total = total + boundary_counts(*cut, core, tolerance, classes)
    return total


@pytest.mark.parametrize("tolerance", [0, 1, 2, 3, 5])
def test_boundaries_are_those_of_a_plain_loop_whatever_the_blocks(tolerance):
    truth, predicted = maps(tolerance)
    wanted = plain_boundaries(truth, predicted, tolerance, 4)
    assert wanted[1].min() < wanted[0].min(), "some are not near"
    for side in (100, 16, 7):
        assert np.array_equal(counts_of(blockwise(truth, predicted, tolerance, 4, side)), wanted), side


def test_figures_of_boundaries():
    counts = BoundaryCounts(
        np.array([10, 0, 5]), np.array([5, 0, 0]), np.array([4, 0, 0]), np.array([4, 0, 0])
    )
    assert counts.precision[0] == 0.5 and counts.recall[0] == 1.0
    assert counts.f1[0] == pytest.approx(2 / 3)
    assert np.isnan(counts.f1[1]), "no boundary in either map"
    assert counts.f1[2] == 0, "boundaries in one map alone"


def test_a_disk_holds_what_is_near_and_begins_with_the_nearest():
    for radius in range(6):
        found = disk(radius)
        wanted = {(r, c) for r in range(-9, 10) for c in range(-9, 10) if r * r + c * c <= radius * radius}
        assert {tuple(offset) for offset in found.tolist()} == wanted and len(found) == len(wanted)
        assert (np.diff((found**2).sum(axis=1)) >= 0).all()
