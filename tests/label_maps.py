"""Random label maps, and the plain loop that polygonizes them sheet by sheet."""

import numpy as np

from tiles.close import close_regions
from tiles.regions import Regions
from tiles.seams import Seams, unite
from tiles.trace import trace_sheet

NODATA = 255


def random_labels(seed):
    """A label map of 1 to 60 px a side: noise, blocks, or two classes that percolate; often with nodata."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 61, 2)
    labels = rng.integers(0, rng.integers(1, 6), (height, width)).astype(np.uint8)
    if seed % 3 == 1:
        labels = np.kron(labels, np.ones((2, 3), np.uint8))[:height, :width]
    elif seed % 3 == 2:
        labels = (rng.random((height, width)) < rng.choice([0.4, 0.6, 0.8, 0.95])).astype(np.uint8)
    if rng.random() < 0.5:
        labels[rng.random((height, width)) < 0.1] = NODATA
    return np.ascontiguousarray(labels)


def random_scores(labels, seed):
    return np.random.default_rng(seed).integers(0, 256, labels.shape).astype(np.uint8)


def keeping(*dropped):
    keep = np.ones(256, dtype=bool)
    keep[[NODATA, *dropped]] = False
    return keep


def whole_map(labels, scores, keep):
    """Regions of one pass over the whole map."""
    return trace_sheet(labels, scores, (0, 0), Seams(False, False, False, False), keep).closed


def trace_sheets(labels, scores, size, keep):
    """What is traced on each sheet of `size` px, by its row and column."""
    height, width = labels.shape
    traces = {}
    for row in range(0, height, size):
        for col in range(0, width, size):
            window = np.s_[row : row + size, col : col + size]
            seams = Seams(row > 0, row + size < height, col > 0, col + size < width)
            traces[row // size, col // size] = trace_sheet(
                labels[window], scores[window], (row, col), seams, keep
            )
    return traces


def by_sheets(labels, scores, size, keep, order=None):
    """Regions joined from sheets of `size` px, which are handled in the order of the permutation `order`."""
    traces = trace_sheets(labels, scores, size, keep)
    keys = list(traces) if order is None else [list(traces)[i] for i in order(len(traces))]
    homes = unite({key: traces[key].summary for key in keys})
    parts, together = [traces[key].closed for key in keys], []
    for key in keys:
        fragments, home = traces[key].fragments, homes[key]
        alone, shared = np.flatnonzero(home.alone), np.flatnonzero(~home.alone)
        parts.append(close_regions([(fragments.take(alone), home.first[alone])]))
        together += [(fragments.take(np.array([i])), home.first[[i]]) for i in shared]
    parts.append(close_regions(together))
    return Regions.concatenate(parts).ordered()


def assert_same_regions(found, expected):
    for name in Regions.__dataclass_fields__:
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype, name
        assert np.array_equal(mine, theirs), name
