"""What polygons say of a view: by GDAL, by shapely, and by themselves in another way."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import rasterio.features
import shapely
from truth_cases import SMALL, as_file, blobs, in_crs

from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.polygons import PolygonClasses, PolygonTruth
from terraseam.tiles.truth.scene import IGNORED
from terraseam.tiles.vectors.area import TrustedArea, area_of
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import read_polygons

CLASSES = PolygonClasses(4)


def truth(georef, seed=0, count=30, classes=CLASSES):
    polygons = blobs(georef, count, seed)
    labels = np.random.default_rng(seed).choice([1, 2, 3, IGNORED], count, p=[0.4, 0.3, 0.2, 0.1])
    return PolygonTruth(polygons, labels, classes, (georef.height, georef.width))


def random_view(georef, seed):
    rng = np.random.default_rng(seed)
    steps = np.exp(rng.uniform(-1.5, 1.5, 2))
    corner = rng.uniform(-30, [georef.height, georef.width])
    return View(*corner, *steps, *(int(side) for side in rng.integers(1, 90, 2)))


@pytest.mark.parametrize("seed", range(8))
def test_the_whole_raster_equals_gdals_rasterize(seed):
    georef = SMALL["utm"]
    drawn = truth(georef, seed)
    shapes = list(zip(drawn.polygons, drawn.labels_of.tolist(), strict=True))
    expected = rasterio.features.rasterize(shapes, out_shape=(georef.height, georef.width), dtype="uint8")
    labels = drawn.labels(View(0, 0, 1, 1, georef.height, georef.width))
    assert np.array_equal(labels, expected) and labels.dtype == np.uint8


@pytest.mark.parametrize("seed", range(5))
def test_views_at_the_rasters_scale_are_cut_out_of_the_whole(seed):
    georef = SMALL["utm"]
    drawn = truth(georef, seed)
    whole, ids = (draw(View(0, 0, 1, 1, georef.height, georef.width)) for draw in (drawn.labels, drawn.ids))
    rng = np.random.default_rng(seed)
    for _ in range(20):
        row, col = int(rng.integers(0, 200)), int(rng.integers(0, 300))
        view = View(row, col, 1, 1, 77, 101)
        assert np.array_equal(drawn.labels(view), whole[row : row + 77, col : col + 101])
        assert np.array_equal(drawn.ids(view), ids[row : row + 77, col : col + 101])


@pytest.mark.parametrize("seed", range(20))
def test_at_any_scale_a_pixel_is_what_its_centre_lies_in(seed):
    georef = SMALL["utm"]
    drawn, view = truth(georef, seed % 3), random_view(georef, seed)
    cols, rows = (axis.ravel() for axis in np.meshgrid(view.cols, view.rows))
    expected = np.zeros(len(rows), np.uint8)
    ids = np.zeros(len(rows), np.int32)
    for number, (polygon, label) in enumerate(zip(drawn.polygons, drawn.labels_of, strict=True)):
        inside = shapely.contains_xy(polygon, cols, rows)
        expected[inside], ids[inside] = label, number + 1
    assert np.array_equal(drawn.labels(view).ravel(), expected)
    assert np.array_equal(drawn.ids(view).ravel(), ids)


@pytest.mark.parametrize("seed", range(20))
def test_things_burnt_one_by_one_are_the_labels(seed):
    georef = SMALL["utm"]
    drawn, view = truth(georef, seed % 3), random_view(georef, seed)
    drawn.labels_of[drawn.labels_of == IGNORED] = 3
    labels, ids = np.zeros((view.height, view.width), np.uint8), np.zeros((view.height, view.width), np.int32)
    for thing in drawn.instances(view, min_pixels=1):
        height, width = thing.mask.shape
        where = np.s_[thing.row : thing.row + height, thing.col : thing.col + width]
        assert thing.mask.any(axis=0)[[0, -1]].all() and thing.mask.any(axis=1)[[0, -1]].all()
        labels[where][thing.mask], ids[where][thing.mask] = thing.label, thing.number + 1
    assert np.array_equal(labels, drawn.labels(view)) and np.array_equal(ids, drawn.ids(view))


@pytest.mark.parametrize("seed", range(10))
def test_things_are_whole_where_a_larger_view_shows_no_more_of_them(seed):
    georef = SMALL["utm"]
    drawn, view = truth(georef, seed, 60), View(40.25, 60.75, 1.5, 2, 71, 82)
    larger = View(view.row - 300, view.col - 400, 1.5, 2, 471, 482)
    all_of_it = {thing.number: np.count_nonzero(thing.mask) for thing in drawn.instances(larger, 1)}
    found = drawn.instances(view, 1)
    assert found and len({thing.whole for thing in found}) == 2
    for thing in found:
        # A thing whose outline but not whose pixels hang over the edge may count as cut.
        if np.count_nonzero(thing.mask) < all_of_it[thing.number]:
            assert not thing.whole
        height, width = thing.mask.shape
        inner = thing.row > 1 and thing.col > 1
        if inner and thing.row + height < view.height - 1 and thing.col + width < view.width - 1:
            assert thing.whole


def test_small_things_and_those_of_unknown_class_are_left_out():
    boxes = [shapely.box(2, 2, 6, 6), shapely.box(10, 2, 15, 5), shapely.box(20, 2, 30, 12)]
    drawn = PolygonTruth(np.array(boxes), [1, 2, IGNORED], CLASSES)
    view = View(0, 0, 1, 1, 20, 40)
    assert [thing.label for thing in drawn.instances(view)] == [1]
    assert [thing.label for thing in drawn.instances(view, 15)] == [1, 2]
    assert drawn.counts().tolist() == [0, 1, 1, 0]
    assert (drawn.labels(view) == IGNORED).sum() == 100


def test_polygons_of_the_background_are_no_things():
    boxes = np.array([shapely.box(2, 2, 12, 8), shapely.box(20, 2, 30, 12)])
    drawn = PolygonTruth(boxes, [0, 1], CLASSES, (20, 40))
    view = View(0, 0, 1, 1, 20, 40)
    assert [(thing.label, thing.number) for thing in drawn.instances(view)] == [(1, 1)]
    assert drawn.counts().tolist() == [0, 1, 0, 0]
    assert drawn.labels(view).sum() == 100


def test_of_polygons_that_share_an_edge_each_pixel_has_one():
    """Also where centres lie on the edge, and at scales where they do so everywhere."""
    mesh = np.array([shapely.box(c, r, c + 6, r + 4) for r in range(0, 40, 4) for c in range(0, 60, 6)])
    each = PolygonTruth(mesh, np.ones(len(mesh)), CLASSES)
    for step in (1, 2, 4, 0.5, 3):
        view = View(0, 0, step, step, int(40 / step), int(60 / step))
        assert each.labels(view).all()
        assert (
            sum(np.count_nonzero(thing.mask) for thing in each.instances(view, 1)) == view.height * view.width
        )


@pytest.mark.parametrize("background", [0, 3, IGNORED])
def test_what_no_polygon_covers_is_background(background):
    drawn = PolygonTruth(np.array([shapely.box(0, 0, 3, 3)]), [1], PolygonClasses(4, background))
    assert drawn.labels(View(-1, -1, 1, 1, 5, 5))[0, 0] == background
    nothing = PolygonTruth(np.zeros(0, object), [], PolygonClasses(4, background))
    view = View(0, 0, 1, 1, 3, 5)
    assert (nothing.labels(view) == background).all() and not nothing.ids(view).any()
    assert nothing.instances(view) == [] and not nothing.counts().any()


def test_later_polygons_lie_on_top():
    boxes = np.array([shapely.box(0, 0, 4, 4), shapely.box(2, 2, 6, 6)])
    view = View(0, 0, 1, 1, 6, 6)
    assert PolygonTruth(boxes, [1, 2], CLASSES).labels(view)[3, 3] == 2
    assert PolygonTruth(boxes, [2, 1], CLASSES).labels(view)[3, 3] == 1


def test_places_are_random_points_of_things_on_the_raster():
    georef = SMALL["utm"]
    drawn = truth(georef, 4)
    drawn.polygons[0] = shapely.Polygon([(-50, -50), (30, 1), (1, 30)])
    drawn = PolygonTruth(drawn.polygons, drawn.labels_of, CLASSES, (georef.height, georef.width))
    rng = np.random.default_rng(0)
    raster = shapely.box(0, 0, georef.width, georef.height)
    seen = np.flatnonzero(shapely.area(shapely.intersection(drawn.polygons, raster)) > 0)
    for number in seen:
        points = [drawn.centre(int(number), rng) for _ in range(10)]
        inside = [shapely.Point(col, row).within(drawn.polygons[number]) for row, col in points]
        assert all(inside) and len(set(points)) > 1
        assert all(0 <= row <= georef.height and 0 <= col <= georef.width for row, col in points)
    for label in (1, 2, 3):
        row, col = drawn.place(label, rng)
        owners = drawn.labels_of[shapely.contains_xy(drawn.polygons, col, row)]
        assert label in owners
    with pytest.raises(ValueError, match="no polygon has the label 0"):
        drawn.place(0, rng)


def test_places_are_inside_the_area():
    boxes = np.array([shapely.box(0, 0, 40, 40), shapely.box(50, 50, 60, 60), shapely.box(4, 4, 6, 6)])
    area = TrustedArea(np.array([shapely.box(3, 2, 9, 12), shapely.box(5, 2, 10, 12)]))
    drawn = PolygonTruth(boxes, [1, 2, 1], CLASSES, (80, 90), area)
    assert drawn.counts().tolist() == [0, 2, 0, 0]
    rng = np.random.default_rng(0)
    rows, cols = np.transpose([drawn.place(1, rng) for _ in range(200)])
    assert 2 <= rows.min() < 3 and 11 < rows.max() <= 12 and 3 <= cols.min() < 4 and 9 < cols.max() <= 10
    again = pickle.loads(pickle.dumps(drawn))
    assert again.counts().tolist() == [0, 2, 0, 0]
    with pytest.raises(ValueError, match="no polygon has the label 2"):
        drawn.place(2, rng)


def test_a_thing_that_is_inside_the_area_beyond_the_raster_alone_has_no_place():
    boxes = np.array([shapely.box(80, 30, 112, 45), shapely.box(80, 30, 112, 90)])
    area = TrustedArea(
        np.array([shapely.box(0, 0, 20, 60), shapely.box(95, 55, 120, 80), shapely.box(100, 20, 120, 40)])
    )
    drawn = PolygonTruth(boxes, [1, 2], CLASSES, (60, 100), area)
    assert drawn.counts().tolist() == [0, 0, 1, 0]
    with pytest.raises(ValueError, match="no polygon has the label 1"):
        drawn.place(1, np.random.default_rng(0))
    for seed in range(40):
        row, col = drawn.place(2, np.random.default_rng(seed))
        assert 55 <= row <= 60 and 95 <= col <= 100


def test_a_thin_thing_still_has_a_place():
    sliver = shapely.Polygon([(0, 0), (100, 100), (100, 100.001)])
    drawn = PolygonTruth(np.array([sliver]), [1], CLASSES, (200, 200))
    row, col = drawn.place(1, np.random.default_rng(0))
    assert shapely.Point(col, row).distance(sliver) < 1e-9


def polygon_truth(file, georef, labels, classes) -> PolygonTruth:
    """The polygons of a file that overlap a raster, as its truth."""
    placed = polygons_to_pixels(file, georef)
    return PolygonTruth(placed.polygons, labels[placed.numbers], classes, (georef.height, georef.width))


@pytest.mark.parametrize("name", SMALL)
def test_labels_of_a_file_in_degrees_are_those_of_its_polygons(name):
    georef = SMALL[name]
    polygons = blobs(georef, corners=30)
    file = as_file(in_crs(polygons, georef, "EPSG:4326"), "EPSG:4326")
    view = View(0, 0, 1, 1, georef.height, georef.width)
    labels = 1 + np.arange(len(polygons)) % 3
    found = polygon_truth(file, georef, labels, CLASSES).labels(view)
    expected = PolygonTruth(polygons, labels, CLASSES).labels(view)
    if name == "from_greenwich":
        cut = np.s_[:, 45:-45]  # things on its edges appear on both of them
        found, expected = found[cut], expected[cut]
    assert (found != expected).mean() < 2e-3 and expected.any()


@pytest.mark.parametrize("seed", range(5))
def test_an_area_holds_the_pixels_whose_centre_lies_in_it(seed):
    georef = SMALL["rotated"]
    polygons = blobs(georef, 12, seed)
    file = as_file(shapely.transform(polygons, georef.to_map), georef.crs)
    area = area_of(file, georef)
    view = random_view(georef, seed) if seed else View(0, 0, 1, 1, georef.height, georef.width)
    cols, rows = np.meshgrid(view.cols, view.rows)
    kept = polygons_to_pixels(file, georef).polygons
    expected = shapely.contains_xy(shapely.union_all(kept), cols, rows)
    assert np.array_equal(area.inside(view), expected)


def test_an_area_elsewhere_holds_nothing():
    file = as_file([shapely.box(100, 10, 101, 11)], "EPSG:4326")
    assert not area_of(file, SMALL["utm"]).inside(View(0, 0, 4, 4, 60, 70)).any()


def test_truth_can_be_sent_to_another_process():
    drawn, view = truth(SMALL["utm"]), View(10, 10, 2, 2, 60, 60)
    again = pickle.loads(pickle.dumps(drawn))
    assert np.array_equal(again.labels(view), drawn.labels(view)) and again.classes == drawn.classes


def test_polygons_need_as_many_labels():
    with pytest.raises(ValueError, match="1 polygons need as many labels, got 2"):
        PolygonTruth(np.array([shapely.box(0, 0, 1, 1)]), [1, 2], CLASSES)


@pytest.mark.slow
def test_real_buildings_are_drawn_as_gdal_draws_them(data_folder):
    for path in sorted((data_folder / "buildings").glob("*/*.geojson")):
        with rasterio.open(path.with_suffix(".tif")) as dataset:
            shape, transform, crs = dataset.shape, dataset.transform, dataset.crs
        georef = type(SMALL["utm"])(crs.to_wkt(), tuple(transform)[:6], *shape)
        file = read_polygons(str(path))
        drawn = polygon_truth(file, georef, np.ones(len(file.polygons)), PolygonClasses(2))
        assert len(drawn) == len(file.polygons)
        moved = rasterio.warp.transform_geom(
            "EPSG:4326", crs, list(map(shapely.geometry.mapping, file.polygons))
        )
        expected = rasterio.features.rasterize(moved, out_shape=shape, transform=transform)
        assert np.count_nonzero(drawn.labels(View(0, 0, 1, 1, *shape)) != expected) <= 2
