"""Read, write and merge files of features between the stages that create and publish them.

A file holds features in the order of their first pixels, each as its length and its packed bytes; the whole file is
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
"""Most files that are merged at the same time."""

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class FeatureRecord:
    """The features that a stage has written for one element.

    Attributes:
        path: The file of features.
        row: Row of the sheets that contain their first pixels.
        count: Number of features.
        area: Their total area, in square metres, or in pixels for rasters without a location on the Earth.
        counts: Number of features by class; None if there are more than `MOST_LISTED` classes.
        areas: Their total area by class.
    """

    path: str
    row: int
    count: int
    area: float
    counts: dict[str, int] | None
    areas: dict[str, float]

    @classmethod
    def checked(cls, data: Any) -> FeatureRecord:
        """Parse a record from JSON.

        Raises:
            ArraysError: If it is not a valid record.
        """
        try:
            counts = data["counts"]
            return cls(
                str(data["path"]),
                int(data["row"]),
                int(data["count"]),
                float(data["area"]),
                None if counts is None else {str(name): int(count) for name, count in counts.items()},
                {str(name): float(area) for name, area in data["areas"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArraysError(f"the record of features is damaged ({error})") from error


def feature_options(plan: PolygonPlan, raster: int) -> FeatureOptions:
    """Return the options that decide which features of a raster are published, and with which properties."""
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
    """The number and total area of features, by class if there are no more than `MOST_LISTED` classes.

    Args:
        area_attribute: Name of their attribute that holds the area.
    """

    def __init__(self, area_attribute: str) -> None:
        self._attribute = area_attribute
        self._areas = array("d")
        self._by_class: dict[str, array[float]] | None = {}

    def counting(self, features: Iterable[Feature]) -> Iterator[Feature]:
        """Yield the same features, and count them."""
        for feature in features:
            area = feature.properties[self._attribute]
            self._areas.append(area)
            if self._by_class is not None:
                self._by_class.setdefault(feature.properties["class"], array("d")).append(area)
                if len(self._by_class) > MOST_LISTED:
                    self._by_class = None
            yield feature

    def record(self, path: str, row: int) -> FeatureRecord | None:
        """Return the record of all features counted; None if there are none.

        Args:
            path: The file of the features.
            row: Row of the sheets that contain their first pixels.
        """
        if not self._areas:
            return None
        count, area = len(self._areas), math.fsum(self._areas)
        if self._by_class is None:
            return FeatureRecord(path, row, count, area, None, {})
        counts = {name: len(areas) for name, areas in self._by_class.items()}
        sums = {name: math.fsum(areas) for name, areas in self._by_class.items()}
        return FeatureRecord(path, row, count, area, counts, sums)


def write_features(path: str, features: Iterable[Feature]) -> None:
    """Write features atomically; they must be in the order of their first pixels."""
    with files.writing(path) as file:
        _write(file, features)


def features_as_bytes(features: Iterable[Feature]) -> bytes:
    """Return the content of a file of features, which must be in the order of their first pixels."""
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
    """Yield the features in a file."""
    with files.open_bytes(path) as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file)
        while head := _read_exactly(stream, _LENGTH.size):
            (length,) = _LENGTH.unpack(head)
            data = _read_exactly(stream, length)
            if not data:
                raise EOFError(CUT)
            ACTIVITY.add(0.0)  # Files with many features take a long time.
            yield unpack(data)


def merge_features(paths: Sequence[str], scratch: Path, at_once: int = OPEN_FILES) -> Iterator[Feature]:
    """Merge the features of many files, in the order of their first pixels.

    Args:
        paths: The files.
        scratch: A local folder for intermediate files, if there are more than can be open at once.
        at_once: Most files to open at the same time.
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
    """Read exactly `size` bytes, or none at the end of the stream."""
    data = stream.read(size)
    while data and len(data) < size:
        more = stream.read(size - len(data))
        if not more:
            raise EOFError(CUT)
        data += more
    return data
