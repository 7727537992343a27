"""Why an evaluation cannot be made."""

from __future__ import annotations

from collections.abc import Sequence


class EvaluateError(ValueError):
    """An evaluation cannot be made.

    Attributes:
        reasons: One sentence each.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = list(dict.fromkeys(reasons))
        if len(self.reasons) == 1:
            super().__init__(self.reasons[0])
        else:
            super().__init__("nothing can be measured:\n" + "\n".join(f"- {one}" for one in self.reasons))
