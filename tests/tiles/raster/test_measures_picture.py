"""Pictures: what is written is what was given, and nothing is left beside it."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import rasterio

from terraseam.tiles.raster.picture import as_rgb, outlines, overlay, sheet_of_chips, write_png


def read(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path) as image:
            assert image.driver == "PNG"
            return np.moveaxis(image.read(), 0, -1)


def random_rgb(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_png_read_back_is_what_was_written_and_stands_alone_without_a_warning(tmp_path):
    rgb = random_rgb(37, 53)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(tmp_path / "new" / "a.png", rgb)
        write_png(tmp_path / "new" / "a.png", rgb[:, :5])
    assert np.array_equal(read(tmp_path / "new" / "a.png"), rgb[:, :5])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)]
)
def test_only_pictures_are_written(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"a picture is uint8 \(height, width, 3\)"):
        write_png(tmp_path / "a.png", wrong)


def test_bytes_are_shown_as_they_are_and_other_types_stretched():
    rgb = random_rgb(9, 11)
    assert np.array_equal(as_rgb(np.concatenate([rgb, rgb], axis=2)), rgb)
    assert np.array_equal(as_rgb(rgb[..., :1]), np.repeat(rgb[..., :1], 3, axis=2))
    ramp = np.linspace(100, 5000, 101, dtype=np.float32).reshape(1, 101, 1)
    ramp[0, 50] = np.nan
    shown = as_rgb(ramp)[0, :, 0]
    assert shown[0] == shown[1] == 0 and shown[-1] == shown[-2] == 255 and shown[50] == 0
    assert np.all(np.diff(shown[3:50].astype(int)) >= 0)
    assert not as_rgb(np.full((2, 2, 3), np.nan)).any()
    assert not as_rgb(np.full((2, 2, 1), 7, np.uint16)).any()


def test_an_overlay_mixes_marks_where_classes_meet_and_darkens_what_has_no_label():
    rgb = np.full((6, 9, 3), 100, np.uint8)
    labels = np.zeros((6, 9), np.uint8)
    labels[1:, 3:] = 1
    labels[:, 8] = 255
    over = overlay(rgb, labels, {0: None, 1: (200, 0, 40)}, strength=0.25)
    assert (over[:, :3] == 100).all() and (over[0, :8] == 100).all(), "background stays"
    assert (over[3, 5] == (125, 75, 85)).all(), "inside, a quarter of the colour"
    assert (over[3, 3] == (200, 0, 40)).all() and (over[1, 5] == (200, 0, 40)).all(), "its outline is opaque"
    assert (over[:, 8] == 45).all(), "no label: darkened"
    assert (rgb == 100).all(), "the picture that was given is left alone"


def test_outlines_are_the_pixels_with_a_neighbour_of_another_label():
    labels = np.random.default_rng(3).integers(0, 3, (13, 17), dtype=np.uint8)
    found = outlines(labels)
    for row in range(13):
        for col in range(17):
            near = [(row - 1, col), (row + 1, col), (row, col - 1), (row, col + 1)]
            near = [labels[r, c] for r, c in near if 0 <= r < 13 and 0 <= c < 17]
            assert found[row, col] == any(label != labels[row, col] for label in near)


def test_a_sheet_holds_each_chip_unchanged_in_its_row_and_column():
    rows = [[random_rgb(5, 7), random_rgb(9, 3, 1)], [random_rgb(4, 6, 2)], []]
    sheet = sheet_of_chips(rows, gap=2, paper=(1, 2, 3))
    assert sheet.shape == (9 + 4 + 0 + 8, 7 + 3 + 6, 3)
    assert np.array_equal(sheet[2:7, 2:9], rows[0][0])
    assert np.array_equal(sheet[2:11, 11:14], rows[0][1])
    assert np.array_equal(sheet[13:17, 2:8], rows[1][0])
    covered = 5 * 7 + 9 * 3 + 4 * 6
    assert (sheet == (1, 2, 3)).all(axis=2).sum() == sheet.shape[0] * sheet.shape[1] - covered
    with pytest.raises(ValueError, match="at least one chip"):
        sheet_of_chips([[], []])
