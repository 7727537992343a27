"""Read and write the prediction store: one small file per sheet, named by its content key.

An entry is a line of JSON (its key, and the kind, shape and checksum of the data) followed by compressed data: the
sheet's labels and scores, or the instances detected in its tiles. Entries never change: each key is computed once, on
any machine. Entries of format 1, which do not contain their key, are accepted.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, TypeVar

import numpy as np
import zstandard

from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.run_paths import STORE
from terraseam.tiles.instances.instances import SheetInstances
from terraseam.tiles.labels.stitch import NODATA, LabelMap

FORMAT = 2
"""The format of new entries; those of format 1 do not contain their key, and remain valid."""

SUFFIX = ".sheet"
"""File name suffix of an entry."""

Entry = LabelMap | SheetInstances
"""The stored prediction of a sheet: its label map, or the instances that a detector found on it."""

E = TypeVar("E", LabelMap, SheetInstances)


class StoreError(RuntimeError):
    """A damaged or missing entry of the prediction store."""


class PredictionStore:
    """The predictions of sheets, in a folder on any filesystem that Beam supports.

    Args:
        folder: Folder of the entries.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, key: str) -> str:
        """Return the path of the entry of a key, whether it exists or not."""
        return files.join(self.folder, key[:2], f"{key}{SUFFIX}")

    def get(self, key: str) -> Entry | None:
        """Read the entry of a key; None if it is missing or damaged."""
        if not files.exists(self.path(key)):
            return None
        try:
            return decode(files.read_bytes(self.path(key)), key)
        except StoreError:
            return None

    def intact(self, key: str, shape: tuple[int, int]) -> bool:
        """Return whether a key has an intact entry of a shape ``(height, width)``, and mark it as used."""
        if not files.exists(self.path(key)):
            return False
        try:
            head, _ = unsealed(files.read_bytes(self.path(key)), key)
        except StoreError:
            return False
        if head.get("shape") != list(shape):
            return False
        files.touch(self.path(key))
        return True

    def load(self, key: str, kind: type[E]) -> E:
        """Read the entry of a key that has been stored, which must be of a kind.

        Raises:
            StoreError: If it is missing, damaged, or of another kind.
        """
        entry = self.get(key)
        if not isinstance(entry, kind):
            raise self._lost(key)
        return entry

    def load_labels(self, key: str) -> np.ndarray:
        """Read the labels of a key that has been stored, without their scores.

        Raises:
            StoreError: If they are missing or damaged.
        """
        if not files.exists(self.path(key)):
            raise self._lost(key)
        try:
            return decode_labels(files.read_bytes(self.path(key)), key)
        except StoreError as error:
            raise self._lost(key) from error

    def _lost(self, key: str) -> StoreError:
        return StoreError(
            f"{self.path(key)} is missing or damaged; run the same command again to recompute it"
        )

    def put(self, key: str, entry: Entry) -> None:
        """Write an entry atomically."""
        files.write_bytes(self.path(key), encode(entry, key))


def key_of(path: str) -> str:
    """Return the key of an entry, from its path."""
    return path.rpartition("/")[2].rpartition(".")[0]


def nothing_measured(shape: tuple[int, int], *, instances: bool) -> Entry:
    """Return the entry of a sheet without valid pixels, for a detector (`instances`) or another network."""
    if instances:
        return SheetInstances(np.zeros(shape, bool), (), 0)
    return LabelMap(np.full(shape, NODATA, np.uint8), np.zeros(shape, np.uint8))


def entry_key(entry: Entry) -> str:
    """Compute a key from the content of an entry alone."""
    return hashlib.sha256(encode(entry, "")).hexdigest()


def encode(entry: Entry, key: str) -> bytes:
    """Encode the entry of a key as bytes."""
    if isinstance(entry, LabelMap):
        kind, shape, data = "labels", entry.labels.shape, np.stack([entry.labels, entry.scores]).tobytes()
    else:
        kind, shape, data = "instances", entry.valid.shape, entry.to_bytes()
    packed = zstandard.ZstdCompressor(level=3).compress(data)
    return sealed(packed, key, kind=kind, shape=shape)


def decode(data: bytes, key: str) -> Entry:
    """Decode the entry of a key from bytes.

    Raises:
        StoreError: If they are not an intact entry of that key.
    """
    head, packed = unsealed(data, key)
    try:
        unpacked = zstandard.ZstdDecompressor().decompress(packed)
        if head.get("kind") == "instances":
            return SheetInstances.from_bytes(unpacked)
        labels, scores = np.frombuffer(unpacked, np.uint8).reshape(2, *head["shape"])
    except (ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise StoreError(f"the entry is damaged: {error}") from error
    return LabelMap(labels, scores)


def decode_labels(data: bytes, key: str) -> np.ndarray:
    """Decode only the labels of a label map; they come before its scores, which take longer.

    Raises:
        StoreError: If the bytes are not an intact label map of that key.
    """
    head, packed = unsealed(data, key)
    try:
        height, width = head["shape"]
        with zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            unpacked = stream.read(height * width)
        if head.get("kind") == "instances":
            raise StoreError("the entry holds instances")
        return np.frombuffer(unpacked, np.uint8).reshape(height, width)
    except (ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise StoreError(f"the entry is damaged: {error}") from error


def sealed(packed: bytes, key: str, **fields: object) -> bytes:
    """Return the bytes of an entry: its `seal` followed by the compressed data."""
    return seal(packed, key, **fields) + packed


def seal(packed: bytes, key: str, **fields: object) -> bytes:
    """Return the header line of an entry: its key, further fields, and the checksum of the compressed data."""
    head = {"format": FORMAT, "key": key, **fields, "sha256": hashlib.sha256(packed).hexdigest()}
    return json.dumps(head).encode() + b"\n"


def unsealed(data: bytes, key: str) -> tuple[dict[str, Any], bytes]:
    """Split the entry of a key into its header and compressed data.

    Raises:
        StoreError: If the header or checksum is wrong, or the entry belongs to another key.
    """
    head_line, _, packed = data.partition(b"\n")
    try:
        head = json.loads(head_line)
        if head["format"] not in (1, FORMAT) or hashlib.sha256(packed).hexdigest() != head["sha256"]:
            raise StoreError("the entry's checksum is wrong")
        if head["format"] == FORMAT and head["key"] != key:
            raise StoreError(f"the entry belongs to another key, {head['key']}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"the entry is damaged: {error}") from error
    return head, packed


def prediction_store(plan: Plan) -> PredictionStore:
    """Return the prediction store of a run."""
    return PredictionStore(files.join(plan.options.work_folder, STORE))
