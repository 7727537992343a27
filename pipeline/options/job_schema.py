"""The schema of job files: a field for each option that a command declares, and an option for each field.

It is made of what argparse was told, so that an option is declared once. A field holds what is natural in TOML (numbers,
lists, true) or the text of the command line, which what the option has as ``type`` understands in both cases.
"""

from __future__ import annotations

import argparse
import os
from argparse import ArgumentTypeError
from collections.abc import Callable, Mapping, Sequence
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

from terraseam.pipeline.errors import did_you_mean
from terraseam.pipeline.options.placeholders import PlaceholderError, Surroundings
from terraseam.pipeline.options.values import Value
from terraseam.tiles.raster.inspect import is_local

OF_ONE_CALL = frozenset({"help", "config", "json"})
"""Options of a call, not of what is done: a job file has none of them."""

TYPES: dict[type, Any] = {
    str: StrictStr,
    int: StrictInt | StrictStr,
    float: StrictFloat | StrictInt | StrictStr,
}
WORDS = {str: "a text in quotes", int: "a whole number", float: "a number"}
REFUSED = "refused"
"""Kind of the errors whose message is a sentence of ours."""


@dataclass(frozen=True)
class FieldReader:
    """What fields need to be understood.

    Attributes:
        surroundings: What placeholders stand for.
        folder: What relative paths are relative to.
    """

    surroundings: Surroundings
    folder: str


def job_actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options that are fields of a job file: name of the field -> what argparse was told."""
    return {field_name(action): action for action in parser._actions if field_name(action) not in OF_ONE_CALL}


def field_name(action: argparse.Action) -> str:
    """What a job file calls an option: ``min_area`` for ``--min-area``."""
    return field_of(action.option_strings[-1] if action.option_strings else action.dest)


def field_of(option: str) -> str:
    """What a job file calls an option, however its name is written."""
    return option.lstrip("-").replace("-", "_")


def job_schema(parser: argparse.ArgumentParser, beam: Mapping[str, str] | None = None) -> TypeAdapter[Any]:
    """The schema of a command's job files; what it validates needs a `FieldReader` as context.

    Args:
        parser: Declares the options.
        beam: Beam's options, name with dashes -> what it takes; None where no table of them may be.
    """
    fields: dict[str, Any] = {name: _field(action) for name, action in job_actions(parser).items()}
    if beam is not None:
        fields["beam"] = _table("Beam", {field_of(name): _beam_field(name, beam[name]) for name in beam})
    return TypeAdapter(_table("Job", fields))


def value_of(action: argparse.Action) -> Value:
    """How a value of an option is said."""
    if isinstance(action.type, Value):
        return action.type
    holds = action.type if isinstance(action.type, type) and action.type in TYPES else str
    return Value(action.type or str, holds)  # type: ignore[arg-type]


def wanted(action: argparse.Action) -> str:
    """What the field of an option holds, in words."""
    if action.nargs == 0:
        return "true or false"
    value = value_of(action)
    if value.named:
        return "a table such as { width = 8 }"
    return WORDS[value.holds] + (", or a list of them" if repeats(action) or value.mark else "")


def unknown(name: str, parser: argparse.ArgumentParser, beam: Mapping[str, str] | None) -> str:
    """Why a field is refused that no option has; `beam` is as in `job_schema`."""
    if beam and f"--{name}" in beam:
        return f"{name} is an option of Apache Beam; write it below a line [beam]"
    hint = did_you_mean(name, [*job_actions(parser), *(["beam"] if beam is not None else [])], "; {}")
    return f"{name} is no option of {parser.prog}{hint}"


def unknown_to_beam(name: str, parser: argparse.ArgumentParser, beam: Mapping[str, str]) -> str:
    """Why a field in the table of Beam's options is refused that it does not have."""
    if field_of(name) in job_actions(parser):
        return f"beam.{name} is no option of Apache Beam but of {parser.prog}; write it above the line [beam]"
    return f"beam.{name} is no option of Apache Beam{did_you_mean(name, map(field_of, beam), '; {}')}"


def _table(name: str, fields: Mapping[str, Any]) -> Any:
    make: Any = TypedDict
    table = make(name, fields, total=False)
    table.__pydantic_config__ = ConfigDict(extra="forbid")
    return table


def _field(action: argparse.Action) -> Any:
    """The type of an option's field."""
    if action.nargs == 0:
        return Annotated[StrictBool, AfterValidator(lambda said: action.const if said else None)]
    value = value_of(action)
    kind: Any = TYPES[value.holds]
    if repeats(action) or value.mark:
        kind = kind | Annotated[list[kind], Field(min_length=1)]
    if value.named:
        kind = kind | dict[str, StrictBool | StrictInt | StrictFloat | StrictStr]
    return Annotated[kind, BeforeValidator(_expanded), AfterValidator(_understanding(action))]


def _beam_field(name: str, takes: str) -> Any:
    """The type of a field for Beam, which becomes words of a command line."""
    if not takes:
        return Annotated[StrictBool, AfterValidator(lambda said: [name] if said else [])]
    kind: Any = StrictBool | StrictInt | StrictFloat | StrictStr
    if takes == "many":
        kind = kind | list[StrictInt | StrictFloat | StrictStr]
    return Annotated[
        kind,
        BeforeValidator(_expanded),
        AfterValidator(
            lambda said: [f"{name}={one}" for one in (said if isinstance(said, list) else [said])]
        ),
    ]


def _expanded(said: Any, info: ValidationInfo[Any]) -> Any:
    try:
        return info.context.surroundings.expand(said)
    except PlaceholderError as error:
        raise _refusal(str(error)) from error


def _understanding(action: argparse.Action) -> Callable[[Any, ValidationInfo[Any]], Any]:
    """What makes the option's value of a field's."""
    value = value_of(action)

    def one(said: Any, folder: str) -> Any:
        text = _placed(str(said), value, folder)
        try:
            understood = value(text)
        except (ArgumentTypeError, TypeError, ValueError) as error:
            own = isinstance(error, ArgumentTypeError)
            raise _refusal(str(error) if own else f"{text!r} is not {WORDS[value.holds]}") from error
        if action.choices is not None and understood not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise _refusal(f"{text!r} is none of {', '.join(known)}{did_you_mean(text, known, '; {}')}")
        return understood

    def understand(said: Any, info: ValidationInfo[Any]) -> Any:
        folder = info.context.folder
        if isinstance(said, dict):
            said = [
                f"{name}={int(inner) if isinstance(inner, bool) else inner}" for name, inner in said.items()
            ]
        if repeats(action):
            return [one(inner, folder) for inner in (said if isinstance(said, list) else [said])]
        return one(_joined(said, str(value.mark)) if isinstance(said, list) else said, folder)

    return understand


def _joined(said: Sequence[Any], mark: str) -> str:
    """A list as the command line has it."""
    texts = [str(one) for one in said]
    split = [text for text in texts if mark in text]
    if split and len(texts) > 1:
        raise _refusal(f"{split[0]!r} has a {mark!r} in it, which parts the values of a list")
    return mark.join(texts)


def _placed(said: str, value: Value, folder: str) -> str:
    """A path of a job file, as it is from the current folder."""
    if value.place is None or not said.strip() or not is_local(said):
        return said
    placed = os.path.join(folder, os.path.expanduser(said))  # noqa: PTH111, PTH118 - paths stay as they are said
    name = value.place == "path or name" and "/" not in said and not Path(placed).exists()
    return said if name else placed


def repeats(action: argparse.Action) -> bool:
    """Whether an option takes several values, each an argument of its own."""
    return action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction)


def _refusal(why: str) -> PydanticCustomError:
    return PydanticCustomError(REFUSED, "{why}", {"why": why})
