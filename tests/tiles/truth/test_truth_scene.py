"""Chips of any scale: resampled pixels, labels, blocks that are withheld, and which chips are drawn."""

from dataclasses import astuple, replace

import numpy as np
import pytest
import rasterio
import shapely

from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.resample import resample
from terraseam.tiles.raster.source import RasterSource
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.blocks import Blocks, choose_blocks
from terraseam.tiles.truth.sampling import Sampler, SamplingRule, Site, grid_views
from terraseam.tiles.truth.scene import IGNORED, Scene, turned, turned_corner

HEIGHT, WIDTH = 61, 83


def georef_of(height=HEIGHT, width=WIDTH):
    return Georef("EPSG:32632", (0.5, 0, 500_000, 0, -0.5, 5_600_000), height, width)


class BrightTruth:
    """Labels each pixel of a view by the row it lies on: 1 in the lower half of the raster."""

    def labels(self, view):
        return np.repeat((view.rows >= HEIGHT / 2).astype(np.uint8)[:, None], view.width, axis=1)


@pytest.fixture
def scene(make_raster):
    path = make_raster(HEIGHT, WIDTH)
    return Scene("scene", RasterSource(str(path), (1, 2, 3), (7.0, 8.0, 9.0)), georef_of(), BrightTruth())


def read(path):
    with rasterio.open(path) as dataset:
        return np.moveaxis(dataset.read(), 0, -1)


@pytest.mark.parametrize(("factor", "row", "col"), [(2, 0, 0), (3, 5, 7), (8, 16, 8)])
def test_larger_pixels_are_means(factor, row, col):
    rng = np.random.default_rng(factor)
    pixels = rng.integers(0, 65535, (factor * 5 + 20, factor * 7 + 20, 2)).astype(np.uint16)
    made, known = resample(pixels, np.ones(pixels.shape[:2], bool), (row, factor, 5), (col, factor, 7))
    cut = pixels[row : row + 5 * factor, col : col + 7 * factor].astype(np.float64)
    np.testing.assert_allclose(made, cut.reshape(5, factor, 7, factor, 2).mean((1, 3)), rtol=1e-6)
    assert known.all()


def test_smaller_pixels_are_interpolated_between_centres():
    rows, cols = np.mgrid[0:9, 0:11]
    plane = (3.0 * rows + 5.0 * cols).astype(np.float32)[..., None]
    made, _ = resample(plane, np.ones((9, 11), bool), (2.0, 0.25, 12), (3.0, 0.5, 8))
    rows = 2.0 + (np.arange(12) + 0.5) * 0.25 - 0.5
    cols = 3.0 + (np.arange(8) + 0.5) * 0.5 - 0.5
    np.testing.assert_allclose(made[..., 0], 3 * rows[:, None] + 5 * cols, rtol=1e-5)


def test_a_fractional_mean_weighs_each_pixel_by_the_area_covered():
    line = np.arange(10, dtype=np.float32).reshape(1, 10, 1)
    made, _ = resample(line, np.ones((1, 10), bool), (0, 1, 1), (0.5, 2.5, 3))
    expected = [(0.5 * 0 + 1 + 2) / 2.5, (3 + 4 + 0.5 * 5) / 2.5, (0.5 * 5 + 6 + 7) / 2.5]
    np.testing.assert_allclose(made[0, :, 0], expected, rtol=1e-6)


def test_pixels_that_are_not_valid_take_no_part():
    pixels = np.full((4, 4, 1), 10.0, np.float32)
    pixels[0, 0], valid = 1e6, np.ones((4, 4), bool)
    valid[0, 0] = False
    valid[2:, 2:] = False
    made, known = resample(pixels, valid, (0, 2, 2), (0, 2, 2))
    assert made[0, 0, 0] == 10
    np.testing.assert_array_equal(known, [[True, True], [True, False]])


def test_a_view_at_the_scale_of_the_raster_is_the_raster(scene):
    chip = scene.chip(View(5, 9, 1, 1, 30, 40))
    np.testing.assert_array_equal(chip.pixels, read(scene.source.path)[5:35, 9:49])


def test_neighbouring_views_show_what_one_large_view_shows(scene):
    whole = scene.chip(View(0, 0, 1.7, 1.3, 32, 60))
    right = scene.chip(View(0, 20 * 1.3, 1.7, 1.3, 32, 40))
    np.testing.assert_allclose(right.pixels, whole.pixels[:, 20:], atol=1e-3)
    fine = scene.chip(View(4, 4, 0.4, 0.4, 40, 40))
    part = scene.chip(View(8, 12, 0.4, 0.4, 30, 20))
    np.testing.assert_allclose(part.pixels, fine.pixels[10:, 20:], atol=1e-3)


def test_beyond_the_raster_pixels_are_mirrored_and_labels_ignored(scene):
    chip = scene.chip(View(-6, -4, 1, 1, 20, 20))
    rows, cols = mirror_index(-6, 14, HEIGHT), mirror_index(-4, 16, WIDTH)
    np.testing.assert_array_equal(chip.pixels, read(scene.source.path)[np.ix_(rows, cols)])
    assert (chip.labels[:6] == IGNORED).all()
    assert (chip.labels[:, :4] == IGNORED).all()
    assert (chip.labels[6:, 4:] == 0).all()


def test_what_was_not_measured_is_fill_and_ignored(make_raster):
    pixels = np.full((20, 24, 3), 100, np.uint8)
    pixels[:10] = 0
    path = make_raster(pixels=pixels, nodata=0)
    source = RasterSource(str(path), (1, 2, 3), (7.0, 8.0, 9.0))
    chip = Scene("s", source, georef_of(20, 24), BrightTruth()).chip(View(0, 0, 2, 2, 10, 12))
    assert (chip.labels[:5] == IGNORED).all()
    assert (chip.labels[5:] != IGNORED).all()
    np.testing.assert_array_equal(chip.pixels[0, 0], [7, 8, 9])
    assert (chip.pixels[5:] == 100).all()


def test_hidden_blocks_show_neither_pixels_nor_labels(scene):
    blocks = Blocks(HEIGHT, WIDTH, np.eye(4, 6, dtype=bool))
    chip = scene.without(blocks).chip(View(0, 0, 1, 1, HEIGHT, WIDTH))
    rows, cols = np.arange(HEIGHT) * 4 // HEIGHT, np.arange(WIDTH) * 6 // WIDTH
    hidden = rows[:, None] == cols
    assert (chip.labels[hidden] == IGNORED).all()
    assert (chip.pixels[hidden] == [7, 8, 9]).all()
    np.testing.assert_array_equal(chip.pixels[~hidden], read(scene.source.path)[~hidden])


class LeftHalf:
    """The columns below 40."""

    def inside(self, view):
        return np.repeat((view.cols < 40)[None], view.height, axis=0)


def test_outside_the_area_labels_are_ignored_and_the_blind_see_nothing(scene):
    seeing, blind = (replace(scene, area=LeftHalf(), blind=blind) for blind in (False, True))
    view, pixels = View(0, 0, 1, 1, HEIGHT, WIDTH), read(scene.source.path)
    for one in (seeing, blind):
        labels = one.chip(view).labels
        assert (labels[:, 40:] == IGNORED).all()
        np.testing.assert_array_equal(labels[:, :40], scene.chip(view).labels[:, :40])
    np.testing.assert_array_equal(seeing.chip(view).pixels, pixels)
    np.testing.assert_array_equal(blind.chip(view).pixels[:, :40], pixels[:, :40])
    assert (blind.chip(view).pixels[:, 40:] == [7, 8, 9]).all()


def test_mirror_images_of_hidden_blocks_are_hidden_too(scene):
    """The last row of blocks is hidden: rows mirrored beyond the lower edge show it."""
    chosen = np.zeros((4, 6), bool)
    chosen[3] = True
    chip = scene.without(Blocks(HEIGHT, WIDTH, chosen)).chip(View(40, 0, 1, 1, 33, 10))
    assert (chip.pixels[6:] == [7, 8, 9]).all()
    assert not (chip.pixels[:6] == [7, 8, 9]).all(axis=-1).any()


def test_hidden_ground_has_no_influence_on_any_chip(make_raster):
    """Two rasters that differ in hidden ground alone give the same chips, at any scale, turn and place."""
    rng = np.random.default_rng(0)
    blocks = Blocks(HEIGHT, WIDTH, rng.random((7, 10)) < 0.3)
    quiet = rng.integers(40, 100, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    loud = np.where(blocks.inside(View(0, 0, 1, 1, HEIGHT, WIDTH))[..., None], np.uint8(255), quiet)
    one, other = (
        Scene(
            name,
            RasterSource(str(path), (1, 2, 3), (7.0, 8.0, 9.0)),
            georef_of(),
            BrightTruth(),
            None,
            blocks,
        )
        for name, path in (
            (name, make_raster(pixels=pixels, name=f"{name}.tif"))
            for name, pixels in (("quiet", quiet), ("loud", loud))
        )
    )
    drawn = Sampler([Site(georef_of(), Points({}), 0.5)], SamplingRule(24, 0.5, 0.0, (0.3, 3.0), 1.4), 0)
    draws = [drawn.draw(number) for number in range(300)]
    whole = View(-5.3, -7.8, 0.8, 0.7, 90, 140)  # what is mirrored beyond the edges, too
    for view, symmetry in [(whole, 0), *((draw.view, draw.symmetry) for draw in draws)]:
        shown, secret = (turned(astuple(scene.chip(view)), symmetry) for scene in (one, other))
        for pair in zip(shown, secret, strict=True):
            np.testing.assert_array_equal(*pair)
        seen = (secret[0] != [7, 8, 9]).any(axis=-1)
        assert seen.any() and secret[0][seen].min() >= 40 and secret[0].max() < 100


@pytest.mark.parametrize("size", [1, 2, 7])
def test_positions_fold_as_the_raster_is_mirrored(size):
    blocks = Blocks(size, 1, np.arange(size)[:, None] % 3 == 1)
    seen = blocks.inside(View(-30, 0, 1, 1, 70, 1))
    np.testing.assert_array_equal(seen, blocks.chosen[mirror_index(-30, 40, size)])


def test_blocks_are_chosen_by_seed_and_name_and_never_all():
    georef = georef_of(640, 960)
    blocks = choose_blocks(georef, 64, 0.2, 0, "a")
    assert blocks.chosen.shape == (10, 15)
    assert blocks.chosen.sum() == 30
    assert (choose_blocks(georef, 64, 0.2, 0, "a").chosen == blocks.chosen).all()
    assert (choose_blocks(georef, 64, 0.2, 1, "a").chosen != blocks.chosen).any()
    assert (choose_blocks(georef, 64, 0.2, 0, "b").chosen != blocks.chosen).any()
    assert choose_blocks(georef, 640, 0.9, 0, "a").chosen.sum() == 1
    with pytest.raises(ValueError, match="no more than one block of 1000 px; choose smaller blocks"):
        choose_blocks(georef, 1000, 0.2, 0, "a")


@pytest.mark.parametrize("side", [1023, 1024, 700, 513])
def test_no_block_is_larger_than_asked_for_or_much_smaller_than_the_others(side):
    """A raster that exceeds a block by a pixel has no block of that pixel."""
    heights, widths = set(), set()
    for seed in range(8):
        for box in choose_blocks(georef_of(1024, 1600), side, 0.9, seed, "a").boxes():
            left, top, right, bottom = box.bounds
            heights.add(bottom - top)
            widths.add(right - left)
    assert max(heights | widths) <= side
    assert max(heights) - min(heights) <= 1 and max(widths) - min(widths) <= 1


@pytest.mark.parametrize(("height", "width"), [(70, 150), (150, 70)])
def test_boxes_of_blocks_are_the_blocks(height, width):
    blocks = Blocks(height, width, np.eye(-(-height // 32), -(-width // 32), 1, dtype=bool))
    cols, rows = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    covered = np.any([shapely.contains_xy(box, cols, rows) for box in blocks.boxes()], axis=0)
    np.testing.assert_array_equal(covered, blocks.inside(View(0, 0, 1, 1, height, width)))
    assert shapely.union_all(blocks.boxes()).area == covered.sum()


def test_validation_blocks_are_chosen_where_the_area_is():
    georef = georef_of(640, 960)
    parts = np.array([shapely.box(64, 64, 192, 128), shapely.box(900, 600, 901, 601)])
    chosen = {
        tuple(map(int, place))
        for seed in range(30)
        for place in np.argwhere(choose_blocks(georef, 64, 0.4, seed, "a", parts).chosen)
    }
    assert chosen == {(1, 1), (1, 2), (9, 14)}
    with pytest.raises(ValueError, match="no more than one block of 64 px"):
        choose_blocks(georef, 64, 0.2, 0, "a", parts[1:])


@pytest.mark.parametrize("seed", range(20))
def test_the_share_set_apart_is_one_of_area(seed):
    """Off by no more than half the largest part of the area in a block, however its edge cuts the others."""
    rng = np.random.default_rng(seed)
    georef = georef_of(640, 960)
    corner = rng.uniform(0, 400, 2)
    parts = np.array([shapely.box(*corner, *(corner + rng.uniform(130, 240, 2)))])
    chosen = choose_blocks(georef, 64, 0.2, seed, "a", parts)
    held_out, largest = (
        shapely.area(shapely.intersection(boxes, parts[0]))
        for boxes in (chosen.boxes(), replace(chosen, chosen=np.ones((10, 15), bool)).boxes())
    )
    assert abs(held_out.sum() - 0.2 * parts[0].area) <= largest.max() / 2 + 1e-6


@pytest.mark.parametrize("symmetry", range(8))
def test_symmetries_turn_all_arrays_alike(symmetry):
    labels = np.arange(16, dtype=np.uint8).reshape(4, 4)
    pixels, turned_labels = turned((labels[..., None].repeat(3, -1), labels), symmetry)
    np.testing.assert_array_equal(pixels[..., 1], turned_labels)


@pytest.mark.parametrize("symmetry", range(8))
def test_masks_turn_with_their_chips(symmetry):
    chip, mask = np.zeros((11, 11), bool), np.arange(6).reshape(2, 3) > 1
    chip[3:5, 7:10] = mask
    whole, part = turned((chip, mask), symmetry)
    row, col = turned_corner(3, 7, mask.shape, 11, symmetry)
    placed = np.zeros_like(chip)
    placed[row : row + part.shape[0], col : col + part.shape[1]] = part
    np.testing.assert_array_equal(placed, whole)


def test_the_eight_symmetries_differ():
    labels = np.arange(16).reshape(4, 4)
    assert len({turned((labels,), number)[0].tobytes() for number in range(8)}) == 8


class Points:
    """Things at given points, by label."""

    def __init__(self, points):
        self.points = points

    def counts(self):
        return np.array([0, *(len(self.points[label]) for label in sorted(self.points))])

    def place(self, label, rng):
        return self.points[label][rng.integers(len(self.points[label]))]


def sampler(seed=0, **rule):
    sites = [
        Site(georef_of(500, 700), Points({1: [(100.0, 600.0)], 2: []}), 0.5),
        Site(georef_of(2000, 1400), Points({1: [(300.0, 300.0)] * 9, 2: [(1500.0, 900.0)]}), 0.5),
    ]
    return Sampler(sites, SamplingRule(**{"size": 64, "gsd": 1.0, **rule}), seed)


def test_a_number_always_draws_the_same_chip():
    one, other = sampler(instance_share=0.5, scales=(0.5, 2)), sampler(instance_share=0.5, scales=(0.5, 2))
    assert [one.draw(n) for n in range(50)] == [other.draw(n) for n in reversed(range(50))][::-1]
    assert sampler(seed=1).draw(3) != one.draw(3)


def test_chips_around_things_see_a_thing_and_classes_take_turns():
    draws = [sampler(instance_share=1.0).draw(number) for number in range(400)]
    points = {0: [(100, 600)], 1: [(300, 300), (1500, 900)]}
    seen = [
        [r for r, (row, col) in enumerate(points[d.site])
         if d.view.row <= row <= d.view.row_end and d.view.col <= col <= d.view.col_end]
        for d in draws
    ]  # fmt: skip
    assert all(seen)
    second = sum(d.site == 1 and places == [1] for d, places in zip(draws, seen, strict=True))
    assert 160 < second < 240


def test_rasters_are_drawn_by_the_root_of_their_size():
    for balance, share in ((0.0, 0.5), (0.5, 1 / (1 + np.sqrt(8))), (1.0, 1 / 9)):
        first = np.mean([sampler(instance_share=0.0, balance=balance).draw(n).site == 0 for n in range(2000)])
        assert abs(first - share) < 0.04


def test_chips_lie_on_the_parts_of_rasters_that_are_given():
    parts = np.array([shapely.box(100, 10, 110, 40), shapely.box(300, 200, 310, 210)])
    sites = [
        Site(georef_of(500, 700), Points({}), 0.5, parts),
        Site(georef_of(500, 700), Points({}), 0.5, parts[:0]),
        Site(georef_of(20, 20), Points({}), 0.5),
    ]
    drawn = Sampler(sites, SamplingRule(4, 0.5, balance=1.0), 0)
    draws = [drawn.draw(number) for number in range(800)]
    centres = np.array([(d.view.col + 2, d.view.row + 2) for d in draws if d.site == 0])
    first, second = (shapely.contains_xy(part, centres) for part in parts)
    assert (first | second).all() and 0.68 < first.mean() < 0.82
    assert {d.site for d in draws} == {0, 2} and 0.44 < len(centres) / 800 < 0.56


def test_views_lie_on_the_raster_at_the_scale_asked_for():
    draws = [sampler(scales=(0.5, 2.0), stretch=1.3).draw(number) for number in range(500)]
    for draw in draws:
        height, width = ((500, 700), (2000, 1400))[draw.site]
        assert draw.view.row >= 0
        assert draw.view.col >= 0
        assert draw.view.row_end <= height + 1e-6
        assert draw.view.col_end <= width + 1e-6
    steps = np.array([np.sqrt(d.view.row_step * d.view.col_step) for d in draws])
    assert steps.min() >= 0.999
    assert steps.max() <= 4.001
    assert steps.max() > 3.5
    assert steps.min() < 1.2
    ratios = [d.view.row_step / d.view.col_step for d in draws]
    assert 1.25 < max(ratios) <= 1.3 + 1e-9
    assert sampler().draw(0).view.row_step == 2.0


def test_a_chip_larger_than_its_raster_has_it_in_the_middle():
    site = Site(georef_of(50, 2000), Points({}), 0.5)
    view = Sampler([site], SamplingRule(64, 0.5, instance_share=0.0), 0).draw(0).view
    assert (view.row, view.row_end) == (-7, 57)
    assert view.col >= 0


def test_the_middles_of_grid_views_cover_each_pixel_once():
    georef = georef_of(130, 250)
    seen = np.zeros((130, 250), int)
    for view in grid_views(georef, 1.0, 32, 8):
        assert view.height == view.width == 48
        rows, cols = view.rows[8:-8].astype(int), view.cols[8:-8].astype(int)
        seen[np.ix_(rows[(rows >= 0) & (rows < 130)], cols[(cols >= 0) & (cols < 250)])] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ({"size": 0}, "a size and a GSD above 0"),
        ({"instance_share": 1.5}, "a share from 0 to 1, got 1.5"),
        ({"scales": (2, 1)}, "must rise from above 0"),
        ({"stretch": 0.5}, "stretch be 1 or more"),
    ],
)
def test_impossible_rules_are_refused(numbers, words):
    with pytest.raises(ValueError, match=words):
        SamplingRule(**{"size": 64, "gsd": 1.0, **numbers})
    with pytest.raises(ValueError, match="no raster to draw chips from"):
        Sampler([], SamplingRule(64, 1.0), 0)
    with pytest.raises(ValueError, match="no raster to draw chips from"):
        Sampler([Site(georef_of(), Points({}), 0.5, np.array([], object))], SamplingRule(64, 1.0), 0)
    with pytest.raises(ValueError, match="0 x 3 px"):
        View(0, 0, 1, 1, 0, 3)
    with pytest.raises(ValueError, match="pixel has a size"):
        View(0, 0, 0, 1, 3, 3)
