import numpy as np
import pytest

from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.labels.stitch import (
    NODATA,
    UNIT,
    BlendStitcher,
    blend_weights,
    labels_and_scores,
    softmax,
    stitch_ring,
    stitcher,
)

CASES = [(37, 53, 16, 8), (7, 100, 16, 4), (64, 64, 16, 12), (33, 17, 16, 0), (1, 1, 16, 8), (50, 49, 16, 16)]


def stitched(method, lattice, logits_of, classes, order=None):
    """The label map of a whole raster, sheet by sheet."""
    labels = np.full((lattice.height, lattice.width), 77, np.uint8)
    scores = labels.copy()
    for sheet in lattice.sheets():
        window = lattice.sheet_window(*sheet)
        stitch = stitcher(method, lattice, sheet, classes)
        tiles = lattice.sheet_tiles(*sheet, stitch_ring(method))
        for tile in order(tiles) if order else tiles:
            stitch.add(tile, logits_of(tile))
        label_map = stitch.label_map(np.ones(window.shape, bool))
        labels[window.within(lattice.raster)] = label_map.labels
        scores[window.within(lattice.raster)] = label_map.scores
    return labels, scores


def plane_logits(lattice, classes, seed=0):
    """Logits that depend on the position in the plane only, as an exact network's do."""
    margin = 64
    rng = np.random.default_rng(seed)
    plane = rng.normal(size=(lattice.height + 2 * margin, lattice.width + 2 * margin, classes)).astype("f4")

    def logits_of(tile):
        window = lattice.read_window(*tile)
        return plane[
            window.row_off + margin : window.row_end + margin,
            window.col_off + margin : window.col_end + margin,
        ]

    return logits_of, plane[margin : margin + lattice.height, margin : margin + lattice.width]


def noisy_logits(lattice, classes):
    """Logits that depend on the tile."""

    def logits_of(tile):
        rng = np.random.default_rng(tile)
        return rng.normal(size=(*lattice.chip_shape, classes)).astype("f4")

    return logits_of


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sheet_cores", [1, 2])
def test_crop_keeps_what_each_pixels_tile_says(case, sheet_cores):
    height, width, core, halo = case
    lattice = Lattice(height, width, core, Halo(halo, halo, halo, halo), sheet_cores)
    logits_of, plane = plane_logits(lattice, 4)
    labels, scores = stitched("crop", lattice, logits_of, 4)
    assert (labels == plane.argmax(-1)).all()
    assert np.abs(scores / 255 - softmax(plane).max(-1)).max() <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize("case", CASES)
def test_blend_weights_sum_to_one_everywhere(case):
    height, width, core, halo = case
    lattice = Lattice(height, width, core, Halo(halo, halo + 2, halo, halo), 2)
    total = np.zeros((height, width), np.int64)
    rows, cols = lattice.shape
    for tile in ((row, col) for row in range(rows) for col in range(cols)):
        window = lattice.read_window(*tile)
        inside = window.intersection(lattice.raster)
        along_rows, along_cols = blend_weights(lattice, tile)
        weights = np.multiply.outer(along_rows, along_cols)
        total[inside.within(lattice.raster)] += weights[inside.within(window)]
    assert (total == UNIT**2).all()


@pytest.mark.parametrize("case", CASES)
def test_constant_scores_stay_constant_to_the_rasters_frame(case):
    height, width, core, halo = case
    lattice = Lattice(height, width, core, Halo(halo, halo, halo, halo), 2)
    logits = np.broadcast_to(np.float32([0.1, 0.7, 0.2]), (*lattice.chip_shape, 3))
    labels, scores = stitched("blend", lattice, lambda _: logits, 3)
    assert set(labels.flat) == {1}
    assert set(scores.flat) == set(labels_and_scores(logits)[1].flat)


@pytest.mark.parametrize("method", ["crop", "blend"])
def test_sheets_and_order_change_nothing(method):
    results = []
    for sheet_cores in (1, 2, 4):
        lattice = Lattice(75, 53, 16, Halo(8, 8, 8, 8), sheet_cores)
        for order in (None, lambda tiles: tiles[::-1]):
            results.append(stitched(method, lattice, noisy_logits(lattice, 3), 3, order))
    for labels, scores in results[1:]:
        assert (labels == results[0][0]).all()
        assert (scores == results[0][1]).all()


def test_blend_averages_where_tiles_disagree_and_crop_does_not():
    lattice = Lattice(16, 32, 16, Halo(4, 4, 4, 4), 2)

    def logits_of(tile):
        return np.broadcast_to(np.float32([9, 0] if tile == (0, 0) else [0, 9]), (*lattice.chip_shape, 2))

    _, blended = stitched("blend", lattice, logits_of, 2)
    _, cropped = stitched("crop", lattice, logits_of, 2)
    assert len(set(cropped.flat)) == 1
    line = blended[8].astype(int)
    assert (line == line[::-1]).all()
    assert line[16] < line[18] < line[25]


@pytest.mark.parametrize("method", ["crop", "blend"])
def test_pixels_without_measurement_are_nodata_with_score_zero(method):
    lattice = Lattice(20, 20, 16, Halo(4, 4, 4, 4), 2)
    stitch = stitcher(method, lattice, (0, 0), 2)
    for tile in lattice.sheet_tiles(0, 0):
        stitch.add(tile, np.ones((*lattice.chip_shape, 2), np.float32))
    valid = np.random.default_rng(1).random((20, 20)) < 0.5
    label_map = stitch.label_map(valid)
    assert (label_map.labels[~valid] == NODATA).all() and (label_map.scores[~valid] == 0).all()
    assert (label_map.labels[valid] == 0).all() and (label_map.scores[valid] > 0).all()


def test_only_tiles_that_can_change_a_valid_pixel_are_needed():
    lattice = Lattice(48, 48, 16, Halo(4, 4, 4, 4), 3)
    valid = np.zeros((48, 48), bool)
    valid[17, 18] = True
    needed = {
        method: [t for t in lattice.sheet_tiles(0, 0) if stitcher(method, lattice, (0, 0), 2).needs(t, valid)]
        for method in ("crop", "blend")
    }
    assert needed["crop"] == [(1, 1)]
    assert needed["blend"] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_the_first_of_equal_classes_wins():
    labels, scores = labels_and_scores(np.float32([[[1, 1, 0], [0, 2, 2]]]))
    assert labels.tolist() == [[0, 1]]
    assert scores[0, 0] == round(255 / (2 + np.exp(-1)))


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
@pytest.mark.parametrize("height", [1, 31, 32, 65])
def test_labels_and_scores_are_those_of_each_pixel_alone(classes, height):
    logits = np.random.default_rng(height).normal(0, 4, (height, 23, classes)).astype(np.float32)
    logits[::3] = np.rint(logits[::3])  # ties
    labels, scores = labels_and_scores(logits)
    assert (labels == logits.argmax(-1)).all()
    best = logits.max(-1)
    total = np.zeros(best.shape, np.float32)
    for label in range(classes):
        total += np.exp(logits[..., label] - best)
    assert (scores == np.rint(np.float32(255) / total)).all()


def test_blended_sums_fit_their_integers():
    lattice = Lattice(16, 16, 16, Halo(4, 4, 4, 4), 1)
    stitch = BlendStitcher(lattice, (0, 0), 2)
    stitch.add((0, 0), np.broadcast_to(np.float32([100, -100]), (*lattice.chip_shape, 2)))
    label_map = stitch.label_map(np.ones((16, 16), bool))
    assert set(label_map.labels.flat) == {0} and set(label_map.scores.flat) == {255}
