"""Cache traced features and fragments, so that only the changed parts of a raster are traced again.

An entry is named by a digest of everything it is derived from: label maps with their context, or fragments, and the
polygon settings. As in the prediction store, entries never change, and a damaged one is computed again.
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
"""Increased by hand when the same label maps can give other features or fragments, or their format changes."""

SUFFIX = ".made"

T = TypeVar("T", "CachedParts", "ResolvedPatches", "InstanceFeatures")


@dataclass(frozen=True, slots=True)
class CachedParts:
    """The features and fragments of a sheet, or the features of regions that begin in it.

    Attributes:
        record: Record of its features; None if it has none.
        features: Content of the file of features.
        fragments: Content of the file of open regions; empty if it has none.
        summary: Its fragments along seams, as other sheets need them; None if it has no open regions.
    """

    record: FeatureRecord | None
    features: bytes
    fragments: bytes = b""
    summary: SeamSummary | None = None

    def at(self, path: str) -> FeatureRecord | None:
        """Write the features to a file, and return their record; None if there are none."""
        if self.record is None:
            return None
        files.write_bytes(path, self.features)
        return replace(self.record, path=path)

    def to_bytes(self) -> bytes:
        """Encode the entry as bytes."""
        parts = {
            "features": self.features,
            "fragments": self.fragments,
            "summary": b"" if self.summary is None else pack_summary(self.summary),
        }
        return pack_parts("made", parts, None if self.record is None else asdict(self.record))

    @classmethod
    def from_bytes(cls, packed: bytes) -> CachedParts:
        """Decode the bytes of `to_bytes`.

        Raises:
            ArraysError: If they are damaged.
        """
        parts, fields = unpack_parts("made", packed, ("features", "fragments", "summary"))
        summary = unpack_summary(parts["summary"]) if parts["summary"] else None
        record = None if fields is None else FeatureRecord.checked(fields)
        return cls(record, parts["features"], parts["fragments"], summary)


@dataclass(frozen=True, slots=True)
class ResolvedPatches:
    """The patches of the instances that one sheet has resolved.

    Attributes:
        patches: The patches to paint on each sheet, by its row and column.
    """

    patches: dict[tuple[int, int], list[Patch]]

    def to_bytes(self) -> bytes:
        """Encode the entry as bytes."""
        return _pack_list(
            "patches of instances", list(self.patches), map(pack_patches, self.patches.values())
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> ResolvedPatches:
        """Decode the bytes of `to_bytes`.

        Raises:
            ArraysError: If they are damaged.
        """
        places, contents = _unpack_list("patches of instances", packed, 2)
        return cls(
            {(row, col): unpack_patches(part) for (row, col), part in zip(places, contents, strict=True)}
        )


@dataclass(frozen=True, slots=True)
class InstanceFeatures:
    """The features of the instances that one sheet has resolved.

    Attributes:
        features: Features by the row of sheets that contains their first pixels.
    """

    features: dict[int, CachedParts]

    def to_bytes(self) -> bytes:
        """Encode the entry as bytes."""
        rows = [(row,) for row in self.features]
        return _pack_list(
            "features of instances", rows, (parts.to_bytes() for parts in self.features.values())
        )

    @classmethod
    def from_bytes(cls, packed: bytes) -> InstanceFeatures:
        """Decode the bytes of `to_bytes`.

        Raises:
            ArraysError: If they are damaged.
        """
        rows, contents = _unpack_list("features of instances", packed, 1)
        return cls({row: CachedParts.from_bytes(part) for (row,), part in zip(rows, contents, strict=True)})


def _pack_list(kind: str, names: Sequence[tuple[int, ...]], contents: Iterable[bytes]) -> bytes:
    """Pack byte strings that are named by tuples of integers."""
    parts = list(contents)
    return pack_parts(kind, {"contents": b"".join(parts)}, [list(map(list, names)), list(map(len, parts))])


def _unpack_list(kind: str, packed: bytes, numbers: int) -> tuple[list[tuple[int, ...]], list[bytes]]:
    """Unpack the names, of `numbers` integers each, and the contents packed by `_pack_list`."""
    parts, index = unpack_parts(kind, packed, ["contents"])
    try:
        names = [tuple(int(number) for number in name) for name in index[0]]
        ends = [0, *accumulate(int(size) for size in index[1])]
    except (TypeError, ValueError, IndexError) as error:
        raise ArraysError(f"the {kind} are damaged ({error})") from error
    contents = [parts["contents"][start:end] for start, end in pairwise(ends)]
    if len(contents) != len(names) or {len(name) for name in names} - {numbers}:
        raise ArraysError(f"{len(contents)} contents for {len(names)} names of {kind}")
    return names, contents


def make_regions(
    row: int, parts: Iterable[tuple[Regions, Neighbourhood]], plan: PolygonPlan, raster: int
) -> CachedParts:
    """Turn regions into features, without unwanted ones; see `terraseam.tiles.features.features.features`.

    Args:
        row: Row of the sheets that contain their first pixels.
        parts: The regions in batches, in the order of their first pixels, each with its exact regions along pixel
            edges and their neighbourhood. Only one batch is in memory.
        plan: The plan of the polygons.
        raster: Number of the raster in the plan.
    """
    ground, options = plan.rasters[raster].ground, feature_options(plan, raster)
    traced_features = (
        feature for regions, traced in parts for feature in features(regions, ground, options, traced)
    )
    with plan.naming(raster):
        return make_features(row, traced_features, ground)


def make_features(row: int, features: Iterable[Feature], ground: Ground) -> CachedParts:
    """Encode features, which must be in the order of their first pixels.

    Args:
        row: Row of the sheets that contain their first pixels.
        features: The features.
        ground: The ground of their raster.
    """
    count = FeatureCount(ground.area_attribute)
    packed = features_as_bytes(count.counting(features))
    record = count.record("", row)
    return CachedParts(record, packed if record else b"")


class TraceCache:
    """A cache of vectorized parts, in a folder on any filesystem that Beam supports.

    Args:
        folder: Folder of the entries.
        plan: The plan of the polygons.
    """

    def __init__(self, folder: str, plan: PolygonPlan) -> None:
        self._folder = folder
        self._plan = plan

    def key(self, raster: int, place: Iterable[int], parts: Iterable[np.ndarray | bytes]) -> str:
        """Compute the key of an entry from its inputs.

        Args:
            raster: Number of the raster in the plan.
            place: Position of the inputs in the raster, such as the row and column of a sheet.
            parts: The inputs: arrays and contents of files, in order.
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
        """Read the entry of a key; None if it is missing or damaged."""
        path = self._path(key)
        if self._plan.recompute or not files.exists(path):
            return None
        try:
            head, packed = unsealed(files.read_bytes(path), key)
            entry = kind.from_bytes(packed) if head["format"] == FORMAT else None
        except (StoreError, ArraysError):
            return None
        files.touch(path)
        return entry

    def put(self, key: str, entry: CachedParts | ResolvedPatches | InstanceFeatures) -> None:
        """Write an entry atomically."""
        packed = entry.to_bytes()
        files.write_bytes(self._path(key), seal(packed, key, kind="made"), packed)

    def _path(self, key: str) -> str:
        return files.join(self._folder, key[:2], f"{key}{SUFFIX}")
