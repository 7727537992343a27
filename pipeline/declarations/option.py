"""Options of commands, each declared once, beside the field of the dataclass that holds its value.

The command line, job files, the Flex Template and the tables in `docs/options.md` are made of these declarations::

    min_area: Annotated[float, Option("drop polygons smaller than this", number(0), "M2", group="polygons")] = 0.0
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, Field, dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from terraseam.pipeline.declarations.values import LIST_MARK, Value, any_text


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command.

    Attributes:
        help: What it does, as `--help` says it; without the default, which is added.
        value: Reads its text; flags have none.
        metavar: What stands for its value in `--help`: its unit (``PX``, ``M``, ``M2``) or kind.
        group: Heading in `--help` that it stands below; empty for what every user needs.
        more: What documents say beside `help`, in Markdown.
        default_help: Words for the default; None to show the default itself.
        name: Name on the command line, without dashes before it; empty for that of its field.
        choices: Its values, where these are few.
        repeats: Whether it may be repeated: ``again`` for a value each time, ``words`` for several a time.
        positional: Whether it is given without its name.
        also: Other names that are as good.
        former: Names of earlier versions, which are accepted with a note.
        excludes: Options with the same text exclude each other; empty for none.
        deletes: Whether results, or what was computed, can be deleted or replaced by it; it is never suggested.
        in_jobs: Whether job files may have it; not what is about one call alone.
        local: Whether it is about runs on the machine of the user alone.
        field: Field that keeps its value; `declared` fills this in, and what follows.
        default: Value where the option is not given.
        required: Whether it must be given.
        flag: Whether it takes no value.
    """

    help: str
    value: Value = any_text
    metavar: str | None = None
    group: str = ""
    more: str = ""
    default_help: str | None = None
    name: str = ""
    choices: tuple[Any, ...] | None = None
    repeats: Literal["again", "words"] | None = None
    positional: bool = False
    also: tuple[str, ...] = ()
    former: tuple[str, ...] = ()
    excludes: str = ""
    deletes: bool = False
    in_jobs: bool = True
    local: bool = False
    field: str = ""
    default: Any = None
    required: bool = False
    flag: bool = False

    @property
    def job_field(self) -> str:
        """Name in job files: ``min_area`` for ``--min-area``."""
        return field_of(self.name)

    @property
    def display_name(self) -> str:
        """Name in messages: ``--min-area``, or ``RASTER``."""
        return str(self.metavar) if self.positional else f"--{self.name}"

    @property
    def is_list(self) -> bool:
        """Whether one text holds several values, separated by commas."""
        return self.value.mark == LIST_MARK

    @property
    def flag_value(self) -> bool:
        """Value of a flag that is given."""
        return not self.default

    @property
    def help_text(self) -> str:
        """Return `help` with the default behind it."""
        return f"{self.help} (default: {self.default_text})" if self.default_text else self.help

    @property
    def default_text(self) -> str:
        """Words for the default; empty for what goes without saying."""
        return shown(self.default) if self.default_help is None else self.default_help


def declared(kind: type) -> tuple[Option, ...]:
    """Return the options that a dataclass declares, in the order of its fields.

    Args:
        kind: A dataclass; fields without an `Option` in their type are none.
    """
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _bound(field, option, get_args(hints[field.name])[0] is bool)
        for field in fields(kind)
        for option in getattr(hints[field.name], "__metadata__", ())
        if isinstance(option, Option)
    )


def bound(option: Option, field: str, default: Any = None, *, flag: bool = False) -> Option:
    """Return an option of a field that no dataclass of options has."""
    return replace(option, field=field, name=option.name or dashed(field), default=default, flag=flag)


def _bound(field: Field[Any], option: Option, flag: bool) -> Option:
    factory = field.default_factory
    default = factory() if factory is not MISSING else field.default
    required = default is MISSING
    return replace(
        bound(option, field.name, None if required else default, flag=flag),
        required=required,
    )


def dashed(name: str) -> str:
    """Return a name as the command line has it: ``min-area`` for ``min_area``."""
    return name.replace("_", "-")


def field_of(name: str) -> str:
    """Return a name as job files have it: ``min_area`` for ``--min-area``."""
    return name.lstrip("-").replace("-", "_")


def former_names(options: Iterable[Option]) -> dict[str, str]:
    """Return the name of today for each name of earlier versions, both without dashes before them."""
    return {old: option.name for option in options for old in option.former}


def shown(value: Any) -> str:
    """Return a default as `--help` has it; an empty text for what goes without saying."""
    if value is None or isinstance(value, bool | dict):
        return ""
    if isinstance(value, tuple):
        return LIST_MARK.join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
