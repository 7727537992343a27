"""Degrees as JSON, beside orjson."""

import numpy as np
import orjson
import pytest

from terraseam.tiles.features import degree_texts
from terraseam.tiles.features.degree_texts import polygons_as_json, rows_as_json

NUMPY = orjson.OPT_SERIALIZE_NUMPY


def degrees_of_all_kinds(decimals=7):
    """Zero, the first steps of both signs, whole and half degrees, ends of the range, and many in between."""
    one = 10**decimals
    rng = np.random.default_rng(0)
    units = np.concatenate(
        [
            np.arange(-200_000, 200_001),
            np.arange(-180, 181) * one,
            np.arange(-1800, 1801) * (one // 10),
            np.outer([1, 5, 25, 99], 10 ** np.arange(12)).ravel(),
            *(rng.integers(-18 * 10**exponent, 18 * 10**exponent, 20_000) for exponent in range(3, 14)),
            np.array(
                [10**8 - 1, 10**8, 10**9 - 1, 10**9, 1_800_000_000, -1_800_000_000, 10**15 - 1, 1 - 10**15]
            ),
        ]
    )
    return np.round(units / 10**decimals, decimals) + 0.0


@pytest.mark.parametrize(
    ("columns", "decimals"), [(1, 7), (2, 7), (4, 7), (2, 8), (2, 9), (2, 10), (2, 11), (2, 12)]
)
def test_degrees_are_written_as_orjson_writes_them(columns, decimals):
    degrees = degrees_of_all_kinds(decimals)
    rows = degrees[: len(degrees) // columns * columns].reshape(-1, columns)
    assert b"[" + b",".join(rows_as_json(rows, decimals)) + b"]" == orjson.dumps(rows, option=NUMPY)


@pytest.mark.parametrize(("batch", "decimals"), [(1, 7), (50, 7), (1 << 15, 7), (50, 9), (50, 12)])
def test_polygons_are_written_as_orjson_writes_them(batch, decimals, monkeypatch):
    monkeypatch.setattr(degree_texts, "_BATCH", batch)
    rng = np.random.default_rng(batch)
    ring_offsets = np.concatenate([[0], np.cumsum(rng.integers(4, 30, 90))])
    region_offsets = np.array([0, 1, 2, 5, 30, 31, 77, 90])
    degrees = np.round(rng.uniform(-180, 180, (ring_offsets[-1], 2)), decimals)
    rings = np.split(degrees, ring_offsets[1:-1])
    for chosen in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 3], [4], []):
        polygons = [rings[region_offsets[i] : region_offsets[i + 1]] for i in chosen]
        found = polygons_as_json(degrees, ring_offsets, region_offsets, np.array(chosen, np.int64), decimals)
        assert found == [orjson.dumps(polygon, option=NUMPY) for polygon in polygons]


def test_no_rows_give_no_texts():
    assert rows_as_json(np.zeros((0, 4))) == []


@pytest.mark.parametrize("wrong", [1e8, -1e8, np.inf, np.nan])
def test_numbers_without_room_are_refused(wrong):
    degrees = np.array([[1.0, 2.0], [3.0, wrong]])
    with pytest.raises(ValueError, match="numbers of 7 decimals are written up to 100,000,000, got"):
        rows_as_json(degrees)
    with pytest.raises(ValueError, match="numbers of 7 decimals are written up to 100,000,000, got"):
        polygons_as_json(degrees, np.array([0, 2]), np.array([0, 1]), np.array([0]))


def test_numbers_of_more_decimals_have_room_for_fewer_digits():
    with pytest.raises(ValueError, match="numbers of 12 decimals are written up to 1,000, got 0 to 1000"):
        rows_as_json(np.array([[1000.0]]), 12)
    with pytest.raises(ValueError, match="degrees have 7 to 12 decimals, got 13"):
        rows_as_json(np.array([[1.0]]), 13)
