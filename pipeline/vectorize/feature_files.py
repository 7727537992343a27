"""Features on their way from the stages that make them to the one that publishes them.

A file holds features in the order of their first pixels, each packed behind its length; the whole is
compressed. Files are merged as streams, so memory does not grow with them.
"""

from __future__ import annotations

import heapq
import io
import math
import struct
import uuid
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.plan.polygons import PolygonPlan
from terraseam.pipeline.polygon_formats import FORMATS
from terraseam.pipeline.storage import files
from terraseam.pipeline.vectorize.label_counts import MOST_LISTED
from terraseam.tiles.arrays import ArraysError
from terraseam.tiles.features.codec import pack, unpack
from terraseam.tiles.features.features import Feature, FeatureOptions

CUT = "a file of features ends in the middle of a feature"

OPEN_FILES = 100
"""Files that are merged at the same time."""

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class FeatureRecord:
    """Features that one element of a stage has written.

    Attributes:
        path: The file of features.
        row: Row of the sheets that their first pixels lie in.
        count: Number of features.
        area: Their area, in square metres; of features in pixels, in pixels.
        counts: Number of features by class; None where there are more than `MOST_LISTED` classes.
        areas: Their area by class.
    """

    path: str
    row: int
    count: int
    area: float
    counts: dict[str, int] | None
    areas: dict[str, float]

    @classmethod
    def checked(cls, said: Any) -> FeatureRecord:
        """The record that JSON tells of.

        Raises:
            ArraysError: If it tells of something else.
        """
        try:
            counts = said["counts"]
            return cls(
                str(said["path"]),
                int(said["row"]),
                int(said["count"]),
                float(said["area"]),
                None if counts is None else {str(name): int(count) for name, count in counts.items()},
                {str(name): float(area) for name, area in said["areas"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArraysError(f"what is said of features is damaged ({error})") from error


def feature_options(plan: PolygonPlan, raster: int) -> FeatureOptions:
    """What the features of a raster say, and which are left out."""
    options = plan.options
    lonlat = {FORMATS[name].lonlat for name in options.formats}
    return FeatureOptions(
        plan.rasters[raster].id,
        plan.class_names,
        options.min_area,
        options.fill_holes,
        options.min_score,
        regularized=options.regularize,
        scored=plan.scored,
        text=True in lonlat,
        wkb=False in lonlat,
        in_parts=plan.in_parts,
    )


class FeatureCount:
    """Counts features and adds up their areas, by class as long as there are no more than `MOST_LISTED`.

    Args:
        area_attribute: Which of their attributes is the area.
    """

    def __init__(self, area_attribute: str) -> None:
        self._attribute = area_attribute
        self._areas = array("d")
        self._by_class: dict[str, array[float]] | None = {}

    def counting(self, features: Iterable[Feature]) -> Iterator[Feature]:
        """The same features, counted as they pass."""
        for feature in features:
            area = feature.properties[self._attribute]
            self._areas.append(area)
            if self._by_class is not None:
                self._by_class.setdefault(feature.properties["class"], array("d")).append(area)
                if len(self._by_class) > MOST_LISTED:
                    self._by_class = None
            yield feature

    def record(self, path: str, row: int) -> FeatureRecord | None:
        """What is said of all features that have passed; None where there are none.

        Args:
            path: Their file.
            row: Row of the sheets that their first pixels lie in.
        """
        if not self._areas:
            return None
        count, area = len(self._areas), math.fsum(self._areas)
        if self._by_class is None:
            return FeatureRecord(path, row, count, area, None, {})
        counts = {name: len(found) for name, found in self._by_class.items()}
        sums = {name: math.fsum(found) for name, found in self._by_class.items()}
        return FeatureRecord(path, row, count, area, counts, sums)


def write_features(path: str, features: Iterable[Feature]) -> None:
    """Write features, whole or not at all; they must be in the order of their first pixels."""
    with files.writing(path) as file:
        _write(file, features)


def features_as_bytes(features: Iterable[Feature]) -> bytes:
    """The content of a file of features, which must be in the order of their first pixels."""
    file = io.BytesIO()
    _write(file, features)
    return file.getvalue()


def _write(file: BinaryIO, features: Iterable[Feature]) -> None:
    with zstandard.ZstdCompressor(level=1).stream_writer(file, closefd=False) as packed:
        for parts in map(pack, features):
            packed.write(_LENGTH.pack(sum(map(len, parts))))
            for part in parts:
                packed.write(part)


def read_features(path: str) -> Iterator[Feature]:
    """The features of a file, one after another."""
    with files.open_bytes(path) as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        while head := _read_exactly(stream, _LENGTH.size):
            (length,) = _LENGTH.unpack(head)
            data = _read_exactly(stream, length)
            if not data:
                raise EOFError(CUT)
            ACTIVITY.add(0.0)  # Files with many features take long.
            yield unpack(data)


def merge_features(paths: Sequence[str], scratch: Path, at_once: int = OPEN_FILES) -> Iterator[Feature]:
    """The features of many files, in the order of their first pixels.

    Args:
        paths: The files.
        scratch: A local folder for files in between, where there are more than can be open at once.
        at_once: Files to have open at the same time.
    """
    if len(paths) <= at_once:
        return _merge(paths)
    merged = []
    for first in range(0, len(paths), at_once):
        merged.append(str(scratch / f"{uuid.uuid4().hex}.features"))
        write_features(merged[-1], _merge(paths[first : first + at_once]))
    return merge_features(merged, scratch, at_once)


def _merge(paths: Iterable[str]) -> Iterator[Feature]:
    return heapq.merge(*(read_features(path) for path in paths), key=lambda feature: feature.order)


def _read_exactly(stream: zstandard.ZstdDecompressionReader, size: int) -> bytes:
    """Exactly `size` bytes, or none at the end of the stream."""
    data = stream.read(size)
    while data and len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise EOFError(CUT)
        data += more
    return data
