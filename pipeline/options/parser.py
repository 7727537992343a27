"""How command lines are parsed: errors are exceptions, Beam's options are parted off, and job files are read."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.errors import ArgumentError, did_you_mean
from terraseam.pipeline.options.beam import UnknownOptionError, option_hint, removes, split_arguments
from terraseam.pipeline.options.values import LIST_MARK, Value, text

LOOK: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter, "allow_abbrev": False}
"""How parsers of subcommands with an epilog are made."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are exceptions."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise ArgumentError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is none of an argument's choices, and ask for the one that was meant; never for one that deletes."""
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            kept = [choice for choice in map(str, action.choices or ()) if not removes(choice)]
            hint = did_you_mean(str(value), kept, "; {}")
            raise argparse.ArgumentError(action, f"{error.message}{hint}") from None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; values of a list that is given several times add up, and all must be known."""
        said = list(sys.argv[1:] if args is None else args)
        found, unknown = super().parse_known_args(gather_lists(self, said), namespace)
        if unknown:
            options = [word.partition("=")[0] for word in unknown if word.startswith("--")]
            known = {name for action in self._actions for name in action.option_strings}
            hint = option_hint(options[0], known) if options else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{'; ' * bool(hint)}{hint}")
        return found, unknown


def gather_lists(parser: argparse.ArgumentParser, argv: Sequence[str]) -> list[str]:
    """Return arguments in which a list that stands there several times, such as ``--classes``, stands once."""
    lists = {
        name: action.dest
        for action in parser._actions
        if isinstance(action.type, Value) and action.type.mark == LIST_MARK and action.nargs is None
        for name in action.option_strings
    }
    words: list[list[str]] = []
    first: dict[str, list[str]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name not in lists or (not equals and (not rest or rest[0].startswith("--"))):
            words.append([word])
            continue
        value = value if equals else rest.pop(0)
        if lists[name] in first:
            first[lists[name]].append(value)
        else:
            first[lists[name]] = [name, value]
            words.append(first[lists[name]])
    return [one[0] if len(one) == 1 else f"{one[0]}={LIST_MARK.join(one[1:])}" for one in words]


def add_config(parser: Any) -> None:
    """Let all options of a parser stand in a file, too; `read_arguments` reads it."""
    parser.add_argument(
        "--config",
        type=text,
        metavar="FILE.toml",
        help="job file with any of these options, and paths relative to it; the command line goes before it",
    )


def read_arguments(
    parser: argparse.ArgumentParser, argv: Sequence[str], *, beam: bool = True
) -> dict[str, Any]:
    """Values of all options: what the command line says, else the job file that it names, else the default.

    Args:
        parser: Declares the options, ``--config`` among them; it can be used once.
        argv: The arguments behind the subcommand.
        beam: Whether options of Beam may stand among them.

    Returns:
        The values by destination; those for Beam, as `BeamArguments`, under ``beam``.

    Raises:
        ArgumentError: If something is wrong or missing.
    """
    mine, beams = part_beam_arguments(parser, argv) if beam else (list(argv), [])
    if _asks_for_help(argv):
        parser.parse_args(mine)
    defaults, needed = _relax(parser)
    said = vars(parser.parse_args(mine))
    found: dict[str, Any] = {}
    named: frozenset[str] = frozenset()
    reasons: list[str] = []
    if said.get("config") is not None:
        from terraseam.pipeline.options.job_file import read_job

        job = read_job(said["config"], parser, beam=beam)
        found, named, reasons, beams = dict(job.values), job.named, list(job.reasons), [*job.beam, *beams]
        reasons += _exclude(parser, said, found)
    missing = [_called(action) for action in needed if action.dest not in {*said, *named}]
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
            reasons[0] if len(reasons) == 1 else "\n- ".join(["this cannot be run:", *reasons])
        )
    for action in parser._actions:
        if isinstance(action.type, Value) and action.type.named and {action.dest} <= {*said} & {*found}:
            said[action.dest] = [*found[action.dest], *said[action.dest]]
    return {**defaults, **found, **said, **({"beam": arguments} if beam else {})}


def _exclude(parser: argparse.ArgumentParser, said: Mapping[str, Any], found: dict[str, Any]) -> list[str]:
    """Keep apart what excludes each other: an option of the command line takes those of the file away.

    Args:
        parser: Declares what excludes each other.
        said: What the command line says.
        found: What the job file says; options are removed from it.

    Returns:
        A sentence for those that the file has together.
    """
    reasons = []
    for group in parser._mutually_exclusive_groups:
        actions = [action for action in group._group_actions if action.dest in found]
        if any(action.dest in said for action in group._group_actions):
            for action in actions:
                del found[action.dest]
        elif len(actions) > 1:
            reasons.append(
                f"{' and '.join(map(_called, actions))} exclude each other; choose one for the job file"
            )
    return reasons


def part_beam_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments of a parser, and those that are for Beam.

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


def _relax(parser: argparse.ArgumentParser) -> tuple[dict[str, Any], list[argparse.Action]]:
    """Let a parser give only what was said, and demand nothing.

    Returns:
        The defaults by destination, and the actions that were demanded.
    """
    actions = [action for action in parser._actions if action.dest != "help"]
    defaults = {action.dest: action.default for action in actions if not action.required}
    needed = [action for action in actions if action.required]
    for action in actions:
        action.default, action.required = argparse.SUPPRESS, False
        if not action.option_strings and action.nargs == "+":
            action.nargs = "*"
    return defaults, needed


def _called(action: argparse.Action) -> str:
    return action.option_strings[-1] if action.option_strings else str(action.metavar or action.dest)
