"""Label maps that are sieved sheet by sheet."""

from __future__ import annotations

import numpy as np

from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.regions.sieve import LARGE, apply_sieve, sieve_seams, sieve_sheet
from terraseam.tiles.regions.trace import frame


def even(least):
    """Return a function for equal pixel sizes, such that a region needs `least` pixels to stay."""
    return lambda first: np.full(len(first), -(-LARGE // least), np.int64)


def by_sheets(labels, size, sizes, order=lambda keys: keys):
    framed, sheets = frame(labels), {}
    for row in range(0, labels.shape[0], size):
        for col in range(0, labels.shape[1], size):
            around = framed[row : row + size + 2, col : col + size + 2]
            sheets[row // size, col // size] = sieve_sheet(CodedLabels.plain(around), (row, col), sizes)
    keys = list(sheets)
    resolved = sieve_seams({keys[i]: sheets[keys[i]].summary for i in order(np.arange(len(keys)))}, sizes)
    found = np.zeros_like(labels)
    for (row, col), sheet in sheets.items():
        part = apply_sieve(sheet, resolved[row, col]).codes
        found[row * size :, col * size :][: part.shape[0], : part.shape[1]] = part
    return found
