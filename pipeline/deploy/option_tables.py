"""The tables of options in ``docs/options.md``, made of the declarations that the commands are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from terraseam.pipeline.declarations.option import Option
from terraseam.pipeline.exit_status import show
from terraseam.pipeline.options.evaluate_arguments import evaluate_parser
from terraseam.pipeline.options.models_arguments import models_parsers
from terraseam.pipeline.options.parser import Parser
from terraseam.pipeline.options.segment_arguments import parsers
from terraseam.pipeline.options.store_arguments import store_parsers
from terraseam.pipeline.options.train_arguments import train_parser
from terraseam.pipeline.options.vectorize_arguments import vectorize_parser

HEAD = """\
# Options

All options of all commands; `terraseam COMMAND --help` gives a shorter version.
This page is generated: see [CONTRIBUTING.md](../CONTRIBUTING.md).

M2 stands for square metres, M for metres, PX for pixels. In a [job file](../README.md#job-files), options have the same
names with underscores: `min_area` for `--min-area`. Parameters of the [Flex Template](../deploy/README.md) have the same
names without the leading dashes. `segment`, `plan` and `vectorize` also accept any
[Apache Beam option](../README.md#on-other-machines).
"""


def commands() -> dict[str, Parser]:
    """Return the parsers of all commands whose options are listed, by what the user types."""
    command_parsers = {"segment": parsers("")[1]["segment"], "vectorize": vectorize_parser()}
    command_parsers |= {"train": train_parser(), "evaluate": evaluate_parser()}
    command_parsers |= {f"models {name}": parser for name, parser in models_parsers()[1].items()}
    return command_parsers | {f"store {name}": parser for name, parser in store_parsers()[1].items()}


def document() -> str:
    """Return the text of ``docs/options.md``."""
    parts = [HEAD]
    for name, parser in commands().items():
        parts.append(f"## terraseam {name}\n")
        if name == "segment":
            parts.append(
                "`terraseam plan` takes the same options, plus `--json` to print the plan as JSON.\n"
            )
        parts += [_table(group, parser.options) for group in parser.groups]
    return "\n".join(parts)


def _table(group: str, options: Iterable[Option]) -> str:
    rows = [_row(option) for option in options if option.group == group]
    heading = [f"### {group[0].upper()}{group[1:]}", ""] if group else []
    return "\n".join([*heading, "| option | what it does | default |", "|---|---|---|", *rows, ""])


def _row(option: Option) -> str:
    names = [f"`{_signature(option)}`", *(f"`--{name}`" for name in option.also)]
    more = [option.more, f"Formerly {_listed(option.former)}." if option.former else ""]
    text = ". ".join([_sentence(option.help), *filter(None, [" ".join(filter(None, more))])])
    return f"| {', '.join(names)} | {text} | {option.default_text} |".replace("  |", " |")


def _signature(option: Option) -> str:
    """Return an option and what it takes, as Markdown tables have it."""
    takes = "\\|".join(map(str, option.choices or ())) or (option.metavar or "").replace("|", "\\|")
    if option.positional:
        return f"{takes}..." if option.repeats else takes
    takes += "..." if option.repeats == "words" else ""
    return f"--{option.name}" if option.flag else f"--{option.name} {takes}"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`--{name}`" for name in names)


def _sentence(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


if __name__ == "__main__":
    show(document().rstrip("\n"))
