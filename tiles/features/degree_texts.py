"""Format degrees with 7 to 12 decimals as JSON, many at once: the same digits as orjson, without Python objects."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from terraseam.tiles.compiled import njit
from terraseam.tiles.features.decimals import LEAST, MOST
from terraseam.tiles.regions.regions import ragged_runs, ragged_take

_BATCH = 1 << 15
"""Vertices that are written at once: few enough to stay in the processor's cache."""
_LARGEST = 10**8
"""Upper bound of numbers with 7 decimals: as integers in units of the last decimal, float64 holds them exactly."""
_LONGEST = len("-12345678.") + LEAST
_DIGITS = np.array([list(b"%04d" % number) for number in range(10_000)], np.uint8)
_MINUS, _POINT, _ZERO, _COMMA, _E, _OPEN, _CLOSE = b"-.0,e[]"


def rows_as_json(degrees: np.ndarray, decimals: int = LEAST) -> list[bytes]:
    """Format each row as a JSON array.

    Args:
        degrees: Finite numbers with at most `decimals` decimals, float64, shape ``(rows, columns)``. With 7 decimals
            they are below 100 million, and ten times less with every further decimal.
        decimals: 7 to 12.

    Raises:
        ValueError: If a number is larger.
    """
    _check(degrees, decimals)
    text = np.empty(len(degrees) * _room(degrees), np.uint8)
    ends = np.zeros(len(degrees) + 1, np.int64)
    _write_all(text, ends, degrees, decimals)
    return _cut(text, ends)


def polygons_as_json(
    degrees: np.ndarray,
    ring_offsets: np.ndarray,
    region_offsets: np.ndarray,
    chosen: np.ndarray,
    decimals: int = LEAST,
) -> list[bytes]:
    """Format the coordinates of polygons as JSON: arrays of rings, which are arrays of vertices.

    Args:
        degrees: Vertices of all rings, as in `rows_as_json`, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        region_offsets: First ring of each region and the end of the last, shape ``(regions + 1,)``.
        chosen: Indices of the regions, integers of shape ``(n,)``.
        decimals: 7 to 12.

    Raises:
        ValueError: If a number is larger than in `rows_as_json`.
    """
    _check(degrees, decimals)
    rings, first_rings = ragged_take(region_offsets, chosen)
    first_vertices = np.concatenate([[0], np.cumsum(np.diff(ring_offsets)[rings])])[first_rings]
    texts = []
    for start, end in ragged_runs(first_vertices, _BATCH):
        ends = np.zeros(end - start + 1, np.int64)
        brackets = 3 * (first_rings[end] - first_rings[start]) + 2 * (end - start)
        room = (first_vertices[end] - first_vertices[start]) * _room(degrees) + brackets
        text = np.empty(room, np.uint8)
        _write_polygons(text, ends, (degrees, ring_offsets, region_offsets), chosen[start:end], decimals)
        texts += _cut(text, ends)
    return texts


def _check(degrees: np.ndarray, decimals: int) -> None:
    """Check that every number fits into the space reserved for it."""
    if not LEAST <= decimals <= MOST:
        raise ValueError(f"degrees have {LEAST} to {MOST} decimals, got {decimals}")
    largest = _LARGEST // 10 ** (decimals - LEAST)
    low, high = degrees.min(initial=0.0), degrees.max(initial=0.0)
    if not (low > -largest and high < largest):
        raise ValueError(
            f"numbers of {decimals} decimals are written up to {largest:,}, got {low:g} to {high:g}"
        )


def _room(degrees: np.ndarray) -> int:
    """Return the largest number of bytes that a row takes, with a comma after it."""
    return degrees.shape[1] * (_LONGEST + 1) + 2


def _cut(text: np.ndarray, ends: np.ndarray) -> list[bytes]:
    whole, places = text[: ends[-1]].tobytes(), ends.tolist()
    return [whole[start:end] for start, end in pairwise(places)]


@njit(cache=True, nogil=True)
def _write_all(text, ends, rows, decimals):  # type: ignore[no-untyped-def]
    """Write rows to `text`, and the end of each to ``ends[1:]``."""
    n, scale = 0, 10**decimals
    for i in range(len(rows)):
        n = _write_row(text, n, rows[i], decimals, scale)
        ends[i + 1] = n


@njit(cache=True, nogil=True)
def _write_polygons(text, ends, polygons, chosen, decimals):  # type: ignore[no-untyped-def]
    """Write polygons to `text`, and the end of each to ``ends[1:]``."""
    degrees, ring_offsets, region_offsets = polygons
    n, scale = 0, 10**decimals
    for i in range(len(chosen)):
        first, end = region_offsets[chosen[i]], region_offsets[chosen[i] + 1]
        for ring in range(first, end):
            text[n], n = _COMMA if ring > first else _OPEN, n + 1
            for vertex in range(ring_offsets[ring], ring_offsets[ring + 1]):
                text[n] = _COMMA if vertex > ring_offsets[ring] else _OPEN
                n = _write_row(text, n + 1, degrees[vertex], decimals, scale)
            text[n], n = _CLOSE, n + 1
        text[n], n = _CLOSE, n + 1
        ends[i + 1] = n


@njit(cache=True, nogil=True)
def _write_row(text, n, row, decimals, scale):  # type: ignore[no-untyped-def]
    """Write a row after the first `n` bytes of a text, and return its end."""
    text[n] = _OPEN
    for i in range(len(row)):
        if i:
            text[n] = _COMMA
        n = _write_degrees(text, n + 1, row[i], decimals, scale)
    text[n] = _CLOSE
    return n + 1


@njit(cache=True, nogil=True)
def _write_degrees(text, n, degrees, decimals, scale):  # type: ignore[no-untyped-def]
    """Write a number after the first `n` bytes of a text, and return its end."""
    units = round(degrees * scale)
    if units < 0:
        text[n], n, units = _MINUS, n + 1, -units
    if 0 < units < scale // 10**5:
        return _write_tiny(text, n, units, decimals)
    whole, part = units // scale, units % scale
    n = _write_whole(text, n, whole)
    text[n] = _POINT
    least, n = n + 2, n + 1 + decimals
    _write_decimals(text, n, part, decimals)
    while n > least and text[n - 1] == _ZERO:
        n -= 1
    return n


@njit(cache=True, nogil=True)
def _write_decimals(text, end, part, decimals):  # type: ignore[no-untyped-def]
    """Write `decimals` digits that end before `end`, four at a time, the first group only as far as needed."""
    while decimals > 0:
        part, four = part // 10**4, part % 10**4
        for i in range(min(decimals, 4)):
            text[end - 1 - i] = _DIGITS[four, 3 - i]
        end, decimals = end - 4, decimals - 4


@njit(cache=True, nogil=True)
def _write_whole(text, n, whole):  # type: ignore[no-untyped-def]
    """Write an integer below 100 million after the first `n` bytes of a text, and return its end."""
    upper, lower = whole // 10**4, whole % 10**4
    if not upper:
        return _write_short(text, n, lower)
    n = _write_short(text, n, upper)
    for i in range(4):
        text[n + i] = _DIGITS[lower, i]
    return n + 4


@njit(cache=True, nogil=True)
def _write_short(text, n, number):  # type: ignore[no-untyped-def]
    """Write an integer below 10,000, and return its end."""
    if number >= 1000:
        text[n], n = _DIGITS[number, 0], n + 1
    if number >= 100:
        text[n], n = _DIGITS[number, 1], n + 1
    if number >= 10:
        text[n], n = _DIGITS[number, 2], n + 1
    text[n] = _DIGITS[number, 3]
    return n + 1


@njit(cache=True, nogil=True)
def _write_tiny(text, n, units, decimals):  # type: ignore[no-untyped-def]
    """Write a number below 1e-5 with an exponent, and return its end."""
    while units % 10 == 0:
        units, decimals = units // 10, decimals - 1
    first, digits = units, 0
    while first >= 10:
        first, digits = first // 10, digits + 1
    text[n], n = _ZERO + first, n + 1
    if digits:
        text[n], n = _POINT, n + 1
        for i in range(digits):
            text[n + digits - 1 - i], units = _ZERO + units % 10, units // 10
        n += digits
    exponent = decimals - digits
    text[n], text[n + 1], n = _E, _MINUS, n + 2
    return _write_short(text, n, exponent)
