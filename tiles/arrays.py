"""Serialize named arrays to bytes and back, with a line of JSON that holds their types, shapes and metadata.

Unlike pickles, these bytes can hold only numbers: a manipulated file can change numbers, but not run code. Arrays
that are read must have the types and shapes that the reader expects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

VERSION = 1

Form = tuple[str, int | None, int | None] | tuple[str, int | None]
"""Allowed types of an array, as comma-separated numpy names; and its shape, with None for any length."""


class ArraysError(ValueError):
    """Raised when bytes are not those of the expected arrays."""


def pack_arrays(kind: str, arrays: Mapping[str, np.ndarray], metadata: Any = None) -> bytes:
    """Serialize arrays to bytes.

    Args:
        kind: Name of the kind of content.
        arrays: The arrays by name, of numbers or bool.
        metadata: Metadata that can be stored as JSON.
    """
    laid = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    forms = [[name, array.dtype.str, array.shape] for name, array in laid.items()]
    head = json.dumps({"version": VERSION, "kind": kind, "arrays": forms, "said": metadata})
    return b"".join([head.encode(), b"\n", *(array.data for array in laid.values())])


def unpack_arrays(kind: str, packed: bytes, forms: Mapping[str, Form]) -> tuple[dict[str, np.ndarray], Any]:
    """Deserialize the arrays and the metadata that `pack_arrays` packed.

    Args:
        kind: The expected kind of content.
        packed: Their bytes.
        forms: The expected types and shape of each array, by name.

    Raises:
        ArraysError: If they are of another kind, truncated, or of another form.
    """
    end = packed.find(b"\n")
    try:
        head = json.loads(packed[:end])
        listed = {str(name): (np.dtype(str(dtype)), tuple(shape)) for name, dtype, shape in head["arrays"]}
        if (head["version"], head["kind"], list(listed)) != (VERSION, kind, list(forms)):
            raise ArraysError(f"these are no {kind}")
        metadata = head["said"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArraysError(f"the {kind} cannot be read ({error})") from error
    place, arrays = end + 1, {}
    for name, (dtype, shape) in listed.items():
        if not _fits(dtype, shape, forms[name]):
            raise ArraysError(f"{name} of {kind} cannot be {dtype} of shape {shape}")
        count = math.prod(shape)
        if place + count * dtype.itemsize > len(packed):
            raise ArraysError(f"the {kind} end in the middle of {name}")
        # A copy is writable and aligned, as compiled functions expect.
        arrays[name] = np.frombuffer(packed, dtype, count, place).reshape(shape).copy()
        place += count * dtype.itemsize
    if place != len(packed):
        raise ArraysError(f"there is extra data after the {kind}")
    return arrays, metadata


def _fits(dtype: np.dtype[Any], shape: tuple[Any, ...], form: Form) -> bool:
    types, *form_shape = form
    return (
        dtype.str.lstrip("<|") in types.split(",")
        and len(shape) == len(form_shape)
        and all(isinstance(size, int) and size >= 0 for size in shape)
        and all(expected in (None, size) for size, expected in zip(shape, form_shape, strict=True))
    )
