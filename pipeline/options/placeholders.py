"""What stands for something else in the texts of a job file: days, times and environment variables.

``{today}``, ``{yesterday}`` and ``{now}`` are replaced by what the clock of this machine says in its time zone, with a
format of `strftime` behind a colon if one is wanted: ``{today:%Y/%m/%d}``. ``${NAME}`` is replaced by an environment
variable. ``{{`` and ``}}`` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from terraseam.pipeline.errors import did_you_mean

DAYS_AGO = {"today": 0, "yesterday": 1, "now": 0}
FORMATS = {"today": "%Y-%m-%d", "yesterday": "%Y-%m-%d", "now": "%Y-%m-%dT%H-%M-%S"}
TOKEN = re.compile(r"\{\{|\}\}|\$\{(?P<variable>[^{}]*)\}|\{(?P<moment>[^{}]*)\}|[{}]")


class PlaceholderError(ValueError):
    """A text with a placeholder that nothing can be put in place of, in one sentence."""


@dataclass(frozen=True)
class Surroundings:
    """What placeholders stand for.

    Attributes:
        now: The time, the same for all texts of a file, in the time zone of this machine.
        environment: Variables.
    """

    now: datetime
    environment: Mapping[str, str]

    def expand(self, value: Any) -> Any:
        """Replace the placeholders in a text, and in the texts of a list or a table.

        Raises:
            PlaceholderError: If one means nothing, or names a variable that is not set.
        """
        if isinstance(value, str):
            return TOKEN.sub(self._meant, value)
        if isinstance(value, list):
            return [self.expand(item) for item in value]
        if isinstance(value, dict):
            return {name: self.expand(item) for name, item in value.items()}
        return value

    def _meant(self, match: re.Match[str]) -> str:
        token = match.group()
        if token in ("{{", "}}"):
            return token[0]
        if match["variable"] is not None:
            return self._variable(match["variable"])
        if match["moment"] is not None:
            return self._moment(match["moment"])
        raise PlaceholderError(f"an unpaired {token}; write {token}{token} for a literal brace")

    def _variable(self, name: str) -> str:
        if name not in self.environment:
            raise PlaceholderError(
                f"the environment variable {name} is not set"
                if name
                else "${} names no environment variable; write ${NAME}"
            )
        return self.environment[name]

    def _moment(self, expression: str) -> str:
        name, colon, time_format = expression.partition(":")
        if name not in DAYS_AGO or (colon and not time_format):
            hint = did_you_mean(name, DAYS_AGO, "; {}")
            raise PlaceholderError(
                f"{{{expression}}} is not one of {{today}}, {{yesterday}}, {{now}}, or one of these with a format such as "
                f"{{now:%Y-%m-%d}}{hint}; write {{{{ and }}}} for braces"
            )
        moment = self.now - timedelta(days=DAYS_AGO[name])
        return moment.strftime(time_format or FORMATS[name])
