"""Serialize the data that stages exchange in files: only numbers, checked on reading."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from terraseam.tiles.arrays import ArraysError, Form, pack_arrays, unpack_arrays
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref
from terraseam.tiles.instances.links import Link
from terraseam.tiles.instances.paint import Patch
from terraseam.tiles.instances.suppress import Candidate, Overlap
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.seams import Homes, SeamSummary
from terraseam.tiles.regions.sieve import Patches, SheetSieve, SieveSummary

_CODES = "u1,u2,u4"
_LINES = ("top", "bottom", "left", "right")
_PAIRS: Form = ("i8", None, 2)
_TRIPLES: Form = ("i8", None, 3)
_NUMBERS: Form = ("i8", None)
_BYTES: Form = ("u1", None)


def as_bytes(array: np.ndarray) -> bytes:
    """Return the bytes in an array of `byte_array`."""
    return array.tobytes()


def byte_array(content: bytes) -> np.ndarray:
    """Return bytes as an array, without copying them."""
    return np.frombuffer(content, np.uint8)


def pack_parts(kind: str, parts: Mapping[str, bytes], metadata: Any = None) -> bytes:
    """Serialize byte strings by name, with metadata that can be stored as JSON."""
    return pack_arrays(kind, {name: byte_array(part) for name, part in parts.items()}, metadata)


def unpack_parts(kind: str, packed: bytes, names: Iterable[str]) -> tuple[dict[str, bytes], Any]:
    """Deserialize what `pack_parts` packed.

    Raises:
        ArraysError: If it is damaged.
    """
    arrays, metadata = unpack_arrays(kind, packed, dict.fromkeys(names, _BYTES))
    return {name: as_bytes(array) for name, array in arrays.items()}, metadata


_SUMMARY: dict[str, Form] = {
    "labels": ("i8,u1,u2,u4", None),
    "first": _PAIRS,
    "groups": _PAIRS,
    **dict.fromkeys(_LINES, ("i4", None, 2)),
}


def pack_summary(summary: SeamSummary) -> bytes:
    """Serialize the summary of a sheet's seams."""
    return pack_arrays("summary", {name: getattr(summary, name) for name in _SUMMARY})


def unpack_summary(packed: bytes) -> SeamSummary:
    """Deserialize what `pack_summary` packed.

    Raises:
        ArraysError: If it is damaged.
    """
    arrays, _ = unpack_arrays("summary", packed, _SUMMARY)
    count = len(arrays["labels"])
    _check(all(len(arrays[name]) == count for name in ("first", "groups")), "fragments of seams")
    for name in _LINES:
        lengths, fragments = arrays[name].T
        _check(bool((lengths > 0).all() and (fragments >= -1).all() and (fragments < count).all()), name)
    return SeamSummary(**arrays)


def pack_sent(fragments: Fragments, homes: Homes) -> bytes:
    """Serialize the fragments of a sheet and the regions they belong to."""
    arrays = {"fragments": byte_array(fragments.to_bytes()), "regions": homes.regions, "groups": homes.groups}
    return pack_arrays("sent fragments", arrays)


def unpack_sent(packed: bytes) -> tuple[Fragments, Homes]:
    """Deserialize what `pack_sent` packed.

    Raises:
        ArraysError: If it is damaged.
    """
    forms: dict[str, Form] = {"fragments": _BYTES, "regions": _PAIRS, "groups": _PAIRS}
    arrays, _ = unpack_arrays("sent fragments", packed, forms)
    fragments = Fragments.from_bytes(as_bytes(arrays["fragments"]))
    homes = Homes(arrays["regions"], arrays["groups"])
    _check(len(fragments) == len(homes.regions) == len(homes.groups), "homes of fragments")
    return fragments, homes


def pack_labels(labels: CodedLabels) -> bytes:
    """Serialize a label map."""
    return pack_arrays("labels", {"codes": labels.codes, "table": labels.table})


def unpack_labels(packed: bytes) -> CodedLabels:
    """Deserialize the label map that `pack_labels` packed.

    Raises:
        ArraysError: If it is damaged.
    """
    arrays, _ = unpack_arrays("labels", packed, {"codes": (_CODES, None, None), "table": _NUMBERS})
    return _coded(arrays)


_PATCHES: dict[str, Form] = {
    "labels": _NUMBERS,
    "pixels": _NUMBERS,
    "first": _PAIRS,
    "pairs": _TRIPLES,
    "borders": _TRIPLES,
}


def pack_sieve(sieve: SheetSieve) -> bytes:
    """Serialize a sheet some of whose small regions are not resolved yet."""
    patches, lines = sieve.summary.patches, sieve.summary.lines
    arrays = {
        "codes": sieve.labels.codes,
        "table": sieve.labels.table,
        "numbers": sieve.numbers,
        **{f"patch_{name}": getattr(patches, name) for name in _PATCHES},
        **dict(zip(_LINES, lines, strict=True)),
    }
    return pack_arrays("sieve", arrays)


def unpack_sieve(packed: bytes) -> SheetSieve:
    """Deserialize the sheet that `pack_sieve` packed.

    Raises:
        ArraysError: If it is damaged.
    """
    forms: dict[str, Form] = {
        "codes": (_CODES, None, None),
        "table": _NUMBERS,
        "numbers": ("i4", None, None),
        **{f"patch_{name}": form for name, form in _PATCHES.items()},
        **dict.fromkeys(_LINES, _TRIPLES),
    }
    arrays, _ = unpack_arrays("sieve", packed, forms)
    patches = Patches(**{name: arrays[f"patch_{name}"] for name in _PATCHES})
    count, numbers = len(patches.labels), arrays["numbers"]
    _check(numbers.shape == arrays["codes"].shape, "patches of pixels")
    _check(not numbers.size or (numbers.min() >= 0 and numbers.max() <= count), "numbers of patches")
    summary = SieveSummary(patches, [arrays[name] for name in _LINES])
    return SheetSieve(_coded(arrays), numbers, summary)


def pack_overlaps(overlaps: Sequence[Overlap]) -> bytes:
    """Serialize overlaps of instances."""
    rows = [(*_row(overlap.first), *_row(overlap.second), overlap.pixels) for overlap in overlaps]
    return pack_arrays("overlaps", {"table": np.array(rows, np.int64).reshape(-1, _OVERLAP_COLUMNS)})


def unpack_overlaps(packed: bytes) -> list[Overlap]:
    """Deserialize the overlaps that `pack_overlaps` packed.

    Raises:
        ArraysError: If they are damaged.
    """
    arrays, _ = unpack_arrays("overlaps", packed, {"table": ("i8", None, _OVERLAP_COLUMNS)})
    table = arrays["table"]
    _check(_are_windows(table[:, 7:11]) and _are_windows(table[:, 18:22]), "windows of overlaps")
    return [Overlap(_candidate(row[:11]), _candidate(row[11:22]), row[22]) for row in table.tolist()]


_PATCH_COLUMNS, _OVERLAP_COLUMNS = 16, 23


def _row(candidate: Candidate) -> tuple[int, ...]:
    return (*candidate.ref, *candidate.rank, candidate.pixels, *_corners(candidate.bounds))


def _candidate(row: list[int]) -> Candidate:
    return Candidate(Ref(*row[:3]), (row[3], row[4], row[5]), row[6], Window(*row[7:]))


def _corners(window: Window) -> tuple[int, int, int, int]:
    return window.row_off, window.col_off, window.height, window.width


def _are_windows(table: np.ndarray) -> bool:
    """Check that rows of a table are windows: row, column, height and width, the last two above 0."""
    return bool((table[:, 2:] > 0).all() and (table < 1 << 31).all())


def pack_links(links: Sequence[Link]) -> bytes:
    """Serialize links of instances."""
    arrays = {
        "refs": np.array([(*link.first, *link.second) for link in links], np.int64).reshape(-1, 6),
        "agreement": np.array([link.agreement for link in links], np.float64),
        "flags": np.array([(link.matched, *link.whole) for link in links], bool).reshape(-1, 3),
    }
    return pack_arrays("links", arrays)


def unpack_links(packed: bytes) -> list[Link]:
    """Deserialize the links that `pack_links` packed.

    Raises:
        ArraysError: If they are damaged.
    """
    forms: dict[str, Form] = {"refs": ("i8", None, 6), "agreement": ("f8", None), "flags": ("b1", None, 3)}
    arrays, _ = unpack_arrays("links", packed, forms)
    _check(len({len(array) for array in arrays.values()}) == 1, "links")
    rows = zip(*(array.tolist() for array in arrays.values()), strict=True)
    return [
        Link(Ref(*refs[:3]), Ref(*refs[3:]), share, matched, (first, second))
        for refs, share, (matched, first, second) in rows
    ]


def pack_patches(patches: Iterable[Patch]) -> bytes:
    """Serialize patches: all numbers of each as a row of a table, and the bits of all."""
    rows, bits = [], []
    for patch in patches:
        whole = (*patch.ref, patch.pixels, *_corners(patch.bounds))
        rows.append((*patch.rank, patch.label, *_corners(patch.window), *whole))
        bits.append(patch.bits)
    table = np.array(rows, np.int64).reshape(-1, _PATCH_COLUMNS)
    return pack_arrays("patches", {"table": table, "bits": byte_array(b"".join(bits))})


def unpack_patches(packed: bytes) -> list[Patch]:
    """Deserialize the patches that `pack_patches` packed.

    Raises:
        ArraysError: If they are damaged.
    """
    arrays, _ = unpack_arrays("patches", packed, {"table": ("i8", None, _PATCH_COLUMNS), "bits": _BYTES})
    table, bits = arrays["table"], as_bytes(arrays["bits"])
    _check(_are_windows(table[:, 4:8]) and _are_windows(table[:, 12:]), "windows of patches")
    ends = np.cumsum((table[:, 6] * table[:, 7] + 7) // 8).tolist()
    _check((ends[-1] if ends else 0) == len(bits), "bits of patches")
    return [
        Patch(
            (row[0], row[1], row[2]),
            row[3],
            Window(*row[4:8]),
            bits[start:end],
            Ref(*row[8:11]),
            row[11],
            Window(*row[12:]),
        )
        for row, start, end in zip(table.tolist(), [0, *ends], ends, strict=False)
    ]


def _coded(arrays: dict[str, np.ndarray]) -> CodedLabels:
    codes, table = arrays["codes"], arrays["table"]
    _check(not codes.size or int(codes.max()) < len(table), "codes of labels")
    try:
        return CodedLabels(codes, table)
    except ValueError as error:
        raise ArraysError(str(error)) from error


def _check(right: Any, what: str) -> None:
    if not right:
        raise ArraysError(f"the {what} do not go together")
