"""Why there is nothing to train on."""

from __future__ import annotations

from collections.abc import Sequence


class TrainError(ValueError):
    """A training cannot be made.

    Attributes:
        reasons: One sentence each.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = list(dict.fromkeys(reasons))
        listed = "\n".join(f"- {one}" for one in self.reasons)
        super().__init__(
            self.reasons[0] if len(self.reasons) == 1 else f"this training cannot be made:\n{listed}"
        )
