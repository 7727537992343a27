"""Options that were passed as values, such as keyword arguments in Python, as the words of a command line."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.job_schema import job_actions, repeats, unknown, value_of, wanted

OF_FILES = "config"
"""The option that names a job file, which itself has none."""


def command_words(parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a command line that says what some options say.

    Args:
        parser: Declares the options.
        options: Values by the name of the option, ``min_area`` for ``--min-area``: texts, numbers, true or false, lists of
            texts or numbers, and tables for ``NAME=VALUE``. None and false leave an option out. ``beam`` is a table of
            options of Apache Beam.

    Raises:
        ArgumentError: If an option is unknown or its value of a kind that it does not take.
    """
    actions = job_actions(parser)
    first: list[str] = []
    rest: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        if name == "beam":
            rest += _beam_words(value)
        elif name == OF_FILES:
            rest.append(f"--config={value}")
        elif name not in actions:
            raise ArgumentError(unknown(name, parser, None))
        elif actions[name].option_strings:
            rest += _option_words(name, actions[name], value)
        else:
            first += [_as_positional(str(one)) for one in _as_list(value)]
    return [*first, *rest]


def _option_words(name: str, action: argparse.Action, value: Any) -> list[str]:
    option = action.option_strings[-1]
    if action.nargs == 0:
        if value is not True:
            raise ArgumentError(f"{name} is {value!r}; it takes {wanted(action)}")
        return [option]
    kind = value_of(action)
    if isinstance(value, Mapping):
        if not kind.named and kind.mark is None:
            raise ArgumentError(f"{name} is a table; it takes {wanted(action)}")
        value = [f"{key}={_plain(one)}" for key, one in value.items()]
    if repeats(action):
        return [f"{option}={one}" for one in _as_list(value)]
    return [f"{option}={_joined(name, value, kind.mark)}"]


def _joined(name: str, value: Any, mark: str | None) -> str:
    """Return a value as one text; the items of a list are parted by `mark`."""
    if not isinstance(value, list):
        return str(value)
    if mark is None:
        raise ArgumentError(f"{name} is a list; it takes one value")
    texts = [str(one) for one in value]
    split = next((text for text in texts if mark in text), None)
    if split is not None and len(texts) > 1:
        raise ArgumentError(f"{name}: {split!r} has a {mark!r} in it, which parts the values of a list")
    return mark.join(texts)


def _beam_words(options: Any) -> list[str]:
    if not isinstance(options, Mapping):
        raise ArgumentError(
            f"beam is {options!r}; it takes a table of Apache Beam's options such as {{'runner': 'DirectRunner'}}"
        )
    words = []
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}={one}" for one in _as_list(value)]
    return words


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _as_positional(word: str) -> str:
    """Return a path that no parser takes for an option."""
    return f"./{word}" if word.startswith("-") else word


def _plain(value: Any) -> Any:
    """Return a value of a table as ``NAME=VALUE`` has it, truth as 1 or 0."""
    return int(value) if isinstance(value, bool) else value
