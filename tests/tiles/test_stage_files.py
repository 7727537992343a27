"""What stages leave for one another in files, and for later runs: numbers alone, checked, and nothing that is run."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from label_maps import keeping, random_labels, random_scores, trace_sheets
from places import ROOT
from vectorize_cases import patches, vectorize, write_labels

from terraseam.pipeline.vectorize.feature_files import FeatureRecord
from terraseam.pipeline.vectorize.trace_cache import CachedParts, InstanceFeatures, ResolvedPatches
from terraseam.tiles import stage_files
from terraseam.tiles.arrays import ArraysError, pack_arrays, unpack_arrays
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref
from terraseam.tiles.instances.links import Link
from terraseam.tiles.instances.paint import Patch
from terraseam.tiles.instances.suppress import Candidate, Overlap
from terraseam.tiles.labels.label_codes import CodedLabels
from terraseam.tiles.regions.fragments import Fragments
from terraseam.tiles.regions.seams import merge_seams
from terraseam.tiles.regions.sieve import sieve_sheet
from terraseam.tiles.regions.trace import frame


def traced(seed=6):
    labels = random_labels(seed)
    traces = trace_sheets(labels, random_scores(labels, seed), 9, keeping())
    homes = merge_seams({key: trace.summary for key, trace in traces.items()})
    return [(trace.fragments, homes[key], trace.summary) for key, trace in traces.items()]


def sieved():
    labels = frame(random_labels(3))
    return sieve_sheet(CodedLabels.plain(labels), (0, 0), lambda first: np.full(len(first), 1 << 30))


PATCHES = [
    Patch(
        (200, -3, -4),
        2,
        Window(3, 4, 3, 5),
        np.packbits(np.eye(3, 5, dtype=bool)).tobytes(),
        Ref(0, 1, 2),
        7,
        Window(3, 4, 5, 5),
    ),
    Patch((9, -1, 0), 1, Window(1, 0, 1, 1), b"\x80", Ref(0, 0, 3), 1, Window(1, 0, 1, 1)),
]
LINKS = [
    Link(Ref(0, 1, 2), Ref(0, 2, 0), 1 / 3, True, (False, True)),
    Link(Ref(1, 1, 1), Ref(2, 2, 2), 1.0, False, (True, True)),
]
RECORD = FeatureRecord("", 3, 2, 0.1 + 0.2, {"roof, \u00e4": 2}, {"roof, \u00e4": 1e-17})


FRAGMENTS, HOMES, SUMMARY = max(traced(), key=lambda one: len(one[0].parts.ring_offsets))
MADE = CachedParts(RECORD, b"features", b"fragments", SUMMARY)
SETTLED = ResolvedPatches({(0, 1): PATCHES, (2, 0): []})
FEATURES = InstanceFeatures({3: MADE, 4: CachedParts(None, b"")})
CANDIDATES = [
    Candidate(Ref(0, 1, 2), (200, -3, -4), 7, Window(3, 4, 5, 5)),
    Candidate(Ref(2, 0, 1), (9, 0, -1), 6, Window(0, 1, 9, 6)),
]
OVERLAPS = [Overlap(*CANDIDATES, 5)]
KINDS = {
    "sent": ((FRAGMENTS, HOMES), lambda pair: stage_files.pack_sent(*pair), stage_files.unpack_sent),
    "fragments": (FRAGMENTS, Fragments.to_bytes, Fragments.from_bytes),
    "summary": (SUMMARY, stage_files.pack_summary, stage_files.unpack_summary),
    "labels": (CodedLabels.plain(random_labels(1)), stage_files.pack_labels, stage_files.unpack_labels),
    "sieve": (sieved(), stage_files.pack_sieve, stage_files.unpack_sieve),
    "links": (LINKS, stage_files.pack_links, stage_files.unpack_links),
    "no links": ([], stage_files.pack_links, stage_files.unpack_links),
    "patches": (PATCHES, stage_files.pack_patches, stage_files.unpack_patches),
    "made": (MADE, CachedParts.to_bytes, CachedParts.from_bytes),
    "settled": (SETTLED, ResolvedPatches.to_bytes, ResolvedPatches.from_bytes),
    "described": (FEATURES, InstanceFeatures.to_bytes, InstanceFeatures.from_bytes),
    "overlaps": (OVERLAPS, stage_files.pack_overlaps, stage_files.unpack_overlaps),
}


def plain(value):
    """Anything as nested lists, so that it can be compared."""
    if isinstance(value, np.ndarray):
        return [value.dtype.str, value.shape, value.tolist()]
    if isinstance(value, dict):
        return [[plain(key), plain(one)] for key, one in value.items()]
    if isinstance(value, (tuple, list)):
        return [plain(one) for one in value]
    fields = getattr(value, "__dataclass_fields__", None)
    return value if fields is None else [plain(getattr(value, name)) for name in fields]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_is_what_was_written(kind):
    value, pack, read = KINDS[kind]
    assert plain(read(pack(value))) == plain(value)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_something_else_are_an_error_and_nothing_is_run(kind, tmp_path):
    value, pack, read = KINDS[kind]
    packed = pack(value)
    others = [
        pack_one(other)
        for name, (other, pack_one, _) in KINDS.items()
        if name.split()[-1] != kind.split()[-1]
    ]
    for wrong in (
        b"",
        packed[:-1],
        packed[: len(packed) // 2],
        packed + b"x",
        planted(tmp_path / "ran"),
        *others,
    ):
        with pytest.raises(ArraysError):
            read(wrong)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["summary", "sieve", "patches", "overlaps", "fragments"])
def test_numbers_that_do_not_go_together_are_an_error(kind):
    wrong = {
        "summary": lambda: pack_arrays(
            "summary", {**arrays_of(SUMMARY), "top": np.array([[9, len(SUMMARY.labels)]], "i4")}
        ),
        "sieve": lambda: stage_files.pack_sieve(replace(sieved(), numbers=sieved().numbers + 1_000_000)),
        "patches": lambda: stage_files.pack_patches([PATCHES[0]._replace(bits=b"\x80")]),
        "overlaps": lambda: pack_arrays("overlaps", {"table": np.zeros((1, 23), np.int64)}),
        "fragments": lambda: with_rings_reversed(FRAGMENTS),
    }
    with pytest.raises(ArraysError):
        KINDS[kind][2](wrong[kind]())


def arrays_of(summary):
    return {name: getattr(summary, name) for name in type(summary).__dataclass_fields__}


def with_rings_reversed(fragments):
    parts = fragments.parts
    offsets = parts.ring_offsets.copy()
    offsets[1], offsets[2] = offsets[2], offsets[1]
    return replace(fragments, parts=replace(parts, ring_offsets=offsets)).to_bytes()


def test_arrays_have_the_types_and_shapes_that_their_reader_names():
    packed = pack_arrays("points", {"at": np.zeros((4, 2), np.int64)})
    assert unpack_arrays("points", packed, {"at": ("i8", None, 2)})[0]["at"].flags.writeable
    for form in (("i8", None, 3), ("i8", None), ("i4", None, 2), ("O", None, 2)):
        with pytest.raises(ArraysError, match=re.escape("at of points cannot be int64 of shape (4, 2)")):
            unpack_arrays("points", packed, {"at": form})
    with pytest.raises(ArraysError, match="these are no lines"):
        unpack_arrays("lines", packed, {"at": ("i8", None, 2)})


class Planted:
    """When unpickled it makes a file, and nothing else."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def planted(marker):
    return pickle.dumps(Planted(marker))


def test_nothing_that_is_planted_in_a_work_folder_is_run(tmp_path):
    """Whoever can write there could run code as the next user."""
    work, marker = tmp_path / "work", tmp_path / "ran"
    options = ("--work", str(work), "--sheet", "128", "--sieve", "20")
    labels = write_labels(tmp_path / "map.tif", patches())
    assert vectorize(labels, tmp_path / "one", *options) == 0
    kept = sorted(path for path in work.rglob("*") if path.is_file())
    assert kept
    data = planted(marker)
    for path in kept:
        head = {"format": 2, "key": path.stem, "kind": "made", "sha256": hashlib.sha256(data).hexdigest()}
        path.write_bytes(json.dumps(head).encode() + b"\n" + data)
    assert vectorize(labels, tmp_path / "two", *options) == 0
    assert not marker.exists()
    one, two = (tmp_path / name / "map" / "polygons.geojson" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


def test_what_was_made_of_another_sheet_is_made_again(tmp_path):
    options = ("--work", str(tmp_path / "work"), "--sheet", "128")
    labels = write_labels(tmp_path / "map.tif", patches())
    assert vectorize(labels, tmp_path / "one", *options) == 0
    kept = sorted((tmp_path / "work" / "made").rglob("*.made"), key=lambda path: path.stat().st_size)
    for path in kept[:-1]:
        path.write_bytes(kept[-1].read_bytes())
    assert vectorize(labels, tmp_path / "two", *options) == 0
    one, two = (tmp_path / name / "map" / "polygons.geojson" for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()


RUNS_CODE = "|".join(
    (
        r"(import|from)\s.*\b(pickle|cloudpickle|dill|joblib|marshal|shelve)\b",
        r"\b(pickle|cloudpickle|dill|joblib|marshal|shelve)\.\w",
        r"allow_pickle\s*=\s*True",
        r"np\.load\((?!.*allow_pickle=False)",
        r"safe_mode\s*=\s*False",
        r"\b(eval|exec)\(",
    )
)


@pytest.mark.parametrize("package", ["terraseam", "tiles", "models", "pipeline"])
def test_no_module_reads_what_can_run_code(package):
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(RUNS_CODE, line)
    ]
    assert not found
