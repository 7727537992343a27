import numpy as np
import pytest

from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.grid.window import Window, hull

SHAPES = [(1, 1), (1, 100), (37, 53), (64, 64), (65, 127), (200, 3)]


def lattices(sheet_cores=2):
    return [Lattice(h, w, core, Halo(3, 5, 0, 8), sheet_cores) for h, w in SHAPES for core in (16, 64)]


@pytest.mark.parametrize("lattice", lattices(), ids=str)
def test_cores_cover_each_pixel_once(lattice):
    seen = np.zeros((lattice.height, lattice.width), int)
    rows, cols = lattice.shape
    for row in range(rows):
        for col in range(cols):
            seen[lattice.core_window(row, col).within(lattice.raster)] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("sheet_cores", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES)
def test_sheets_group_whole_cores_and_cover_each_pixel_once(shape, sheet_cores):
    lattice = Lattice(*shape, 16, Halo(0, 0, 0, 0), sheet_cores)
    seen = np.zeros(shape, int)
    for sheet in lattice.sheets():
        window = lattice.sheet_window(*sheet)
        inside = np.zeros(shape, int)
        for tile in lattice.sheet_tiles(*sheet):
            inside[lattice.core_window(*tile).within(lattice.raster)] += 1
        seen += inside
        assert inside[window.within(lattice.raster)].all()
        assert inside.sum() == window.pixels
    assert (seen == 1).all()


def test_read_windows_have_one_shape_and_start_a_halo_before_the_core():
    lattice = Lattice(100, 70, 32, Halo(8, 16, 24, 32), 2)
    rows, cols = lattice.shape
    for row in range(rows):
        for col in range(cols):
            read, core = lattice.read_window(row, col), lattice.core_window(row, col)
            assert read.shape == lattice.chip_shape == (56, 88)
            assert (core.row_off - read.row_off, core.col_off - read.col_off) == (8, 24)


@pytest.mark.parametrize("cut", [8, 24, 32, 50])
@pytest.mark.parametrize("shape", [(1, 1), (7, 65), (64, 33), (100, 70), (96, 32), (97, 129)])
def test_cut_chips_hold_their_core_rounded_up_and_the_halo(shape, cut):
    lattice, halo = Lattice(*shape, 32, Halo(8, 16, 24, 32), 2, cut), Halo(8, 16, 24, 32)
    full = Lattice(*shape, 32, halo, 2)
    rows, cols = lattice.shape
    for row in range(rows):
        for col in range(cols):
            read, core = lattice.read_window(row, col), lattice.core_window(row, col)
            uncut = full.read_window(row, col)
            assert (read.row_off, read.col_off) == (uncut.row_off, uncut.col_off)
            assert read.height == min(32, -(-core.height // cut) * cut) + 24
            assert read.width == min(32, -(-core.width // cut) * cut) + 56
            assert read.pixels <= lattice.read_window(0, 0).pixels
            core.within(read)
    assert lattice.chip_shape == lattice.read_window(0, 0).shape


@pytest.mark.parametrize("cut", [None, 8, 24])
@pytest.mark.parametrize("shape", [(1, 1), (7, 65), (64, 33), (100, 70), (96, 200)])
def test_computed_pixels_are_those_of_the_read_windows(shape, cut):
    lattice = Lattice(*shape, 32, Halo(8, 16, 24, 32), 2, cut)
    rows, cols = lattice.shape
    tiles = [(row, col) for row in range(rows) for col in range(cols)]
    assert lattice.computed_pixels == sum(lattice.read_window(*tile).pixels for tile in tiles)
    for sheet in lattice.sheets():
        inside = [lattice.read_window(*tile).pixels for tile in lattice.sheet_tiles(*sheet)]
        assert lattice.sheet_computed_pixels(*sheet) == sum(inside)


def test_a_lattice_cuts_in_steps_of_a_pixel_or_more():
    with pytest.raises(ValueError, match="cut must be 1 or more, got 0"):
        Lattice(100, 70, 32, Halo(0, 0, 0, 0), 2, 0)


@pytest.mark.parametrize("cut", [None, 8])
@pytest.mark.parametrize("ring", [0, 1])
def test_a_sheets_read_window_holds_those_of_its_tiles(ring, cut):
    lattice = Lattice(300, 170, 32, Halo(8, 16, 24, 32), 2, cut)
    for sheet in lattice.sheets():
        outer = lattice.sheet_read_window(*sheet, ring)
        for tile in lattice.sheet_tiles(*sheet, ring):
            lattice.read_window(*tile).within(outer)


def test_a_ring_adds_the_tiles_of_neighbouring_sheets_inside_the_raster():
    lattice = Lattice(6 * 16, 6 * 16, 16, Halo(0, 0, 0, 0), 2)
    assert len(lattice.sheet_tiles(1, 1, ring=1)) == 16
    assert len(lattice.sheet_tiles(0, 0, ring=1)) == 9
    assert len(lattice.sheet_tiles(0, 0)) == 4


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50])
def test_mirror_equals_numpy_pad(size):
    axis = np.arange(size)
    want = np.pad(axis, 40, mode="reflect") if size > 1 else np.zeros(81, int)
    assert (axis[mirror_index(-40, size + 40, size)] == want).all()


def test_halos_are_rounded_up_to_whole_strides_and_compared_side_by_side():
    assert Halo(0, 1, 16, 17).rounded_up(16) == Halo(0, 16, 16, 32)
    assert Halo(5, 5, 5, 5).covers(Halo(5, 4, 3, 0))
    assert not Halo(9, 9, 9, 4).covers(Halo(5, 5, 5, 5))
    with pytest.raises(ValueError, match="0 px or more on each side"):
        Halo(0, 0, -1, 0)


def test_windows_intersect_and_contain():
    a, b = Window(-2, 3, 10, 5), Window(4, 0, 9, 6)
    assert a.intersection(b) == Window(4, 3, 4, 3)
    assert a.intersection(Window(8, 3, 1, 1)) is None
    assert hull(a, b) == Window(-2, 0, 15, 8)
    assert Window(4, 3, 4, 3).within(a) == (slice(6, 10), slice(0, 3))
    with pytest.raises(ValueError, match="is not inside"):
        b.within(a)
    with pytest.raises(ValueError, match="at least one pixel"):
        Window(0, 0, 0, 4)
    assert str(a) == "rows -2-7, columns 3-7"


def test_tiles_and_sheets_outside_the_raster_are_refused():
    lattice = Lattice(100, 70, 32, Halo(0, 0, 0, 0), 2)
    with pytest.raises(ValueError, match=r"tile \(4, 0\) is outside the 4 x 3"):
        lattice.core_window(4, 0)
    with pytest.raises(ValueError, match=r"sheet \(0, 2\) is outside the 2 x 2"):
        lattice.sheet_window(0, 2)


def test_every_tile_belongs_to_the_sheet_that_lists_it():
    lattice = Lattice(333, 211, 32, Halo(16, 16, 16, 16), 3)
    for sheet in lattice.sheets():
        assert {lattice.sheet_of(tile) for tile in lattice.sheet_tiles(*sheet)} == {sheet}
