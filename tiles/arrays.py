"""Named arrays as bytes, and back: a line of JSON that says their types and shapes, and what they hold.

Unlike a pickle this can hold nothing but numbers: whoever can write such a file can change numbers, and run nothing.
What is read must have the types and the shapes that its reader names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

VERSION = 1

Form = tuple[str, int | None, int | None] | tuple[str, int | None]
"""Types of which an array has one, as numpy calls them, with commas between; and its shape, None for any length."""


class ArraysError(ValueError):
    """Bytes that are not those of the arrays that were to be read."""


def pack_arrays(kind: str, arrays: Mapping[str, np.ndarray], said: Any = None) -> bytes:
    """The bytes of some arrays.

    Args:
        kind: What they are.
        arrays: The arrays by name, of numbers or bool.
        said: What else is said of them, as JSON has it.
    """
    laid = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    forms = [[name, array.dtype.str, array.shape] for name, array in laid.items()]
    head = json.dumps({"version": VERSION, "kind": kind, "arrays": forms, "said": said})
    return b"".join([head.encode(), b"\n", *(array.data for array in laid.values())])


def unpack_arrays(kind: str, packed: bytes, forms: Mapping[str, Form]) -> tuple[dict[str, np.ndarray], Any]:
    """The arrays that `pack_arrays` packed, and what was said of them.

    Args:
        kind: What they must be.
        packed: Their bytes.
        forms: The types and the shape that each must have, by name.

    Raises:
        ArraysError: If they are something else, are not whole, or have another form.
    """
    end = packed.find(b"\n")
    try:
        head = json.loads(packed[:end])
        listed = {str(name): (np.dtype(str(dtype)), tuple(shape)) for name, dtype, shape in head["arrays"]}
        if (head["version"], head["kind"], list(listed)) != (VERSION, kind, list(forms)):
            raise ArraysError(f"these are no {kind}")
        said = head["said"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArraysError(f"the {kind} cannot be read ({error})") from error
    place, arrays = end + 1, {}
    for name, (dtype, shape) in listed.items():
        if not _fits(dtype, shape, forms[name]):
            raise ArraysError(f"{name} of {kind} cannot be {dtype} of shape {shape}")
        count = math.prod(shape)
        if place + count * dtype.itemsize > len(packed):
            raise ArraysError(f"the {kind} end in the middle of {name}")
        # A copy can be written to and is aligned, as compiled functions know arrays.
        arrays[name] = np.frombuffer(packed, dtype, count, place).reshape(shape).copy()
        place += count * dtype.itemsize
    if place != len(packed):
        raise ArraysError(f"something stands behind the {kind}")
    return arrays, said


def _fits(dtype: np.dtype[Any], shape: tuple[Any, ...], form: Form) -> bool:
    types, *wanted = form
    return (
        dtype.str.lstrip("<|") in types.split(",")
        and len(shape) == len(wanted)
        and all(isinstance(size, int) and size >= 0 for size in shape)
        and all(want in (None, size) for size, want in zip(shape, wanted, strict=True))
    )
