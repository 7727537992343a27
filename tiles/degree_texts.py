"""Degrees of 7 decimals as JSON, many at once: the digits that orjson would write, without a Python object a number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numba import njit

from tiles.dateline import DECIMALS
from tiles.regions import ragged_runs, ragged_take

_UNITS = 10**DECIMALS
_BATCH = 1 << 15
"""Vertices that are written at once: few enough to stay in a processor's cache."""
_LARGEST = 10**8
_LONGEST = len("-12345678.1234567")
_DIGITS = np.array([list(b"%04d" % number) for number in range(10_000)], np.uint8)
_MINUS, _POINT, _ZERO, _COMMA, _E, _OPEN, _CLOSE = b"-.0,e[]"


def rows_as_json(degrees: np.ndarray) -> list[bytes]:
    """Each row as a JSON array.

    Args:
        degrees: Finite numbers of at most 7 decimals, smaller than 100 million, float64, shape ``(rows, columns)``.

    Raises:
        ValueError: If a number is larger.
    """
    _check(degrees)
    text = np.empty(len(degrees) * _room(degrees), np.uint8)
    ends = np.zeros(len(degrees) + 1, np.int64)
    _write_all(text, ends, degrees)
    return _cut(text, ends)


def polygons_as_json(
    degrees: np.ndarray, ring_offsets: np.ndarray, region_offsets: np.ndarray, chosen: np.ndarray
) -> list[bytes]:
    """Coordinates of polygons as JSON: arrays of rings, which are arrays of vertices.

    Args:
        degrees: Vertices of all rings, as in `rows_as_json`, shape ``(vertices, 2)``.
        ring_offsets: First vertex of each ring and the end of the last, shape ``(rings + 1,)``.
        region_offsets: First ring of each region and the end of the last, shape ``(regions + 1,)``.
        chosen: Which regions, integers of shape ``(n,)``.

    Raises:
        ValueError: If a number is larger than in `rows_as_json`.
    """
    _check(degrees)
    rings, first_rings = ragged_take(region_offsets, chosen)
    first_vertices = np.concatenate([[0], np.cumsum(np.diff(ring_offsets)[rings])])[first_rings]
    found = []
    for start, end in ragged_runs(first_vertices, _BATCH):
        ends = np.zeros(end - start + 1, np.int64)
        brackets = 3 * (first_rings[end] - first_rings[start]) + 2 * (end - start)
        room = (first_vertices[end] - first_vertices[start]) * _room(degrees) + brackets
        text = np.empty(room, np.uint8)
        _write_polygons(text, ends, (degrees, ring_offsets, region_offsets), chosen[start:end])
        found += _cut(text, ends)
    return found


def _check(degrees: np.ndarray) -> None:
    """Check that every number has room where it is written."""
    low, high = degrees.min(initial=0.0), degrees.max(initial=0.0)
    if not (low > -_LARGEST and high < _LARGEST):
        raise ValueError(f"numbers are written up to 100 million, got {low:g} to {high:g}")


def _room(degrees: np.ndarray) -> int:
    """The most bytes that a row takes, with a comma behind it."""
    return degrees.shape[1] * (_LONGEST + 1) + 2


def _cut(text: np.ndarray, ends: np.ndarray) -> list[bytes]:
    whole, places = text[: ends[-1]].tobytes(), ends.tolist()
    return [whole[start:end] for start, end in pairwise(places)]


@njit(cache=True, nogil=True)
def _write_all(text, ends, rows):  # type: ignore[no-untyped-def]
    """Write rows to `text`, and where each ends to ``ends[1:]``."""
    n = 0
    for i in range(len(rows)):
        n = _write_row(text, n, rows[i])
        ends[i + 1] = n


@njit(cache=True, nogil=True)
def _write_polygons(text, ends, polygons, chosen):  # type: ignore[no-untyped-def]
    """Write polygons to `text`, and where each ends to ``ends[1:]``."""
    degrees, ring_offsets, region_offsets = polygons
    n = 0
    for i in range(len(chosen)):
        first, end = region_offsets[chosen[i]], region_offsets[chosen[i] + 1]
        for ring in range(first, end):
            text[n], n = _COMMA if ring > first else _OPEN, n + 1
            for vertex in range(ring_offsets[ring], ring_offsets[ring + 1]):
                text[n] = _COMMA if vertex > ring_offsets[ring] else _OPEN
                n = _write_row(text, n + 1, degrees[vertex])
            text[n], n = _CLOSE, n + 1
        text[n], n = _CLOSE, n + 1
        ends[i + 1] = n


@njit(cache=True, nogil=True)
def _write_row(text, n, row):  # type: ignore[no-untyped-def]
    """Write a row behind the first `n` bytes of a text; where it ends."""
    text[n] = _OPEN
    for i in range(len(row)):
        if i:
            text[n] = _COMMA
        n = _write_degrees(text, n + 1, row[i])
    text[n] = _CLOSE
    return n + 1


@njit(cache=True, nogil=True)
def _write_degrees(text, n, degrees):  # type: ignore[no-untyped-def]
    """Write a number behind the first `n` bytes of a text; where it ends."""
    units = round(degrees * _UNITS)
    if units < 0:
        text[n], n, units = _MINUS, n + 1, -units
    if 0 < units < _UNITS // 10**5:
        return _write_tiny(text, n, units)
    upper, lower = units // 10**4, units % 10**4
    whole, upper = upper // 10**3, upper % 10**3
    n = _write_whole(text, n, whole)
    text[n] = _POINT
    for i in range(3):
        text[n + 1 + i] = _DIGITS[upper, i + 1]
    for i in range(4):
        text[n + 4 + i] = _DIGITS[lower, i]
    least, n = n + 2, n + 1 + DECIMALS
    while n > least and text[n - 1] == _ZERO:
        n -= 1
    return n


@njit(cache=True, nogil=True)
def _write_whole(text, n, whole):  # type: ignore[no-untyped-def]
    """Write a whole number below 100 million behind the first `n` bytes of a text; where it ends."""
    upper, lower = whole // 10**4, whole % 10**4
    if not upper:
        return _write_short(text, n, lower)
    n = _write_short(text, n, upper)
    for i in range(4):
        text[n + i] = _DIGITS[lower, i]
    return n + 4


@njit(cache=True, nogil=True)
def _write_short(text, n, number):  # type: ignore[no-untyped-def]
    """Write a whole number below 10,000; where it ends."""
    if number >= 1000:
        text[n], n = _DIGITS[number, 0], n + 1
    if number >= 100:
        text[n], n = _DIGITS[number, 1], n + 1
    if number >= 10:
        text[n], n = _DIGITS[number, 2], n + 1
    text[n] = _DIGITS[number, 3]
    return n + 1


@njit(cache=True, nogil=True)
def _write_tiny(text, n, units):  # type: ignore[no-untyped-def]
    """Write a number below 1e-5 with an exponent; where it ends."""
    exponent = DECIMALS
    if units >= 10:
        exponent = DECIMALS - 1
        text[n], n = _ZERO + units // 10, n + 1
        if units % 10:
            text[n], n = _POINT, n + 1
    if units % 10:
        text[n], n = _ZERO + units % 10, n + 1
    text[n], text[n + 1], text[n + 2] = _E, _MINUS, _ZERO + exponent
    return n + 3
