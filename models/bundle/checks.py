"""Check the fields of a card, on its JSON values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from terraseam.models.errors import CardError
from terraseam.models.names import nearest_name
from terraseam.models.texts import steering_characters

FORMATS = (1, 2)
TASKS = ("semantic", "instances")
NETWORK = {
    "name": ("model.keras", "model.onnx", "saved_model"),
    "layout": ("channels_last", "channels_first"),
    "answer": ("logits", "scores", "labels", "binary_logits", "binary_scores", "instances"),
}
REACH_SOURCES = ("graph", "measured", "declared")
MOST_CLASSES = 254
MOST_PIXELS = 1_000_000
"""Largest plausible halo, reach and stride, in pixels."""
MOST_BYTES = 10**8
"""Largest plausible memory, in bytes per pixel."""
MOST_SQUARED = 100_000
"""Largest plausible memory, in bytes per pixel squared."""
MOST_METRES = 10**7
LARGEST_NUMBER, LARGEST_WHOLE = 1e30, 2**63
DEEPEST = 50
"""Maximum nesting depth of objects and lists."""
SIDES = ("top", "bottom", "left", "right")


class _WrongValueError(Exception):
    """A field with an invalid value; the message says what it must be."""


def check_card(values: dict[str, Any], bundle: str, names: tuple[str, ...]) -> None:
    """Check every field of a card.

    Args:
        values: The card as ``card.json`` holds it.
        bundle: Name of the bundle in error messages.
        names: The fields of a card.

    Raises:
        CardError: At the first field that is missing, unknown or invalid.
    """
    _check_contents(values, bundle)
    _check_format(values, bundle)
    for name in names:
        if name not in values:
            raise CardError(
                f"the card of bundle {bundle} has no field {name!r}; add it, or recreate the bundle"
            )
    for name in values:
        if name not in names:
            near = nearest_name(name, names)
            hint = f" or name it {near!r}" if near else ""
            raise CardError(f"the card of bundle {bundle} has the unknown field {name!r}; remove it{hint}")
    for name in names:
        try:
            CHECKS[name](values[name], values)
        except _WrongValueError as wrong:
            raise CardError(
                f"the card of bundle {bundle} has {_short(values[name])} as {name!r}; it must be {wrong}"
            ) from None


def _check_contents(values: dict[str, Any], bundle: str) -> None:
    """Check constraints on all values of a card: nesting depth, texts and integers."""
    left: list[tuple[Any, int]] = [(values, 0)]
    while left:
        value, depth = left.pop()
        problem = ""
        if isinstance(value, dict | list):
            inner = [*value, *value.values()] if isinstance(value, dict) else value
            left.extend((element, depth + 1) for element in inner)
            if depth >= DEEPEST:
                problem = f"more than {DEEPEST} nested lists and objects"
        elif isinstance(value, str):
            marks = steering_characters(value.replace("\n", " ").replace("\t", " "))
            if marks:
                problem = f"{_short(value)}, a string with the forbidden character {marks[0]}"
        elif isinstance(value, int) and abs(value) >= LARGEST_WHOLE:
            problem = "an integer of more than 63 bits"
        if problem:
            raise CardError(f"the card of bundle {bundle} has {problem}; recreate the bundle without it")


def _check_format(values: dict[str, Any], bundle: str) -> None:
    """Check the format before the fields, which depend on it."""
    version = values.get("format", FORMATS[-1])
    if type(version) is not int or version not in FORMATS:
        known = ", ".join(map(str, FORMATS))
        raise CardError(
            f"the card of bundle {bundle} has format {_short(version)}, but this version of Terraseam reads "
            f"{known}; use the version that created it, or recreate the bundle"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _require(holds: bool, requirement: str) -> None:
    if not holds:
        raise _WrongValueError(requirement)


def _is_number(value: Any) -> bool:
    is_numeric = isinstance(value, int | float) and not isinstance(value, bool)
    return is_numeric and abs(value) <= LARGEST_NUMBER and math.isfinite(value)


def _is_count(value: Any, least: int, most: int = MOST_PIXELS) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _text(value: Any, _: dict[str, Any]) -> None:
    _require(isinstance(value, str) and bool(value.strip()), "a non-empty string")
    _require(not steering_characters(value), "a single-line string without control characters")


def _license(value: Any, _: dict[str, Any]) -> None:
    _require(isinstance(value, str) and bool(value.strip()), "a non-empty string")


def _text_or_null(value: Any, values: dict[str, Any]) -> None:
    if value is not None:
        _text(value, values)


def _record(value: Any, _: dict[str, Any]) -> None:
    _require(isinstance(value, dict), "an object, {} if nothing is known")


def _task(value: Any, _: dict[str, Any]) -> None:
    _choice(value, TASKS)


def _choice(value: Any, choices: tuple[str, ...]) -> None:
    _require(isinstance(value, str) and value in choices, " or ".join(map(repr, choices)))


def _network(value: Any, values: dict[str, Any]) -> None:
    _require(isinstance(value, dict) and set(value) == set(NETWORK), f"an object with {', '.join(NETWORK)}")
    for name, choices in NETWORK.items():
        known = isinstance(value[name], str) and value[name] in choices
        _require(known, f"an object whose {name} is {' or '.join(map(repr, choices))}")
    finds = value["answer"] == "instances"
    _require(finds == (values["task"] == "instances"), "one whose answer fits the task")
    binary = value["answer"].startswith("binary")
    _require(not binary or len(values["classes"]) == 2, "one whose answer is binary only for two classes")


def _reach_source(value: Any, _: dict[str, Any]) -> None:
    _choice(value, REACH_SOURCES)


def _halo(value: Any, _: dict[str, Any]) -> None:
    _require(value is None or _is_count(value, 0), f"null, or a whole number of pixels, 0 to {MOST_PIXELS:,}")


def _classes(value: Any, _: dict[str, Any]) -> None:
    _require(isinstance(value, list) and bool(value), "a list of classes")
    _require(
        len(value) <= MOST_CLASSES,
        f"at most {MOST_CLASSES} classes, not {len(value)}, because 255 means nodata",
    )
    for label, info in enumerate(value):
        _class(info, label)
    names = [info["name"] for info in value]
    twice = sorted({name for name in names if names.count(name) > 1})
    _require(not twice, f"classes with unique names; {', '.join(twice)} occurs more than once")
    backgrounds = sum(bool(info.get("background", False)) for info in value)
    _require(backgrounds <= 1, f"classes with at most one background, not {backgrounds}")


def _class(info: Any, label: int) -> None:
    shape = f"a list of objects with name, color and background, but class {label} is {_short(info)}"
    _require(
        isinstance(info, dict) and {"name", "color"} <= set(info) <= {"name", "color", "background"}, shape
    )
    _require(isinstance(info["name"], str) and bool(info["name"].strip()), f"{shape}: its name is empty")
    _require(not steering_characters(info["name"]), f"{shape}: its name has control characters")
    color = info["color"]
    _require(
        isinstance(color, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", color) is not None,
        f"{shape}: its color is not #rrggbb",
    )
    _require(isinstance(info.get("background", False), bool), f"{shape}: background is not true or false")


def _bands(value: Any, _: dict[str, Any]) -> None:
    good = isinstance(value, list) and bool(value) and all(isinstance(name, str) and name for name in value)
    _require(good, "a list of band names")
    _require(not any(map(steering_characters, value)), "a list of band names without control characters")


def _gsd(value: Any, _: dict[str, Any]) -> None:
    requirement = 'metres per pixel above 0, a range [min, max] of them, or "any"'
    ends = value if isinstance(value, list) else [value]
    if value == "any":
        return
    _require(
        len(ends) in (1, 2) and all(_is_number(end) and 0 < end <= MOST_METRES for end in ends), requirement
    )
    _require(not isinstance(value, list) or (len(value) == 2 and value[0] <= value[1]), requirement)


def _numbers(value: Any, values: dict[str, Any], requirement: str) -> None:
    bands = len(values["bands"])
    good = isinstance(value, list) and all(_is_number(number) for number in value)
    _require(good and len(value) == bands, f"{requirement}: {bands}, one per band")


def _scaling(value: Any, values: dict[str, Any]) -> None:
    _require(isinstance(value, dict) and set(value) == {"scale", "offset"}, "an object with scale and offset")
    for name in ("scale", "offset"):
        _numbers(value[name], values, f"an object whose {name} is a list of numbers")


def _fill(value: Any, values: dict[str, Any]) -> None:
    _numbers(value, values, "a list of numbers")


def _pixels(value: Any, _: dict[str, Any]) -> None:
    _require(_is_count(value, 1), f"a whole number of pixels, 1 to {MOST_PIXELS:,}")


def _bytes(value: Any, _: dict[str, Any]) -> None:
    _require(_is_count(value, 1, MOST_BYTES), f"a whole number of bytes, 1 to {MOST_BYTES:,}")


def _squared_bytes(value: Any, _: dict[str, Any]) -> None:
    _require(
        _is_number(value) and 0 <= value <= MOST_SQUARED,
        f"bytes per pixel squared, 0 to {MOST_SQUARED:,}",
    )


def _reach(value: Any, _: dict[str, Any]) -> None:
    good = (
        isinstance(value, dict) and set(value) == set(SIDES) and all(_is_count(v, 0) for v in value.values())
    )
    _require(
        value is None or good, f"null, or top, bottom, left and right in whole pixels, 0 to {MOST_PIXELS:,}"
    )


def _is_sha256(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _sha256(value: Any, _: dict[str, Any]) -> None:
    _require(_is_sha256(value), "the SHA-256 of the network's file, 64 digits 0-9a-f")


CONVERTED_SHA256 = ("source_sha256", "xml_sha256", "bin_sha256")


def _openvino(value: Any, _: dict[str, Any]) -> None:
    if value is None:
        return
    texts, checksums = ("version", "converter", "keras_version"), CONVERTED_SHA256
    good = isinstance(value, dict) and set(value) == {*texts, *checksums, "same_labels"}
    _require(good, f"null, or an object with {', '.join((*texts, *checksums))} and same_labels")
    for name in texts:
        _require(
            isinstance(value[name], str) and not steering_characters(value[name]),
            f"an object whose {name} is a string",
        )
    for name in checksums:
        _require(_is_sha256(value[name]), f"an object whose {name} is 64 digits 0-9a-f")
    _require(isinstance(value["same_labels"], bool), "an object whose same_labels is true or false")


CHECKS: dict[str, Callable[[Any, dict[str, Any]], None]] = {
    "format": lambda _value, _values: None,
    "name": _text,
    "version": _text,
    "architecture": _text,
    "encoder": _text_or_null,
    "task": _task,
    "network": _network,
    "classes": _classes,
    "bands": _bands,
    "gsd": _gsd,
    "scaling": _scaling,
    "fill": _fill,
    "stride": _pixels,
    "reach": _reach,
    "reach_source": _reach_source,
    "halo": _halo,
    "memory_per_pixel": _bytes,
    "memory_per_pixel_squared": _squared_bytes,
    "weights_sha256": _sha256,
    "openvino": _openvino,
    "training": _record,
    "metrics": _record,
    "license": _license,
}
