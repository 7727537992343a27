"""Values of arguments, understood or refused: what argparse takes as ``type``."""

from __future__ import annotations

import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from terraseam.models.texts import steering_characters
from terraseam.pipeline.errors import did_you_mean
from terraseam.pipeline.machines import ACCELERATORS, NO_ACCELERATOR
from terraseam.pipeline.polygon_formats import FORMATS

LIST_MARK = ","
"""What parts the values of a list; given several times, such lists add up."""

WHOLE = "[1-9][0-9]*"
NUMBER = r"[0-9]+(\.[0-9]+)?"
POSITIVE = rf"({WHOLE}(\.[0-9]+)?|0+\.[0-9]*[1-9][0-9]*)"
SHARE = r"(0(\.[0-9]+)?|1(\.0+)?)"
NAME = r"[^\s,]([^,\r\n]*[^\s,])?"
READABLE = r"(gs|s3|https?)://[^,\r\n]+"
WRITABLE = r"(gs|s3)://[^,\r\n]+"
"""Regular expressions of values, for services that check them before a job starts: they refuse what is seen to be wrong
without a context, and paths that workers of a service do not reach."""


@dataclass(frozen=True)
class Value:
    """How a value is said: what argparse takes as ``type``, and what a job file may hold in place of the text.

    Attributes:
        read: From the text to the value; an ArgumentTypeError or a ValueError where it is none.
        holds: What a job file may hold: `str`, or also `int`, or also `float`.
        mark: What parts the values of a list from each other; None where there is no list.
        named: Whether it is a name and a value, of which a job file may hold a table.
        place: Whether it is a path, or a path or a name; relative ones in a job file are relative to that.
        pattern: Regular expression of one value, for services; what it matches may still be refused by `read`.
    """

    read: Callable[[str], Any]
    holds: type = str
    mark: str | None = None
    named: bool = False
    place: Literal["path", "path or name"] | None = None
    pattern: str = r"[^,\r\n]+"

    def __call__(self, text: str) -> Any:
        """Understand a text."""
        return self.read(text)


def checked(
    kind: Callable[[str], Any],
    good: Callable[[Any], bool],
    description: str,
    *,
    holds: type | None = None,
    mark: str | None = None,
    pattern: str = r"[^,\r\n]+",
) -> Value:
    """Make a value whose texts must be good.

    Args:
        kind: From the text to its value, or a ValueError.
        good: Whether the value can be meant.
        description: What the text must be, such as ``a number above 0``.
        holds: What a job file may hold; None for what `kind` makes, where that is numbers.
        mark: What parts the values of a list.
        pattern: Regular expression of one value, for services.
    """

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not good(value):
            raise ArgumentTypeError(f"{text!r} is not {description}")
        return value

    usual = kind if kind in (int, float) and isinstance(kind, type) else str
    return Value(parse, holds or usual, mark, pattern=pattern)


def whole(least: int) -> Value:
    """Make a parser of whole numbers."""
    pattern = WHOLE if least else f"(0|{WHOLE})"
    return checked(int, lambda value: value >= least, f"a whole number of {least} or more", pattern=pattern)


integer = checked(int, lambda _: True, "a whole number")


def whole_or_auto(least: int) -> Value:
    """Make a parser of whole numbers, or ``auto``, which is None."""
    number = whole(least)
    return Value(
        lambda text: None if text == "auto" else number(text), int, pattern=f"(auto|{number.pattern})"
    )


def number(least: float) -> Value:
    """Make a parser of finite numbers."""
    return checked(
        float, lambda value: least <= value < math.inf, f"a number of {least} or more", pattern=NUMBER
    )


def _bytes(text: str) -> int:
    amount = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) ?([kMGT]i?)B?", text)
    if amount is None:
        raise ValueError(text)
    prefix = amount[2]
    return round(float(amount[1]) * (1024 if "i" in prefix else 1000) ** ("kMGT".index(prefix[0]) + 1))


size = checked(
    _bytes,
    lambda value: value > 0,
    "an amount of memory such as 8GB, 500MB or 8GiB",
    pattern=r"[0-9]+(\.[0-9]+)? ?[kMGT]i?B?",
)


positive = checked(float, lambda value: 0 < value < math.inf, "a number above 0", pattern=POSITIVE)


share = checked(float, lambda value: 0 <= value <= 1, "a number from 0 to 1", pattern=SHARE)


def text(argument: str) -> str:
    """Take a text as it is, if there is any."""
    if not argument.strip():
        raise ArgumentTypeError("it is empty; is a shell variable unset?")
    if "\0" in argument:
        raise ArgumentTypeError(f"{argument!r} contains a null byte, which names must not")
    return argument


any_text = Value(text)


path = Value(text, place="path", pattern=READABLE)


path_to_write = Value(text, place="path", pattern=WRITABLE)


path_or_name = Value(text, place="path or name", pattern=NAME)


server = Value(text, pattern=r"[^,\s]+")
"""A pattern of servers."""


accelerator = Value(text, pattern=f"({'|'.join((*ACCELERATORS, NO_ACCELERATOR))})")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ArgumentTypeError(f"{text!r} contains an empty name; names are separated by commas")
    return names


names = Value(_names, mark=LIST_MARK, pattern=NAME)
"""Names, separated by commas; an empty one is a mistake, since places often mean something."""


def _label_names(text: str) -> tuple[tuple[int, str], ...]:
    names = _names(text)
    for name in names:
        if steering := steering_characters(name):
            raise ArgumentTypeError(f"{name!r} contains {', '.join(steering)}, which names must not")
    numbered = [re.fullmatch(r"(-?\d+)\s*=\s*(.+)", name) for name in names]
    if not any(numbered):
        return tuple(enumerate(names))
    labels = [int(match[1]) for match in numbered if match]
    if len(labels) < len(names):
        raise ArgumentTypeError(f"{text!r} numbers some labels and not others; number all or none")
    if len(set(labels)) < len(labels):
        raise ArgumentTypeError(f"{text!r} names a label twice")
    return tuple((int(match[1]), match[2]) for match in numbered if match)


label_names = Value(_label_names, mark=LIST_MARK)
"""Labels and their names: of 0, 1, 2, ..., or of those that stand before them, as in ``10=trees,20=shrubs``."""


def _formats(text: str) -> tuple[str, ...]:
    chosen = _names(text)
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        hint = did_you_mean(unknown[0], FORMATS, "; {}")
        raise ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(FORMATS)}{hint}")
    return tuple(name for name in FORMATS if name in chosen)


formats = Value(_formats, mark=LIST_MARK, pattern=f"({'|'.join(FORMATS)})")
"""Formats of polygons, each once, in the order in which Terraseam lists them."""


def _wholes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


bands = checked(
    _wholes, bool, "a list of band numbers such as 1,2,3", holds=int, mark=LIST_MARK, pattern=WHOLE
)


_values = checked(_wholes, bool, "a list of values such as 0,1,2")


def _label_values(text: str) -> tuple[int, ...]:
    values = _values(text)
    if len(set(values)) < len(values):
        raise ArgumentTypeError(f"{text!r} names a value twice")
    return values


label_values = Value(_label_values, holds=int, mark=LIST_MARK)
"""Values of label rasters, in the order of the classes."""


def _quotient(text: str) -> float:
    above, _, below = text.partition("/")
    return float(above) / (float(below or 1) or math.nan)


fraction = checked(_quotient, math.isfinite, "a number such as 0.5 or 1/255")


def _setting(text: str) -> tuple[str, int | float]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as head_width=512")
    return name, int(value) if re.fullmatch(r"-?\d+", value) else fraction(value)


setting = Value(_setting, named=True)
"""An argument of a network's builder."""
