"""Serialize features to bytes, to send them from where they are built to where they are written."""

from __future__ import annotations

import struct

import orjson

from terraseam.tiles.features.features import Feature

_HEAD = struct.Struct("<QQII")


def pack(feature: Feature) -> tuple[bytes, ...]:
    """Serialize a feature as pieces of bytes, the large ones without copying; see `unpack`."""
    attributes = orjson.dumps([feature.identity, feature.properties])
    head = _HEAD.pack(*feature.first, len(attributes), len(feature.wkb))
    return head, attributes, feature.wkb, feature.text


def unpack(packed: bytes) -> Feature:
    """Deserialize a feature from the joined pieces of `pack`."""
    row, col, attributes_end, wkb_length = _HEAD.unpack_from(packed)
    attributes_end += _HEAD.size
    identity, properties = orjson.loads(packed[_HEAD.size : attributes_end])
    wkb_end = attributes_end + wkb_length
    wkb, text = packed[attributes_end:wkb_end], packed[wkb_end:]
    return Feature((row, col), identity, properties, text, wkb)
