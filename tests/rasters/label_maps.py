"""Random label maps, and a plain loop that polygonizes them sheet by sheet."""

import numpy as np
import rasterio.features
import shapely

from terraseam.tiles.labels.cells import cut_into_cells
from terraseam.tiles.regions.close import close_regions
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.seams import merge_seams
from terraseam.tiles.regions.trace import frame, simplify_sheet, trace_sheet

NODATA = 255


def random_labels(seed):
    """Return a label map of 1 to 60 px a side: noise, blocks, or two classes that percolate; often with nodata."""
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


def whole_map(labels, scores, keep, tolerance=None, cell=None, *, by_corners=False):
    """Return the regions from one pass over the whole map."""
    size = max(labels.shape)
    return by_sheets(labels, scores, size, keep, tolerance=tolerance, cell=cell, by_corners=by_corners)


def trace_sheets(labels, scores, size, keep, tolerance=None, cell=None, *, by_corners=False):
    """Trace each sheet of `size` px, and return the traces by row and column."""
    apron = tolerance.reach + 1 if tolerance else 1
    wide = np.pad(labels, apron, constant_values=NODATA)
    height, width = labels.shape
    framed, traces = frame(labels), {}
    if cell:
        wide, framed = (
            cut_into_cells(pixels, (-depth, -depth), cell) for pixels, depth in ((wide, apron), (framed, 1))
        )
    for row in range(0, height, size):
        for col in range(0, width, size):
            around = framed[row : row + size + 2, col : col + size + 2]
            own = scores[row : row + size, col : col + size]
            trace = trace_sheet(around, own, (row, col), keep, by_corners=by_corners)
            if tolerance:
                seen = wide[row : row + len(own) + 2 * apron, col : col + own.shape[1] + 2 * apron]
                trace = simplify_sheet(trace, seen, (row - apron, col - apron), tolerance)
            traces[row // size, col // size] = trace
    return traces


def by_sheets(labels, scores, size, keep, order=None, tolerance=None, *, cell=None, by_corners=False):
    """Return the regions joined from sheets of `size` px, processed in the order of the permutation `order`."""
    traces = trace_sheets(labels, scores, size, keep, tolerance, cell, by_corners=by_corners)
    keys = list(traces) if order is None else [list(traces)[i] for i in order(len(traces))]
    homes = merge_seams({key: traces[key].summary for key in keys}, by_corners=by_corners)
    together = [
        (
            traces[key].fragments.take(np.array([i]), tolerance.reach if tolerance else 0),
            homes[key].take(np.array([i])),
        )
        for key in keys
        for i in range(len(homes[key]))
    ]
    parts = [*(traces[key].closed for key in keys), close_regions(together, tolerance)]
    return Regions.concatenate(parts).ordered()


def assert_same_regions(found, expected):
    for name in Regions.__dataclass_fields__:
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert mine.dtype == theirs.dtype, name
        assert np.array_equal(mine, theirs), name


def corners(ring):
    ring = np.array(ring)[:-1]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    return ring[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]


def polygons_of_rasterio(labels, known):
    """Return normalized WKB and label of each 4-connected polygon of valid pixels, without collinear vertices."""
    found = set()
    for geometry, label in rasterio.features.shapes(labels, mask=known, connectivity=4):
        shell, *holes = (corners(ring) for ring in geometry["coordinates"])
        found.add((shapely.normalize(shapely.Polygon(shell, holes)).wkb, int(label)))
    return found


def without_nodes(polygon):
    return shapely.Polygon(
        corners(polygon.exterior.coords), [corners(ring.coords) for ring in polygon.interiors]
    )


def polygons_of(regions):
    """Return normalized WKB and label of each region, without collinear vertices."""
    wkb = shapely.to_wkb(shapely.normalize([without_nodes(polygon) for polygon in regions.polygons()]))
    return set(zip(wkb.tolist(), regions.labels.tolist(), strict=True))


def shapes_of(found):
    """Return normalized WKB and class of each feature of a collection, without collinear vertices."""
    shapes = set()
    for feature in found:
        shell, *holes = (corners(ring) for ring in feature["geometry"]["coordinates"])
        polygon = shapely.Polygon(shell, holes)
        shapes.add((shapely.normalize(polygon).wkb, feature["properties"]["class"]))
    return shapes


def shapes_of_rasterio(labels, known):
    """Return the polygons of `polygons_of_rasterio` in the format of `shapes_of`."""
    return {(wkb, str(label)) for wkb, label in polygons_of_rasterio(labels, known)}
