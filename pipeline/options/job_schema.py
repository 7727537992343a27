"""Make the schema of job files: one field for each option that a command declares.

It comes from the same declarations as the command line. A field holds what is natural in TOML (numbers,
lists, true) or the text of the command line; the option's ``type`` parses both.
"""

from __future__ import annotations

import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationInfo,
)
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from terraseam.pipeline.declarations.option import Option, field_of, former_names
from terraseam.pipeline.declarations.values import Value
from terraseam.pipeline.errors import did_you_mean
from terraseam.pipeline.options.beam import removes
from terraseam.pipeline.options.placeholders import PlaceholderError, Surroundings
from terraseam.tiles.raster.inspect import is_local

TYPES: dict[type, Any] = {
    str: StrictStr,
    int: StrictInt | StrictStr,
    float: StrictFloat | StrictInt | StrictStr,
}
WORDS = {str: "a quoted string", int: "a whole number", float: "a number"}
REFUSED = "refused"
"""Type of the errors whose message is our own sentence."""


@dataclass(frozen=True)
class Command:
    """A command whose options may be in job files.

    Attributes:
        name: Its name in messages, such as ``terraseam segment``.
        options: Its options.
    """

    name: str
    options: tuple[Option, ...]


@dataclass(frozen=True)
class FieldReader:
    """The context in which fields are parsed.

    Attributes:
        surroundings: The values of placeholders.
        folder: The folder that relative paths start from.
    """

    surroundings: Surroundings
    folder: str


def job_options(options: Iterable[Option]) -> dict[str, Option]:
    """Return the options that a job file may have, by their names in it."""
    return {option.job_field: option for option in options if option.in_jobs}


def job_schema(options: Iterable[Option], beam: Mapping[str, str] | None = None) -> TypeAdapter[Any]:
    """Make the schema of a command's job files; validation needs a `FieldReader` as context.

    Args:
        options: The command's options.
        beam: Beam's options, as `beam_options` returns them; None if no table of them is allowed.
    """
    fields: dict[str, Any] = {name: _field(option) for name, option in job_options(options).items()}
    if beam is not None:
        fields["beam"] = _table("Beam", {field_of(name): _beam_field(name, beam[name]) for name in beam})
    return TypeAdapter(_table("Job", fields))


def describe_field(option: Option) -> str:
    """Describe the values of an option's field."""
    if option.flag:
        return "true or false"
    value = option.value
    if value.named:
        return "a table such as { width = 8 }"
    return WORDS[value.holds] + (", or a list of them" if option.repeats or value.mark else "")


def unknown(name: str, command: Command, beam: Mapping[str, str] | None) -> str:
    """Return the refusal of a field that is not an option; `beam` is as in `job_schema`."""
    if beam and f"--{name}" in beam:
        return f"{name} is an option of Apache Beam; write it below a line [beam]"
    candidates = [option for option in command.options if option.in_jobs and not option.deletes]
    today = {field_of(old): field_of(new) for old, new in former_names(candidates).items()}
    known = [*(option.job_field for option in candidates), *(["beam"] if beam is not None else [])]
    hint = did_you_mean(name, known, "; {}", today)
    return f"{name} is not an option of {command.name}{hint}"


def unknown_to_beam(name: str, command: Command, beam: Mapping[str, str]) -> str:
    """Return the refusal of a field in Beam's table that is not an option of Beam."""
    if field_of(name) in job_options(command.options):
        return (
            f"beam.{name} is an option of {command.name}, not of Apache Beam; write it above the line [beam]"
        )
    candidates = [field_of(option) for option in beam if not removes(option)]
    return f"beam.{name} is not an option of Apache Beam{did_you_mean(name, candidates, '; {}')}"


def _table(name: str, fields: Mapping[str, Any]) -> Any:
    make: Any = TypedDict
    table = make(name, fields, total=False)
    table.__pydantic_config__ = ConfigDict(extra="forbid")
    return table


def _field(option: Option) -> Any:
    """Return the type of an option's field."""
    if option.flag:
        return Annotated[StrictBool, AfterValidator(lambda flag: option.flag_value if flag else None)]
    value = option.value
    kind: Any = TYPES[value.holds]
    if option.repeats or value.mark:
        kind = kind | Annotated[list[kind], Field(min_length=1)]
    if value.named:
        kind = kind | dict[str, StrictBool | StrictInt | StrictFloat | StrictStr]
    return Annotated[kind, BeforeValidator(_expanded), AfterValidator(_understanding(option))]


def _beam_field(name: str, takes: str) -> Any:
    """Return the type of a field for Beam; its values become arguments of a command line."""
    if not takes:
        return Annotated[StrictBool, AfterValidator(lambda flag: [name] if flag else [])]
    kind: Any = StrictBool | StrictInt | StrictFloat | StrictStr
    if takes == "many":
        kind = kind | list[StrictInt | StrictFloat | StrictStr]
    return Annotated[
        kind,
        BeforeValidator(_expanded),
        AfterValidator(
            lambda data: [f"{name}={value}" for value in (data if isinstance(data, list) else [data])]
        ),
    ]


def _expanded(data: Any, info: ValidationInfo[Any]) -> Any:
    try:
        return info.context.surroundings.expand(data)
    except PlaceholderError as error:
        raise _refusal(str(error)) from error


def _understanding(option: Option) -> Callable[[Any, ValidationInfo[Any]], Any]:
    """Return the function that parses an option's field."""
    value = option.value

    def parse(data: Any, folder: str) -> Any:
        text = _resolved(str(data), value, folder)
        try:
            understood = value(text)
        except (ArgumentTypeError, TypeError, ValueError) as error:
            own = isinstance(error, ArgumentTypeError)
            raise _refusal(str(error) if own else f"{text!r} is not {WORDS[value.holds]}") from error
        if option.choices is not None and understood not in option.choices:
            known = [str(choice) for choice in option.choices]
            raise _refusal(f"{text!r} is not one of {', '.join(known)}{did_you_mean(text, known, '; {}')}")
        return understood

    def understand(data: Any, info: ValidationInfo[Any]) -> Any:
        folder = info.context.folder
        if isinstance(data, dict):
            data = [
                f"{name}={int(inner) if isinstance(inner, bool) else inner}" for name, inner in data.items()
            ]
        if option.repeats:
            return [parse(inner, folder) for inner in (data if isinstance(data, list) else [data])]
        return parse(_joined(data, str(value.mark)) if isinstance(data, list) else data, folder)

    return understand


def _joined(values: Sequence[Any], mark: str) -> str:
    """Join a list as on the command line."""
    texts = [str(value) for value in values]
    split = [text for text in texts if mark in text]
    if split and len(texts) > 1:
        raise _refusal(f"{split[0]!r} contains a {mark!r}, which separates the values of a list")
    return mark.join(texts)


def _resolved(path: str, value: Value, folder: str) -> str:
    """Return a path of a job file relative to the current folder."""
    if value.place is None or not path.strip() or not is_local(path):
        return path
    resolved = os.path.join(folder, os.path.expanduser(path))  # noqa: PTH111, PTH118 - paths stay as they are said
    name = value.place == "path or name" and "/" not in path and not Path(resolved).exists()
    return path if name else resolved


def _refusal(why: str) -> PydanticCustomError:
    return PydanticCustomError(REFUSED, "{why}", {"why": why})
