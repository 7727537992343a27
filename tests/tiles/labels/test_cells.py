import numpy as np
import pytest
import shapely
from label_maps import assert_same_regions, by_sheets, keeping, random_labels, random_scores, whole_map

from terraseam.tiles.labels.cells import cut_into_cells
from terraseam.tiles.regions.tolerance import Tolerance


@pytest.mark.parametrize("seed", range(0, 60, 2))
@pytest.mark.parametrize("metres", [None, 1.3])
def test_sheets_do_not_matter_to_regions_cut_into_cells(seed, metres):
    labels = random_labels(seed)
    scores = random_scores(labels, seed)
    keep = keeping(0) if seed % 4 == 0 else keeping()
    tolerance = Tolerance(metres, ((1.0, 0.0), (0.0, -1.0))) if metres else None
    rng = np.random.default_rng(seed)
    cell = int(rng.integers(1, 25))
    expected = whole_map(labels, scores, keep, tolerance, cell)
    for size in rng.integers(3, 33, 2):
        found = by_sheets(labels, scores, size, keep, rng.permutation, tolerance, cell=cell)
        assert_same_regions(found, expected)


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_every_region_lies_in_one_cell_and_all_together_are_the_label_map(seed):
    labels = random_labels(seed)
    cell = 2 + seed % 11
    regions = whole_map(labels, labels, keeping(), cell=cell)
    polygons = regions.polygons()
    west, north, east, south = shapely.bounds(polygons).T
    assert (west // cell == (east - 1) // cell).all() and (north // cell == (south - 1) // cell).all()
    assert shapely.coverage_is_valid(polygons)
    assert regions.pixels.sum() == np.count_nonzero(labels != 255)
    for label in np.unique(labels[labels != 255]):
        pieces = shapely.coverage_union_all(polygons[regions.labels == label])
        whole = whole_map(labels, labels, keeping())
        assert shapely.equals(pieces, shapely.union_all(whole.polygons()[whole.labels == label]))


def test_cells_count_from_the_corner_of_the_raster():
    labels = np.array([[1, 1, 255, 2]], np.uint8)
    assert cut_into_cells(labels, (0, 0), 2).tolist() == [[1, 1, 255, 2 + 256]]
    assert cut_into_cells(labels, (3, 1), 2).tolist() == [[1 + 512, 1 + 768, 255, 2 + 512]]
    assert cut_into_cells(labels, (-1, -1), 2).dtype == np.uint16
