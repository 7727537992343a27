"""Label maps of arbitrary integers, stored as small codes that a table translates.

Tracing and sieving label maps work on codes, which need only as many bits as there are labels. A table holds the
labels of one piece of a raster, so memory is bounded by the piece, however many labels the raster has. Codes have the
order of their labels, so that comparisons do not depend on how the raster was cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from terraseam.tiles.labels.stitch import NODATA

MOST = 1 << 60
"""The largest label; the smallest is -MOST."""

NOTHING = np.iinfo(np.int64).min
"""The entry of a table for a code that stands for no label."""

PLAIN = np.append(np.arange(NODATA), NOTHING)
"""The table of uint8 label maps, whose codes are the labels themselves."""
PLAIN.flags.writeable = False

FEW_CODES = 8
"""Most codes that are counted one after another."""

_TYPES = (np.uint8, np.uint16, np.uint32)


@dataclass(frozen=True, slots=True, eq=False)
class CodedLabels:
    """A label map, or a part of one.

    Attributes:
        codes: uint8, uint16 or uint32, any shape; `NODATA` where not valid.
        table: The label of each code, int64, shape ``(codes,)``, 256 or more; in ascending order, except for
            `NOTHING` at `NODATA` and after the last label.
    """

    codes: np.ndarray
    table: np.ndarray

    def __post_init__(self) -> None:
        if self.codes.dtype not in _TYPES:
            raise ValueError(f"codes must be unsigned integers of up to 32 bits, got {self.codes.dtype}")
        if len(self.table) <= NODATA or self.table[NODATA] != NOTHING:
            raise ValueError(f"a table has no label at {NODATA}, got one of {len(self.table)} codes")

    @staticmethod
    def plain(labels: np.ndarray) -> CodedLabels:
        """Wrap a uint8 label map, `NODATA` where not valid, unchanged."""
        return CodedLabels(labels, PLAIN)

    @staticmethod
    def encode(labels: np.ndarray, known: np.ndarray) -> CodedLabels:
        """Encode labels.

        Args:
            labels: Integers of any type, -`MOST` to `MOST` where `known`.
            known: Whether each pixel is valid, bool, same shape.
        """
        there = labels[known].astype(np.int64, copy=False)
        # Labels come in runs: sort only one label of each run.
        starts = np.flatnonzero(np.append(True, there[1:] != there[:-1])[: len(there)])
        distinct, place = np.unique(there[starts], return_inverse=True)
        table = _table(distinct)
        codes = np.full(labels.shape, NODATA, _code_type(table))
        codes[known] = np.repeat(_code_of(table, distinct)[place], np.diff(np.append(starts, len(there))))
        return CodedLabels(codes, table)

    @property
    def labels(self) -> np.ndarray:
        """The labels, int64, `NOTHING` where not valid."""
        return self.table[self.codes]

    def counts(self) -> np.ndarray:
        """Return the number of pixels of each code, int64, shape ``(codes,)``."""
        codes = self.codes
        if codes.dtype == np.uint8 and codes.size:
            # Comparing with a code takes a fifteenth of bincount's time, as no pixel is widened. `NODATA` + 1 is 0.
            used = int((codes + np.uint8(1)).max())
            if used <= FEW_CODES:
                counts = np.zeros(len(self.table), np.int64)
                counts[:used] = [np.count_nonzero(codes == code) for code in range(used)]
                counts[NODATA] = codes.size - counts.sum()
                return counts
        return np.bincount(codes.ravel(), minlength=len(self.table))

    def part(self, rows: slice, cols: slice) -> CodedLabels:
        """Return some rows and columns, as a view."""
        return CodedLabels(self.codes[rows, cols], self.table)

    def inner(self, depth: int) -> CodedLabels:
        """Return all but the outermost `depth` pixels on each side, as a view."""
        height, width = self.codes.shape
        return self.part(slice(depth, height - depth), slice(depth, width - depth))

    def compact(self) -> CodedLabels:
        """Return a copy whose table holds only the labels that occur."""
        if _is_plain(self.table):
            return CodedLabels(self.codes.copy(), PLAIN)
        distinct = self.table[np.setdiff1d(self.codes, [NODATA])]
        return _translated(self, _table(distinct))


def merge_tables(maps: Sequence[CodedLabels]) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the codes of several label maps in one shared table, and that table."""
    if all(_is_plain(label_map.table) for label_map in maps):
        return [label_map.codes for label_map in maps], PLAIN
    tables = [label_map.table[label_map.table != NOTHING] for label_map in maps]
    table = _table(np.unique(np.concatenate(tables)))
    return [_translated(label_map, table).codes for label_map in maps], table


def _is_plain(table: np.ndarray) -> bool:
    return table is PLAIN or np.array_equal(table, PLAIN)


def _table(distinct: np.ndarray) -> np.ndarray:
    """Build the table of labels in ascending order: that of uint8 if it contains them all."""
    if not len(distinct) or (distinct[0] >= 0 and distinct[-1] < NODATA):
        return PLAIN
    table = np.full(max(len(distinct), NODATA) + 1, NOTHING)
    table[_codes(len(distinct))] = distinct
    return table


def _codes(count: int) -> np.ndarray:
    """Return the first `count` codes that may stand for labels."""
    codes = np.arange(count)
    return codes + (codes >= NODATA)


def _code_of(table: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the codes of labels that are in a table."""
    distinct = table[table != NOTHING]
    return _codes(len(distinct))[np.searchsorted(distinct, labels)].astype(_code_type(table))


def _code_type(table: np.ndarray) -> type[np.unsignedinteger]:
    return next(kind for kind in _TYPES if len(table) <= np.iinfo(kind).max + 1)


def _translated(label_map: CodedLabels, table: np.ndarray) -> CodedLabels:
    """Translate labels to the codes of another table; labels that it lacks must not occur."""
    shared = np.flatnonzero(np.isin(label_map.table, table[table != NOTHING]))
    new = np.full(len(label_map.table), NODATA, _code_type(table))
    new[shared] = _code_of(table, label_map.table[shared])
    return CodedLabels(new[label_map.codes], table)
