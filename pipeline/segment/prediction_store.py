"""The prediction store: one small object a sheet, under its content key.

An entry is a line of JSON (its key, and kind, shape and checksum of what follows) and, compressed, the sheet's labels and
scores, or the instances that its tiles found. Entries never change: what a key names is computed once, on any
machine. Entries of format 1, which do not say their key, are taken as they are.
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
"""The format of new entries; those of format 1 do not say which key they are of, and stay valid."""

SUFFIX = ".sheet"
"""The ending of an entry's file."""

Entry = LabelMap | SheetInstances
"""What the store has of a sheet: its label map, or what a detector found on it."""

E = TypeVar("E", LabelMap, SheetInstances)


class StoreError(RuntimeError):
    """An entry of the prediction store is damaged."""


class PredictionStore:
    """What was predicted of sheets, in a folder on any filesystem that Beam knows.

    Args:
        folder: Where the entries are.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, key: str) -> str:
        """Where the entry of a key is, or would be."""
        return files.join(self.folder, key[:2], f"{key}{SUFFIX}")

    def get(self, key: str) -> Entry | None:
        """The entry of a key; None where there is none, or only a damaged one."""
        if not files.exists(self.path(key)):
            return None
        try:
            return decode(files.read_bytes(self.path(key)), key)
        except StoreError:
            return None

    def intact(self, key: str, shape: tuple[int, int]) -> bool:
        """Whether there is a whole entry of a key, for a sheet of some height and width."""
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
        """The entry of a key that has been put, which is of a kind.

        Raises:
            StoreError: If it is not there, damaged, or of another kind.
        """
        entry = self.get(key)
        if not isinstance(entry, kind):
            raise StoreError(
                f"{self.path(key)} is missing or damaged; run the same command again to compute it anew"
            )
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Write an entry, whole or not at all."""
        files.write_bytes(self.path(key), encode(entry, key))


def key_of(path: str) -> str:
    """The key that the entry in a file should be of."""
    return path.rpartition("/")[2].rpartition(".")[0]


def nothing_measured(shape: tuple[int, int], *, things: bool) -> Entry:
    """The entry of a sheet of which nothing is known, for a detector or another network."""
    if things:
        return SheetInstances(np.zeros(shape, bool), (), 0)
    return LabelMap(np.full(shape, NODATA, np.uint8), np.zeros(shape, np.uint8))


def entry_key(entry: Entry) -> str:
    """The key of an entry that hangs on nothing but itself."""
    return hashlib.sha256(encode(entry, "")).hexdigest()


def encode(entry: Entry, key: str) -> bytes:
    """The bytes of the entry of a key."""
    if isinstance(entry, LabelMap):
        kind, shape, data = "labels", entry.labels.shape, np.stack([entry.labels, entry.scores]).tobytes()
    else:
        kind, shape, data = "instances", entry.valid.shape, entry.to_bytes()
    packed = zstandard.ZstdCompressor(level=3).compress(data)
    return sealed(packed, key, kind=kind, shape=shape)


def decode(data: bytes, key: str) -> Entry:
    """The entry of a key, of the bytes of it.

    Raises:
        StoreError: If they are not those of a whole entry of that key.
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


def sealed(packed: bytes, key: str, **said: object) -> bytes:
    """The bytes of an entry: its `seal`, and what follows."""
    return seal(packed, key, **said) + packed


def seal(packed: bytes, key: str, **said: object) -> bytes:
    """The line in front of an entry: its key, something of what follows, and the checksum of that."""
    head = {"format": FORMAT, "key": key, **said, "sha256": hashlib.sha256(packed).hexdigest()}
    return json.dumps(head).encode() + b"\n"


def unsealed(data: bytes, key: str) -> tuple[dict[str, Any], bytes]:
    """The head of the entry of a key and what is packed behind it.

    Raises:
        StoreError: If the checksum is wrong, or it is the entry of another key.
    """
    head_line, _, packed = data.partition(b"\n")
    try:
        head = json.loads(head_line)
        if head["format"] not in (1, FORMAT) or hashlib.sha256(packed).hexdigest() != head["sha256"]:
            raise StoreError("the entry's checksum is wrong")
        if head["format"] == FORMAT and head["key"] != key:
            raise StoreError(f"the entry is that of another key, {head['key']}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreError(f"the entry is damaged: {error}") from error
    return head, packed


def prediction_store(plan: Plan) -> PredictionStore:
    """The prediction store of a run."""
    return PredictionStore(files.join(plan.options.work_folder, STORE))
