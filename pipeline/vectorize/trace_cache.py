"""What the second half has made before, so that of a changed raster only what changed is traced again.

An entry is named by a digest of all that it was made of: label maps with what is seen around them, or fragments, and
the settings of polygons. Like those of the prediction store entries never change, and a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, pairwise
from typing import TypeVar

import numpy as np

from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.segment.prediction_store import FORMAT, StoreError, seal, unsealed
from terraseam.pipeline.storage import files
from terraseam.pipeline.vectorize.feature_files import (
    FeatureCount,
    FeatureRecord,
    feature_options,
    features_as_bytes,
)
from terraseam.pipeline.version import version
from terraseam.tiles.arrays import ArraysError
from terraseam.tiles.features.features import Feature, features
from terraseam.tiles.instances.paint import Patch
from terraseam.tiles.raster.ground import Ground
from terraseam.tiles.regions.neighbours import Neighbourhood
from terraseam.tiles.regions.regions import Regions
from terraseam.tiles.regions.seams import SeamSummary
from terraseam.tiles.stage_files import (
    pack_parts,
    pack_patches,
    pack_summary,
    unpack_parts,
    unpack_patches,
    unpack_summary,
)

MADE_VERSION = 5
"""Raised by hand when other features or fragments can be made of the same label maps, or are kept in another form."""

SUFFIX = ".made"

T = TypeVar("T", "CachedParts", "ResolvedPatches", "InstanceFeatures")


@dataclass(frozen=True, slots=True)
class CachedParts:
    """What was made of a sheet, or of the fragments that begin in one.

    Attributes:
        record: What is said of its features; None where it has none.
        features: Content of the file of features.
        fragments: Content of the file of open regions; empty where it has none.
        summary: What other sheets need to know of them; None where it has none.
    """

    record: FeatureRecord | None
    features: bytes
    fragments: bytes = b""
    summary: SeamSummary | None = None

    def at(self, path: str) -> FeatureRecord | None:
        """Write the features to a file; what is said of them then."""
        if self.record is None:
            return None
        files.write_bytes(path, self.features)
        return replace(self.record, path=path)

    def to_bytes(self) -> bytes:
        """All of it as bytes."""
        parts = {
            "features": self.features,
            "fragments": self.fragments,
            "summary": b"" if self.summary is None else pack_summary(self.summary),
        }
        return pack_parts("made", parts, None if self.record is None else asdict(self.record))

    @classmethod
    def from_bytes(cls, packed: bytes) -> CachedParts:
        """What `to_bytes` made bytes of.

        Raises:
            ArraysError: If they are damaged.
        """
        parts, said = unpack_parts("made", packed, ("features", "fragments", "summary"))
        summary = unpack_summary(parts["summary"]) if parts["summary"] else None
        record = None if said is None else FeatureRecord.checked(said)
        return cls(record, parts["features"], parts["fragments"], summary)


@dataclass(frozen=True, slots=True)
class ResolvedPatches:
    """What sheets show of the instances that one sheet has settled.

    Attributes:
        patches: What is painted of them on each sheet, by its row and column.
    """

    patches: dict[tuple[int, int], list[Patch]]

    def to_bytes(self) -> bytes:
        """Return all of it as bytes."""
        return _pack_list(
            "patches of instances", list(self.patches), map(pack_patches, self.patches.values())
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> ResolvedPatches:
        """Return what `to_bytes` made bytes of.

        Raises:
            ArraysError: If they are damaged.
        """
        places, contents = _unpack_list("patches of instances", packed, 2)
        return cls(
            {(row, col): unpack_patches(part) for (row, col), part in zip(places, contents, strict=True)}
        )


@dataclass(frozen=True, slots=True)
class InstanceFeatures:
    """Features of the instances that one sheet has settled.

    Attributes:
        features: Features by the row of sheets that their first pixels lie in.
    """

    features: dict[int, CachedParts]

    def to_bytes(self) -> bytes:
        """Return all of it as bytes."""
        rows = [(row,) for row in self.features]
        return _pack_list("features of instances", rows, (made.to_bytes() for made in self.features.values()))

    @classmethod
    def from_bytes(cls, packed: bytes) -> InstanceFeatures:
        """Return what `to_bytes` made bytes of.

        Raises:
            ArraysError: If they are damaged.
        """
        rows, contents = _unpack_list("features of instances", packed, 1)
        return cls({row: CachedParts.from_bytes(part) for (row,), part in zip(rows, contents, strict=True)})


def _pack_list(kind: str, names: Sequence[tuple[int, ...]], contents: Iterable[bytes]) -> bytes:
    """Pack contents that are named by numbers."""
    parts = list(contents)
    return pack_parts(kind, {"contents": b"".join(parts)}, [list(map(list, names)), list(map(len, parts))])


def _unpack_list(kind: str, packed: bytes, numbers: int) -> tuple[list[tuple[int, ...]], list[bytes]]:
    """Return the names, of so many numbers each, and the contents that `_pack_list` packed."""
    parts, said = unpack_parts(kind, packed, ["contents"])
    try:
        names = [tuple(int(number) for number in name) for name in said[0]]
        ends = [0, *accumulate(int(size) for size in said[1])]
    except (TypeError, ValueError, IndexError) as error:
        raise ArraysError(f"the {kind} are damaged ({error})") from error
    contents = [parts["contents"][start:end] for start, end in pairwise(ends)]
    if len(contents) != len(names) or {len(name) for name in names} - {numbers}:
        raise ArraysError(f"{len(contents)} contents for {len(names)} names of {kind}")
    return names, contents


def make_regions(
    row: int, parts: Iterable[tuple[Regions, Neighbourhood]], plan: PolygonPlan, raster: int
) -> CachedParts:
    """Make features of regions, without those that the user does not want; see `terraseam.tiles.features.features.features`.

    Args:
        row: Row of the sheets that their first pixels lie in.
        parts: The regions, a few at once, in the order of their first pixels; each time also as they are along pixel edges,
            with what lies near them. Only a few are in memory.
        plan: What the second half does.
        raster: Number of the raster in the plan.
    """
    ground, options = plan.rasters[raster].ground, feature_options(plan, raster)
    found = (feature for regions, traced in parts for feature in features(regions, ground, options, traced))
    with plan.naming(raster):
        return make_features(row, found, ground)


def make_features(row: int, found: Iterable[Feature], ground: Ground) -> CachedParts:
    """Keep features, which are in the order of their first pixels.

    Args:
        row: Row of the sheets that their first pixels lie in.
        found: The features.
        ground: Where their raster lies.
    """
    count = FeatureCount(ground.area_attribute)
    packed = features_as_bytes(count.counting(found))
    record = count.record("", row)
    return CachedParts(record, packed if record else b"")


class TraceCache:
    """What was made before, in a folder on any filesystem that Beam knows.

    Args:
        folder: Where the entries are.
        plan: What the second half does.
    """

    def __init__(self, folder: str, plan: PolygonPlan) -> None:
        self._folder = folder
        self._plan = plan

    def key(self, raster: int, place: Iterable[int], parts: Iterable[np.ndarray | bytes]) -> str:
        """The name of what is made of some parts.

        Args:
            raster: Number of the raster in the plan.
            place: Where in the raster they lie.
            parts: Arrays and content of files, in order.
        """
        plan = self._plan
        settings = {
            "versions": [MADE_VERSION, version()],
            "options": asdict(plan.options),
            "raster": [plan.rasters[raster].id, repr(plan.rasters[raster].ground)],
            "classes": [sorted(plan.class_names.items()), plan.labels],
            "sheets": [plan.side, plan.scored, *place],
        }
        digest = hashlib.blake2b(json.dumps(settings).encode(), digest_size=32)
        for part in parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype.str}{part.shape}".encode())
                digest.update(np.ascontiguousarray(part).data)
            else:
                digest.update(f"{len(part)}".encode() + part)
        return digest.hexdigest()

    def get(self, key: str, kind: type[T]) -> T | None:
        """What of a kind was made under a name; None where there is nothing, or only something damaged."""
        path = self._path(key)
        if self._plan.anew or not files.exists(path):
            return None
        try:
            head, packed = unsealed(files.read_bytes(path), key)
            found = kind.from_bytes(packed) if head["format"] == FORMAT else None
        except (StoreError, ArraysError):
            return None
        files.touch(path)
        return found

    def put(self, key: str, made: CachedParts | ResolvedPatches | InstanceFeatures) -> None:
        """Keep what was made, whole or not at all."""
        packed = made.to_bytes()
        files.write_bytes(self._path(key), seal(packed, key, kind="made"), packed)

    def _path(self, key: str) -> str:
        return files.join(self._folder, key[:2], f"{key}{SUFFIX}")
