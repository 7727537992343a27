import numpy as np
import pytest
from label_maps import random_labels
from tiers import some

from terraseam.tiles.labels.label_codes import NOTHING, CodedLabels
from terraseam.tiles.labels.neighbour_context import edge_strip_of, with_neighbour_context
from terraseam.tiles.labels.stitch import NODATA


@pytest.mark.parametrize("seed", some(range(20), 5))
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("least", [0, 1000])
def test_a_sheet_with_its_apron_is_a_piece_of_the_whole_map(seed, depth, least):
    labels = random_labels(seed).astype(np.int64)
    # Labels of which each sheet knows others: where they are not of uint8, each has a table of its own.
    labels[labels != NODATA] += (
        least + (np.indices(labels.shape).sum(axis=0) // 8 * 5)[labels != NODATA] % 200
    )
    labels[labels == NODATA] = NOTHING
    size = 3 + seed % 9
    whole = np.pad(labels, depth, constant_values=NOTHING)
    parts = {
        (row, col): labels[row * size : (row + 1) * size, col * size : (col + 1) * size]
        for row in range(-(-labels.shape[0] // size))
        for col in range(-(-labels.shape[1] // size))
    }
    sheets = {key: CodedLabels.encode(part, part != NOTHING) for key, part in parts.items()}
    for (row, col), own in sheets.items():
        around = {
            (down, right): edge_strip_of(sheets[row + down, col + right], depth)
            for down in (-1, 0, 1)
            for right in (-1, 0, 1)
            if (down or right) and (row + down, col + right) in sheets
        }
        height, width = own.codes.shape
        expected = whole[row * size :, col * size :][: height + 2 * depth, : width + 2 * depth]
        assert np.array_equal(with_neighbour_context(own, around, depth).labels, expected)
