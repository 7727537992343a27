"""Errors that hold every reason why something cannot be done, and hints at what was meant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from terraseam.models.names import nearest_name


class ArgumentError(ValueError):
    """Arguments that cannot be understood, with what to do."""


class ReasonsError(ValueError):
    """Something cannot be done.

    Attributes:
        reasons: Every reason, one sentence each.
    """

    heading: ClassVar[str]
    """What stands above several reasons."""
    heads_one: ClassVar[bool] = False
    """Whether it stands above a single one, too."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        listed = [self.heading, *(f"- {reason}" for reason in self.reasons)]
        alone = len(self.reasons) == 1 and not self.heads_one
        super().__init__(self.reasons[0] if alone else "\n".join(listed))


class PlanError(ReasonsError):
    """A run cannot succeed."""

    heading, heads_one = "this run cannot succeed:", True


class TrainError(ReasonsError):
    """A training cannot be made."""

    heading = "this training cannot be made:"


class EvaluateError(ReasonsError):
    """An evaluation cannot be made."""

    heading = "nothing can be measured:"


def did_you_mean(
    name: str, known: Iterable[str], around: str = "{}", today: Mapping[str, str] | None = None
) -> str:
    """Ask for the known name that one which is not known was mistyped from; nothing where there is none.

    Args:
        name: What was said.
        known: What could have been said.
        around: What stands around the question, which is in place of the braces.
        today: Names that are known, too, and the known one that each was renamed to.
    """
    renamed = today or {}
    near = nearest_name(name, known) or nearest_name(name, renamed)
    return around.format(f"did you mean {renamed.get(near, near)}?") if near else ""


class RunError(RuntimeError):
    """A run that failed, in one sentence."""


class BeamOptionError(ValueError):
    """Options that Beam cannot use, in one sentence."""


class RasterChangedError(RuntimeError):
    """A raster is no longer the one that the run began with."""
