"""How command lines are parsed: errors are exceptions, Beam's options are parted off, and job files are read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.declarations.option import Option, former_names
from terraseam.pipeline.declarations.values import LIST_MARK
from terraseam.pipeline.errors import ArgumentError, did_you_mean
from terraseam.pipeline.options.beam import UnknownOptionError, option_hint, removes, split_arguments

LOOK: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
"""How parsers of subcommands with an epilog are made."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions.

    Attributes:
        options: What `add_options` added.
        groups: Headings of these in the order of `--help`; empty for those of no group.
    """

    options: tuple[Option, ...] = ()
    groups: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise ArgumentError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, and ask for the one that was meant; never for one that deletes."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            candidates = [choice for choice in map(str, action.choices or ()) if not removes(choice)]
            hint = did_you_mean(str(value), candidates, "; {}")
            raise argparse.ArgumentError(action, f"{error.message}{hint}") from None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; values of a list that is given several times add up, and all must be known."""
        arguments, notes = with_names_of_today(self.options, list(sys.argv[1:] if args is None else args))
        write_notes(notes)
        parsed, unknown = super().parse_known_args(gather_lists(self.options, arguments), namespace)
        if unknown:
            options = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            hint = _option_hint(options[0], self.options) if options else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{'; ' * bool(hint)}{hint}")
        return parsed, unknown


def add_options(parser: Parser, options: Iterable[Option], groups: Sequence[str] = ()) -> None:
    """Add options to a parser, group by group.

    Args:
        parser: Gets them, and keeps them as its `options`.
        options: The options; those of no group come first.
        groups: Headings in the order of `--help`; others follow in the order of the options.
    """
    all_options = list(options)
    used = [option.group for option in all_options]
    headings = [group for group in dict.fromkeys(["", *groups, *used]) if group in used]
    places: dict[str, Any] = {}
    for option in sorted(all_options, key=lambda option: headings.index(option.group)):
        if option.group and option.group not in places:
            places[option.group] = parser.add_argument_group(option.group)
        place = places.get(option.group, parser)
        if option.excludes:
            key = f"{option.group}: {option.excludes}"
            place = places.get(key) or places.setdefault(key, place.add_mutually_exclusive_group())
        names = [option.field] if option.positional else [f"--{name}" for name in (option.name, *option.also)]
        place.add_argument(*names, help=option.help_text, **_action(option))
    parser.options, parser.groups = tuple(all_options), tuple(headings)


def _action(option: Option) -> dict[str, Any]:
    """Return what argparse is told of an option beside its names and help."""
    if option.flag:
        action = "store_true" if option.flag_value else "store_false"
        return {"dest": option.field, "action": action, "default": option.default}
    arguments: dict[str, Any] = {"type": option.value, "metavar": option.metavar, "choices": option.choices}
    if option.positional:
        return {**arguments, "nargs": "+"} if option.repeats else arguments
    if option.repeats == "words":
        arguments |= {"action": "extend", "nargs": "+"}
    elif option.repeats == "again":
        arguments["action"] = "append"
    default = list(option.default or ()) if option.repeats else option.default
    return {**arguments, "dest": option.field, "default": default, "required": option.required}


def _option_hint(name: str, options: Iterable[Option]) -> str:
    """Suggest the option meant by an unknown one; never one that deletes, or a former name."""
    candidates = [option for option in options if not (option.positional or option.deletes)]
    today = {f"--{old}": f"--{new}" for old, new in former_names(candidates).items()}
    return option_hint(name, [f"--{option.name}" for option in candidates]) or did_you_mean(
        name, (), today=today
    )


def with_names_of_today(options: Iterable[Option], argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return arguments with current option names, and a note for each former one."""
    today = {f"--{old}": f"--{new}" for old, new in former_names(options).items()}
    arguments, notes = [], []
    for word in argv:
        name, equals, value = word.partition("=")
        if name in today:
            notes.append(former_note(name, today[name]))
        arguments.append(f"{today.get(name, name)}{equals}{value}")
    return arguments, notes


def former_note(old: str, new: str) -> str:
    """Note that an option, or a field of a job file, was renamed."""
    return f"{old} is now {new}; the old name works on"


def write_notes(notes: Iterable[str]) -> None:
    """Write notes on standard error, each once."""
    for note in dict.fromkeys(notes):
        sys.stderr.write(f"terraseam: {note}\n")


def gather_lists(options: Iterable[Option], argv: Sequence[str]) -> list[str]:
    """Merge repeated lists in arguments, such as those of ``--classes``, into one."""
    lists = {
        f"--{name}": option.field
        for option in options
        if option.is_list and not (option.positional or option.repeats)
        for name in (option.name, *option.also)
    }
    groups: list[list[str]] = []
    first: dict[str, list[str]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name not in lists or (not equals and (not rest or rest[0].startswith("--"))):
            groups.append([word])
            continue
        value = value if equals else rest.pop(0)
        if lists[name] in first:
            first[lists[name]].append(value)
        else:
            first[lists[name]] = [name, value]
            groups.append(first[lists[name]])
    return [group[0] if len(group) == 1 else f"{group[0]}={LIST_MARK.join(group[1:])}" for group in groups]


def read_arguments(parser: Parser, argv: Sequence[str], *, beam: bool = True) -> dict[str, Any]:
    """Return the values of all options: from the command line, else from the job file that it names, else the default.

    Args:
        parser: Declares the options, ``--config`` among them; it can be used once.
        argv: The arguments after the subcommand.
        beam: Whether options of Beam are allowed among them.

    Returns:
        The values by field, those of repeated options as tuples; those for Beam, as
        `BeamArguments`, under ``beam``.

    Raises:
        ArgumentError: If something is wrong or missing.
    """
    argv, notes = with_names_of_today(parser.options, argv)
    write_notes(notes)
    mine, beams = part_beam_arguments(parser, argv) if beam else (list(argv), [])
    if _asks_for_help(argv):
        parser.parse_args(mine)
    _relax(parser)
    parsed = vars(parser.parse_args(mine))
    job_values: dict[str, Any] = {}
    named: frozenset[str] = frozenset()
    reasons: list[str] = []
    if parsed.get("config") is not None:
        from terraseam.pipeline.options.job_file import read_job
        from terraseam.pipeline.options.job_schema import Command

        job = read_job(parsed["config"], Command(parser.prog, parser.options), beam=beam)
        job_values, named, reasons, beams = (
            dict(job.values),
            job.named,
            list(job.reasons),
            [*job.beam, *beams],
        )
        write_notes(former_note(old, new) for old, new in job.former.items())
        reasons += _exclude(parser.options, parsed, job_values)
    needed = [option for option in parser.options if option.required]
    missing = [option.display_name for option in needed if option.field not in {*parsed, *named}]
    if missing:
        reasons.append(
            f"give {', '.join(missing)}, on the command line or in a job file (see {parser.prog} --help)"
        )
    arguments = BeamArguments(tuple(beams))
    if beams:
        from terraseam.pipeline.options.beam_values import value_reasons

        reasons += value_reasons(arguments)
    if reasons:
        raise ArgumentError(
            reasons[0] if len(reasons) == 1 else "\n- ".join(["cannot run this command:", *reasons])
        )
    for option in parser.options:
        if option.value.named and {option.field} <= {*parsed} & {*job_values}:
            parsed[option.field] = [*job_values[option.field], *parsed[option.field]]
    values = {**{option.field: option.default for option in parser.options}, **job_values, **parsed}
    return with_tuples(parser.options, values) | ({"beam": arguments} if beam else {})


def with_tuples(options: Iterable[Option], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values in which those of repeated options are tuples."""
    repeated = {option.field for option in options if option.repeats}
    return {name: tuple(value or ()) if name in repeated else value for name, value in values.items()}


def _exclude(
    options: Iterable[Option], command_line: Mapping[str, Any], job_file: dict[str, Any]
) -> list[str]:
    """Keep apart what excludes each other: an option of the command line takes those of the file away.

    Args:
        options: The options of the command.
        command_line: What the command line says.
        job_file: What the job file says; options are removed from it.

    Returns:
        A sentence for those that the file has together.
    """
    groups: dict[str, list[Option]] = {}
    for option in options:
        if option.excludes:
            groups.setdefault(option.excludes, []).append(option)
    reasons = []
    for group in groups.values():
        in_file = [option for option in group if option.field in job_file]
        if any(option.field in command_line for option in group):
            for option in in_file:
                del job_file[option.field]
        elif len(in_file) > 1:
            names = " and ".join(option.display_name for option in in_file)
            reasons.append(f"{names} are mutually exclusive; choose one for the job file")
    return reasons


def part_beam_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split arguments into those of a parser and those for Beam.

    Raises:
        ArgumentError: If one is an option of neither.
    """
    if _asks_for_help(argv):
        return list(argv), []
    own = {name for action in parser._actions for name in action.option_strings}
    try:
        mine, beam = split_arguments(argv, own)
    except UnknownOptionError as error:
        raise ArgumentError(str(error)) from error
    return list(mine), list(beam)


def _asks_for_help(argv: Sequence[str]) -> bool:
    return bool({"-h", "--help"} & set(argv))


def _relax(parser: argparse.ArgumentParser) -> None:
    """Make a parser return only the arguments given, and require none."""
    for action in parser._actions:
        action.default, action.required = argparse.SUPPRESS, False
        if not action.option_strings and action.nargs == "+":
            action.nargs = "*"
