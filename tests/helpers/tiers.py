"""Mark which cases of a test are quick."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def some(cases: Iterable[Any], quick: int) -> list[Any]:
    """Return the cases of a test, each a value or a tuple of several; all but the first `quick` are slow."""
    cases = list(cases)
    return cases[:quick] + [
        pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases[quick:]
    ]
