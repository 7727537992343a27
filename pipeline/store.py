"""The prediction store: one small object a sheet, under its content key.

An entry is a line of JSON (shape and checksum of what follows) and the sheet's labels and scores,
compressed. Entries never change: what a key names is computed once, on any machine.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import zstandard

from pipeline import files
from tiles.stitch import LabelMap


class StoreError(RuntimeError):
    """An entry of the prediction store is damaged."""


class PredictionStore:
    """Label maps of sheets in a folder, on any filesystem that Beam knows.

    Args:
        folder: Where the entries are.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def path(self, key: str) -> str:
        """Where the entry of a key is, or would be."""
        return files.join(self.folder, key[:2], f"{key}.sheet")

    def get(self, key: str) -> LabelMap | None:
        """The label map of a key; None where there is none, or only a damaged one."""
        if not files.exists(self.path(key)):
            return None
        try:
            return decode(files.read_bytes(self.path(key)))
        except StoreError:
            return None

    def load(self, key: str) -> LabelMap:
        """The label map of a key that has been put.

        Raises:
            StoreError: If it is not there, or damaged.
        """
        label_map = self.get(key)
        if label_map is None:
            raise StoreError(
                f"{self.path(key)} is missing or damaged; run the same command again to compute it anew"
            )
        return label_map

    def put(self, key: str, label_map: LabelMap) -> None:
        """Write an entry, whole or not at all."""
        files.write_bytes(self.path(key), encode(label_map))


def encode(label_map: LabelMap) -> bytes:
    """The bytes of an entry."""
    planes = np.stack([label_map.labels, label_map.scores])
    packed = zstandard.ZstdCompressor(level=3).compress(planes.tobytes())
    head = {"format": 1, "shape": label_map.labels.shape, "sha256": hashlib.sha256(packed).hexdigest()}
    return json.dumps(head).encode() + b"\n" + packed


def decode(entry: bytes) -> LabelMap:
    """The label map of an entry's bytes.

    Raises:
        StoreError: If they are not those of a whole entry.
    """
    head_line, _, packed = entry.partition(b"\n")
    try:
        head = json.loads(head_line)
        if head["format"] != 1 or hashlib.sha256(packed).hexdigest() != head["sha256"]:
            raise StoreError("the entry's checksum is wrong")
        planes = np.frombuffer(zstandard.ZstdDecompressor().decompress(packed), np.uint8)
        labels, scores = planes.reshape(2, *head["shape"])
    except (ValueError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise StoreError(f"the entry is damaged: {error}") from error
    return LabelMap(labels, scores)
