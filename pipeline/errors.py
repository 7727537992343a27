"""Define errors that collect every reason for a failure, and suggest corrections of mistyped names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from terraseam.models.names import nearest_name


class ArgumentError(ValueError):
    """Invalid arguments, with advice."""


class ReasonsError(ValueError):
    """An error with every reason why something cannot be done.

    Attributes:
        reasons: Every reason, one sentence each.
    """

    heading: ClassVar[str]
    """Heading above several reasons."""
    heads_single_reason: ClassVar[bool] = False
    """Whether a single reason has the heading, too."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(dict.fromkeys(reasons))
        listed = [self.heading, *(f"- {reason}" for reason in self.reasons)]
        alone = len(self.reasons) == 1 and not self.heads_single_reason
        super().__init__(self.reasons[0] if alone else "\n".join(listed))


class PlanError(ReasonsError):
    """A run that cannot succeed."""

    heading, heads_single_reason = "this run cannot succeed:", True


class TrainError(ReasonsError):
    """A training that cannot start."""

    heading = "cannot start training:"


class EvaluateError(ReasonsError):
    """An evaluation that cannot start."""

    heading = "nothing can be measured:"


def did_you_mean(
    name: str, known: Iterable[str], around: str = "{}", today: Mapping[str, str] | None = None
) -> str:
    """Suggest the known name closest to an unknown one; return an empty string if none is close.

    Args:
        name: The unknown name.
        known: The known names.
        around: Text around the question, which replaces the braces.
        today: Former names, and the known name that each was renamed to.
    """
    renamed = today or {}
    near = nearest_name(name, known) or nearest_name(name, renamed)
    return around.format(f"did you mean {renamed.get(near, near)}?") if near else ""


class RunError(RuntimeError):
    """A run that failed, in one sentence."""


class BeamOptionError(ValueError):
    """Options that Beam rejects, in one sentence."""


class RasterChangedError(RuntimeError):
    """A raster that has changed since the run began."""
