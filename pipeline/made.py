"""What the second half has made before, so that of a changed raster only what changed is traced again.

An entry is named by a digest of all that it was made of: label maps with what is seen around them, or fragments, and
the settings of polygons. Like those of the prediction store entries never change, and a damaged one is made again.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import numpy as np

from pipeline import files
from pipeline.feature_files import FeatureRecord, feature_options, features_as_bytes, record_of
from pipeline.polygon_plan import PolygonPlan
from pipeline.store import StoreError, sealed, unsealed
from pipeline.version import version
from tiles.features import Feature, features
from tiles.ground import Ground
from tiles.neighbours import Neighbourhood
from tiles.regions import Regions
from tiles.seams import SeamSummary

MADE_VERSION = 3
"""Raised by hand when other features or fragments can be made of the same label maps, or are kept in another form."""

SUFFIX = ".made"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Made:
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


def make_regions(
    row: int, regions: Regions, plan: PolygonPlan, raster: int, traced: Neighbourhood | None
) -> Made:
    """Make features of regions, without those that the user does not want; see `tiles.features.features`.

    Args:
        row: Row of the sheets that their first pixels lie in.
        regions: The regions.
        plan: What the second half does.
        raster: Number of the raster in the plan.
        traced: The regions along pixel edges and what lies near them.
    """
    ground = plan.rasters[raster].ground
    return make_features(row, features(regions, ground, feature_options(plan, raster), traced), ground)


def make_features(row: int, found: Sequence[Feature], ground: Ground) -> Made:
    """Keep features, which are in the order of their first pixels.

    Args:
        row: Row of the sheets that their first pixels lie in.
        found: The features.
        ground: Where their raster lies.
    """
    record = record_of("", row, found, ground.area_attribute)
    return Made(record, features_as_bytes(found) if found else b"")


class MadeBefore:
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
            _, packed = unsealed(files.read_bytes(path))
        except StoreError:
            return None
        files.touch(path)
        found = pickle.loads(packed)
        return found if isinstance(found, kind) else None

    def put(self, key: str, made: object) -> None:
        """Keep what was made, whole or not at all."""
        files.write_bytes(self._path(key), sealed(pickle.dumps(made), kind="made"))

    def _path(self, key: str) -> str:
        return files.join(self._folder, key[:2], f"{key}{SUFFIX}")
