"""Declare and parse the command line of ``terraseam store``."""

from __future__ import annotations

import argparse
import re
from argparse import ArgumentTypeError
from collections.abc import Sequence

from terraseam.pipeline.declarations.option import Option, bound
from terraseam.pipeline.declarations.values import Value, path
from terraseam.pipeline.options.parser import Parser, add_options

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
SPANS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}


def span(text: str) -> float:
    """Parse a span of time; return seconds."""
    return _with_unit(text, SPANS, "a span such as 12h, 30d or 8w")


def size(text: str) -> float:
    """Parse an amount of data; return bytes."""
    return _with_unit(text, UNITS, "a size such as 500MB or 20GB")


def _with_unit(text: str, units: dict[str, int], description: str) -> float:
    match = re.fullmatch(rf"(\d+(?:\.\d+)?) ?({'|'.join(units)})", text.strip())
    if not match:
        raise ArgumentTypeError(f"{text!r} is not {description}")
    return float(match[1]) * units[match[2]]


FOLDER = bound(Option("the --work or --output folder of a run", path, "DIR", positional=True), "folder")
JSON = bound(Option("print as JSON"), "json", False, flag=True)
VERBS = {
    "list": ("show the number, size and age of entries", ()),
    "verify": (
        "check every entry against its checksum",
        (
            bound(
                Option("delete damaged entries; the next run recomputes them", deletes=True),
                "remove",
                False,
                flag=True,
            ),
        ),
    ),
    "prune": (
        "delete old entries and leftovers of killed runs; the next run recomputes what it needs",
        (
            bound(
                Option(
                    "delete entries last written or used longer ago than this, such as 12h, 30d, 8w",
                    Value(span),
                    "AGE",
                    deletes=True,
                ),
                "older_than",
            ),
            bound(
                Option(
                    "delete the oldest entries until the store is no larger than this, such as 500MB, 20GB",
                    Value(size),
                    "SIZE",
                    name="max-size",
                    former=("down-to",),
                    deletes=True,
                ),
                "down_to",
            ),
        ),
    ),
}
"""Description of each verb, and its options besides `FOLDER` and `JSON`."""


def parse_store(argv: Sequence[str]) -> argparse.Namespace:
    """Parse the arguments after ``terraseam store``.

    Raises:
        ArgumentError: If an argument is wrong.
    """
    namespace: argparse.Namespace = store_parsers()[0].parse_args(argv)
    return namespace


def store_parsers() -> tuple[Parser, dict[str, Parser]]:
    """Make the parser of the arguments after ``terraseam store``, and those of its verbs."""
    parser = Parser(
        prog="terraseam store", description="List, verify and prune a prediction store.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=Parser)
    parsers: dict[str, Parser] = {}
    for name, (description, options) in VERBS.items():
        parsers[name] = verbs.add_parser(name, help=description, description=description, allow_abbrev=False)
        add_options(parsers[name], (FOLDER, *options, JSON))
    return parser, parsers
