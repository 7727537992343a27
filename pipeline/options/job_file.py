"""Read job files: the options of a command in TOML, for repeated runs by a scheduler."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from terraseam.pipeline.declarations.option import field_of, former_names
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.beam import beam_options
from terraseam.pipeline.options.job_schema import (
    REFUSED,
    Command,
    FieldReader,
    describe_field,
    job_options,
    job_schema,
    unknown,
    unknown_to_beam,
)
from terraseam.pipeline.options.placeholders import Surroundings
from terraseam.tiles.access.special_files import special_reason
from terraseam.tiles.raster.inspect import is_local

SHOWN = 60
"""Characters of a wrong value that are shown."""


@dataclass(frozen=True)
class JobFile:
    """The contents of a job file.

    Attributes:
        values: Values of options by field, as the command line would give them.
        beam: Arguments for Beam.
        named: Fields of the options that it sets, whether their values are valid or not.
        reasons: Why fields are refused, one sentence each.
        former: Current names of the options that it sets by a former name.
    """

    values: Mapping[str, Any]
    beam: tuple[str, ...]
    named: frozenset[str]
    reasons: tuple[str, ...]
    former: Mapping[str, str]


def read_job(path: str, command: Command, *, beam: bool) -> JobFile:
    """Read a job file.

    Args:
        path: The file.
        command: The command whose options are its fields.
        beam: Whether it may have a table of Beam's options.

    Raises:
        ArgumentError: If it cannot be read, or is not TOML.
    """
    table, reasons = _with_field_names(_read_toml(path))
    today = {field_of(old): field_of(new) for old, new in former_names(command.options).items()}
    former = {old: new for old, new in today.items() if old in table}
    reasons += [
        f"{old} and {new} are the same option; give it once" for old, new in former.items() if new in table
    ]
    table = {former.get(name, name): value for name, value in table.items()}
    options = job_options(command.options)
    known = None
    if beam:
        # Beam has six times the options of a command: they are only looked at where there may be some.
        known = beam_options() if set(table) - set(options) else {}
    surroundings = Surroundings(datetime.now().astimezone(), os.environ)
    reader = FieldReader(surroundings, os.path.dirname(path))  # noqa: PTH120
    values, wrong = _validated(job_schema(command.options, known), table, reader)
    reasons += [_reason(error, table, command, known) for error in wrong]
    section = values.pop("beam", {})
    beam_arguments = [word for name in (table["beam"] if section else ()) for word in section[name]]
    return JobFile(
        {options[name].field: value for name, value in values.items() if value is not None},
        tuple(beam_arguments),
        frozenset(options[name].field for name in table if name in options),
        tuple(f"{path}: {reason}" for reason in dict.fromkeys(reasons)),
        former,
    )


def _read_toml(path: str) -> dict[str, Any]:
    if not is_local(path):
        raise ArgumentError(f"--config {path} is not on this machine, where job files are read; copy it here")
    if special := special_reason(path):
        raise ArgumentError(f"--config {special}")
    try:
        return tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise ArgumentError(f"--config {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ArgumentError(f"--config {path} is not TOML: it is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"--config {path} is not TOML: {error}") from error
    except RecursionError as error:
        raise ArgumentError(f"--config {path} is not a job file: it is nested too deeply") from error


def _with_field_names(table: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return a table by field names, which may be written with dashes, and a sentence for each that occurs twice."""
    fields: dict[str, Any] = {}
    twice = []
    for name, value in table.items():
        if field_of(name) in fields:
            twice.append(f"{name} is given twice, once with dashes and once with underscores; give it once")
        fields[field_of(name)] = value
    if isinstance(fields.get("beam"), dict):
        fields["beam"], inner = _with_field_names(fields["beam"])
        twice += [f"beam.{reason}" for reason in inner]
    return fields, twice


def _validated(
    schema: TypeAdapter[Any], table: Mapping[str, Any], reader: FieldReader
) -> tuple[dict[str, Any], list[Any]]:
    """Return the values of a table, or none and one error for each invalid field."""
    try:
        return schema.validate_python(table, context=reader), []
    except ValidationError as error:
        first: dict[tuple[Any, ...], Any] = {}
        for detail in error.errors(include_url=False):
            first.setdefault(_location(detail), detail)
        return {}, list(first.values())


def _location(error: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the names of an invalid field: its own, or ``beam`` and that of an option of Beam."""
    return tuple(error["loc"][: 2 if error["loc"][0] == "beam" else 1])


def _reason(error: Any, table: Mapping[str, Any], command: Command, beam: Mapping[str, str] | None) -> str:
    """Return the sentence that says why a field is refused."""
    location = _location(error)
    name, inner = ".".join(location), location[-1]
    if error["type"] == "extra_forbidden":
        return (
            unknown(name, command, beam)
            if len(location) == 1 or beam is None
            else unknown_to_beam(inner, command, beam)
        )
    if error["type"] == REFUSED:
        return f"{name}: {error['msg']}"
    value = table[inner] if len(location) == 1 else table["beam"][inner]
    if value == []:
        return f"{name} is an empty list; leave it out, or fill it"
    if location[0] != "beam":
        return f"{name} is {shown(value)}; it takes {describe_field(job_options(command.options)[name])}"
    if len(location) == 1:
        return f"beam is {shown(value)}; it takes a table: a line [beam], and options of Apache Beam below it"
    takes = {"": "true or false", "one": "one value", "many": "a value, or a list of them"}
    option = next(option for option in beam or {} if field_of(option) == inner)
    return f"{name} is {shown(value)}; it takes {takes[(beam or {})[option]]}"


def shown(value: Any) -> str:
    """Format a value of a TOML file for a message."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, dict):
        text = "a table"
    elif isinstance(value, list):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, date):
        text = f"the date {value}"
    else:
        text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
