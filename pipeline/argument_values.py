"""Values of arguments, understood or refused: what argparse takes as ``type``."""

from __future__ import annotations

import difflib
import math
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from typing import Any

from pipeline.options import FORMATS


def checked(kind: Callable[[str], Any], good: Callable[[Any], bool], words: str) -> Callable[[str], Any]:
    """Make a parser of texts that must be good.

    Args:
        kind: From the text to its value, or a ValueError.
        good: Whether the value can be meant.
        words: What was wanted, such as ``a number above 0``.
    """

    def parse(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not good(value):
            raise ArgumentTypeError(f"{text!r} is not {words}")
        return value

    return parse


def whole(least: int) -> Callable[[str], int]:
    """Make a parser of whole numbers."""
    return checked(int, lambda value: value >= least, f"a whole number of {least} or more")


def number(least: float) -> Callable[[str], float]:
    """Make a parser of finite numbers."""
    return checked(float, lambda value: least <= value < math.inf, f"a number of {least} or more")


positive = checked(float, lambda value: 0 < value < math.inf, "a number above 0")


share = checked(float, lambda value: 0 <= value <= 1, "a number from 0 to 1")


def text(said: str) -> str:
    """Take a text as it is, if there is any."""
    if not said.strip():
        raise ArgumentTypeError("it is empty; is a variable of the shell not set?")
    return said


def names(said: str) -> tuple[str, ...]:
    """Names, separated by commas; an empty one is a mistake, since places often mean something."""
    found = tuple(name.strip() for name in said.split(","))
    if not all(found):
        raise ArgumentTypeError(f"{said!r} has an empty name in it; names are separated by commas")
    return found


def label_names(said: str) -> tuple[tuple[int, str], ...]:
    """Labels and their names: of 0, 1, 2, ..., or of those that stand before them, as in ``10=trees,20=shrubs``."""
    found = names(said)
    numbered = [re.fullmatch(r"(-?\d+)\s*=\s*(.+)", name) for name in found]
    if not any(numbered):
        return tuple(enumerate(found))
    labels = [int(match[1]) for match in numbered if match]
    if len(labels) < len(found):
        raise ArgumentTypeError(
            f"{said!r} names some labels by their number and others not; number all or none"
        )
    if len(set(labels)) < len(labels):
        raise ArgumentTypeError(f"{said!r} names a label twice")
    return tuple((int(match[1]), match[2]) for match in numbered if match)


def formats(said: str) -> tuple[str, ...]:
    """Formats of polygons, each once, in the order in which Terraseam lists them."""
    chosen = names(said)
    unknown = [name for name in chosen if name not in FORMATS]
    if unknown:
        near = difflib.get_close_matches(unknown[0], FORMATS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(FORMATS)}{hint}")
    return tuple(name for name in FORMATS if name in chosen)


def _wholes(said: str) -> tuple[int, ...]:
    return tuple(int(part) for part in said.split(","))


bands = checked(_wholes, bool, "a list of band numbers such as 1,2,3")


def label_values(said: str) -> tuple[int, ...]:
    """Values of label rasters, in the order of the classes."""
    values = checked(_wholes, bool, "a list of values such as 0,1,2")(said)
    if len(set(values)) < len(values):
        raise ArgumentTypeError(f"{said!r} names a value twice")
    return values


def _quotient(said: str) -> float:
    above, _, below = said.partition("/")
    return float(above) / (float(below or 1) or math.nan)


fraction = checked(_quotient, math.isfinite, "a number such as 0.5 or 1/255")


def setting(said: str) -> tuple[str, int | float]:
    """An argument of a network's builder."""
    name, found, value = said.partition("=")
    if not found or not name:
        raise ArgumentTypeError(f"{said!r} is not NAME=VALUE, such as head_width=512")
    return name, int(value) if re.fullmatch(r"-?\d+", value) else fraction(value)
