"""Check the values of Beam's options before work starts, without importing Beam."""

from __future__ import annotations

import ast
from collections.abc import Callable

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.errors import did_you_mean
from terraseam.pipeline.options.beam import declarations, declared_names, options_source

NUMBERS: dict[str, tuple[Callable[[str], float], str]] = {
    "int": (int, "a whole number"),
    "float": (float, "a number"),
}
"""Parser and description of each numeric type, by its name in Beam's declarations."""

WORKERS = "--direct_num_workers"


def value_reasons(arguments: BeamArguments) -> list[str]:
    """Return a sentence for each value that Beam would not take."""
    settings = [(name, value) for name, value in arguments.options if value is not None]
    declared = {name: call for call in declarations() for name in declared_names(call)} if settings else {}
    reasons = [
        _runner_reason(value) if name == "--runner" else _value_reason(declared.get(name), name, value)
        for name, value in settings
    ]
    return [reason for reason in reasons if reason]


def _value_reason(call: ast.Call | None, name: str, value: str) -> str | None:
    """Return why an option does not take a value; None if it may."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords} if call else {}
    kind, choices = keywords.get("type"), keywords.get("choices")
    if isinstance(kind, ast.Name) and kind.id in NUMBERS:
        return _number_reason(name, value, *NUMBERS[kind.id])
    if isinstance(choices, ast.List) and all(isinstance(item, ast.Constant) for item in choices.elts):
        known = [str(item.value) for item in choices.elts if isinstance(item, ast.Constant)]
        if value not in known:
            return f"{name} is {value!r}; Apache Beam takes one of {', '.join(known)}"
    return None


def _number_reason(name: str, value: str, number: Callable[[str], float], description: str) -> str | None:
    """Return why a value is not a number that an option takes; None if it is."""
    try:
        parsed_value = number(value)
    except ValueError:
        return f"{name} is {value!r}; Apache Beam takes {description}"
    return (
        f"{name} is {value}; it takes {description} of 0 or more"
        if name == WORKERS and parsed_value < 0
        else None
    )


def _runner_reason(value: str) -> str | None:
    """Return why a runner does not exist; None if it may, as any class does by its full name."""
    known = _runners()
    spelled = {name.lower() for name in known}
    if not known or "." in value or spelled & {value.lower(), f"{value.lower()}runner"}:
        return None
    near = did_you_mean(value, known) or f"name one of {', '.join(known)}, or a class with its module"
    return f"--runner {value} is not an Apache Beam runner; {near}"


def _runners() -> list[str]:
    """Return the names of the runners that Beam knows."""
    for node in ast.walk(options_source()):
        names = [getattr(target, "id", "") for target in node.targets] if isinstance(node, ast.Assign) else []
        if "ALL_KNOWN_RUNNERS" in names and isinstance(node, ast.Assign):
            return [str(path).rpartition(".")[2] for path in ast.literal_eval(node.value)]
    return []
