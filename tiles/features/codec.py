"""Features as bytes, on their way from where they are made to where they are written."""

from __future__ import annotations

import struct

import orjson

from terraseam.tiles.features.features import Feature

_HEAD = struct.Struct("<QQII")


def pack(feature: Feature) -> tuple[bytes, ...]:
    """A feature as pieces of bytes, in order, of which the large ones are no copies; `unpack` gives it back."""
    attributes = orjson.dumps([feature.identity, feature.properties])
    head = _HEAD.pack(*feature.first, len(attributes), len(feature.wkb))
    return head, attributes, feature.wkb, feature.text


def unpack(packed: bytes) -> Feature:
    """The feature that `pack` made pieces of, which are joined here."""
    row, col, attributes_end, wkb_length = _HEAD.unpack_from(packed)
    attributes_end += _HEAD.size
    identity, properties = orjson.loads(packed[_HEAD.size : attributes_end])
    wkb_end = attributes_end + wkb_length
    wkb, text = packed[attributes_end:wkb_end], packed[wkb_end:]
    return Feature((row, col), identity, properties, text, wkb)
