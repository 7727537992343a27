"""Tell Beam's arguments from ours without importing Beam.

Beam's options are read from the source of its installed package: importing it would take seconds,
and an argument that nobody knows must be refused at once.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import terraseam
from terraseam.pipeline.errors import did_you_mean


class UnknownOptionError(ValueError):
    """An argument that neither Terraseam nor Beam knows."""


def beam_options() -> dict[str, str]:
    """Return all options of the installed Beam: name with dashes -> ``many``, ``one`` or no value that it takes."""
    arities: dict[str, str] = {}
    for node in declarations():
        action = next((k.value for k in node.keywords if k.arg == "action"), None)
        takes = _TAKES.get(getattr(action, "value", None), "many" if isinstance(action, ast.Name) else "one")
        arities.update((name, takes) for name in declared_names(node))
    return arities


@lru_cache(1)
def options_source() -> ast.Module:
    """Parse the module of the installed Beam that declares its options; an empty one if Beam is not installed."""
    spec = importlib.util.find_spec("apache_beam")
    if spec is None or not spec.submodule_search_locations:
        return ast.Module([], [])
    source = Path(spec.submodule_search_locations[0], "options", "pipeline_options.py").read_text("utf-8")
    return ast.parse(source)


def declarations() -> list[ast.Call]:
    """Return the calls by which Beam declares its options."""
    nodes = ast.walk(options_source())
    return [
        node for node in nodes if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in _DECLARE
    ]


def declared_names(call: ast.Call) -> list[str]:
    """Return the names of a declared option, with dashes."""
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    return [name for name in names if name.startswith("--")]


_DECLARE = ("add_argument", "add_value_provider_argument", "_add_argument")
_TAKES: dict[object, str] = {"store_true": "", "store_false": "", "append": "many"}
"""Number of values that options take, by their action; custom actions of Beam collect values."""


def split_arguments(argv: Sequence[str], own: Collection[str]) -> tuple[list[str], list[str]]:
    """Split a command line into Terraseam's arguments and Beam's.

    Args:
        argv: The arguments after the subcommand.
        own: Terraseam's option names, with dashes.

    Raises:
        UnknownOptionError: If neither has an option; the message names the nearest that exists.
    """
    if not any(_is_option(arg) and _name(arg) not in own for arg in argv):
        return list(argv), []
    known = beam_options()
    mine: list[str] = []
    beams: list[str] = []
    rest = list(argv)
    while rest:
        arg = rest.pop(0)
        if not _is_option(arg) or _name(arg) in own:
            mine.append(arg)
            continue
        beams.append(arg)
        if _check_known(_name(arg), own, known) and "=" not in arg and rest and not _is_option(rest[0]):
            beams.append(rest.pop(0))
    return mine, beams


def option_hint(name: str, known: Collection[str]) -> str:
    """Suggest the option meant by an unknown one; return an empty text if none is close.

    Options that delete something are never suggested.
    """
    meant = next((options for options in MEANT if options.meant_by(name) and options.name in known), None)
    if meant is not None:
        return meant.hint
    return did_you_mean(name, [option for option in known if not removes(option)])


class Meant(NamedTuple):
    """Names that other programs use for one of our options.

    Attributes:
        name: The option.
        others: Names in other programs, without dashes.
        hint: The suggestion.
    """

    name: str
    others: frozenset[str]
    hint: str

    def meant_by(self, name: str) -> bool:
        """Check whether an unknown option is one of these names."""
        return name.strip("-").replace("_", "-").casefold() in self.others


MEANT = (
    Meant(
        "--accelerator",
        frozenset({"gpu", "gpus", "use-gpu", "device", "devices", "cuda"}),
        "a GPU of this machine is used automatically; --accelerator chooses the GPU of Dataflow workers",
    ),
    Meant("--halo", frozenset({"overlap", "padding", "buffer"}), "did you mean --halo?"),
    Meant("--workers", frozenset({"jobs", "processes", "threads", "num-workers"}), "did you mean --workers?"),
    Meant("--augment", frozenset({"tta", "test-time-augmentation"}), "did you mean --augment?"),
)
"""Options known by other names in other programs."""

_REMOVING = re.compile("prune|remove|force|restart|older-than|down-to|max-size|delete|purge|overwrite")


def removes(name: str) -> bool:
    """Check whether an option or a command of this name deletes something; such names are never suggested."""
    return _REMOVING.search(name) is not None


def _is_option(arg: str) -> bool:
    return arg.startswith("--") and len(arg) > 2


def _name(arg: str) -> str:
    return arg.partition("=")[0]


def _check_known(name: str, own: Collection[str], known: Mapping[str, str]) -> bool:
    """Check whether an option of Beam takes a value.

    Raises:
        UnknownOptionError: If Beam has no such option.
    """
    if name not in known:
        hint = option_hint(name, [*own, *known]) or "see --help"
        raise UnknownOptionError(f"{name} is not an option of Terraseam or of Apache Beam; {hint}")
    return bool(known[name])


SETUP_FILE = Path(terraseam.__file__).parents[1] / "setup.py"
"""The file that workers install Terraseam from; it exists if Terraseam runs from its source."""
