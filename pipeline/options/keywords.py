"""Options that were passed as values, such as keyword arguments in Python, as the words of a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.pipeline.declarations.option import Option, dashed, field_of, former_names
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.job_schema import Command, describe_field, job_options, unknown
from terraseam.pipeline.options.parser import Parser

OF_FILES = "config"
"""The option that names a job file, which itself has none."""


def command_arguments(parser: Parser, options: Mapping[str, Any]) -> list[str]:
    """Return the arguments of a command line that says what some options say.

    Args:
        parser: Declares the options.
        options: Values by the name of the option, ``min_area`` for ``--min-area``: texts, numbers, true or false, lists of
            texts or numbers, and tables for ``NAME=VALUE``. None and false leave an option out. ``beam`` is a table of
            options of Apache Beam.

    Raises:
        ArgumentError: If an option is unknown or its value of a kind that it does not take.
    """
    known = job_options(parser.options)
    known |= {field_of(old): known[field_of(new)] for old, new in former_names(parser.options).items()}
    first: list[str] = []
    rest: list[str] = []
    for name, value in options.items():
        if value is None or value is False:
            continue
        if name == "beam":
            rest += _beam_arguments(value)
        elif name == OF_FILES:
            rest.append(f"--config={value}")
        elif name not in known:
            raise ArgumentError(unknown(name, Command(parser.prog, parser.options), None))
        elif not known[name].positional:
            rest += _option_arguments(name, known[name], value)
        else:
            first += [_as_positional(str(item)) for item in _as_list(value)]
    return [*first, *rest]


def _option_arguments(name: str, option: Option, value: Any) -> list[str]:
    option_name = f"--{dashed(name)}"  # A former name stays, so that the command says what it is called now.
    if option.flag:
        if value is not True:
            raise ArgumentError(f"{name} is {value!r}; it takes {describe_field(option)}")
        return [option_name]
    kind = option.value
    if isinstance(value, Mapping):
        if not kind.named and kind.mark is None:
            raise ArgumentError(f"{name} is a table; it takes {describe_field(option)}")
        value = [f"{key}={_plain(item)}" for key, item in value.items()]
    if option.repeats:
        return [f"{option_name}={item}" for item in _as_list(value)]
    return [f"{option_name}={_joined(name, value, kind.mark)}"]


def _joined(name: str, value: Any, mark: str | None) -> str:
    """Return a value as one text; the items of a list are parted by `mark`."""
    if not isinstance(value, list):
        return str(value)
    if mark is None:
        raise ArgumentError(f"{name} is a list; it takes one value")
    texts = [str(item) for item in value]
    split = next((text for text in texts if mark in text), None)
    if split is not None and len(texts) > 1:
        raise ArgumentError(f"{name}: {split!r} contains a {mark!r}, which separates the values of a list")
    return mark.join(texts)


def _beam_arguments(options: Any) -> list[str]:
    if not isinstance(options, Mapping):
        raise ArgumentError(
            f"beam is {options!r}; it takes a table of Apache Beam's options such as {{'runner': 'DirectRunner'}}"
        )
    arguments = []
    for name, value in options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not None and value is not False:
            arguments += [f"--{name}={item}" for item in _as_list(value)]
    return arguments


def _as_list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]


def _as_positional(word: str) -> str:
    """Return a path that no parser takes for an option."""
    return f"./{word}" if word.startswith("-") else word


def _plain(value: Any) -> Any:
    """Return a value of a table as ``NAME=VALUE`` has it, truth as 1 or 0."""
    return int(value) if isinstance(value, bool) else value
