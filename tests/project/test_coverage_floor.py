"""`make coverage` names what the tests run too little of."""

from __future__ import annotations

import pytest
from coverage_floor import shortfalls


def report(total: float, **modules: float) -> dict:
    files = {f"tiles/{name}.py": {"summary": {"percent_covered": share}} for name, share in modules.items()}
    return {"totals": {"percent_covered": total}, "files": files}


@pytest.mark.parametrize(
    ("total", "modules", "said"),
    [
        (80.0, {"a": 40.0, "b": 100.0}, []),
        (79.94, {"a": 40.0}, ["79.9 % of all lines were run; 80 % must be"]),
        (
            95.0,
            {"b": 39.9, "a": 0.0, "c": 41.0},
            [
                "tiles/a.py: 0.0 % of the lines were run; 40 % must be",
                "tiles/b.py: 39.9 % of the lines were run; 40 % must be",
            ],
        ),
    ],
)
def test_what_is_below_its_least_share_is_named(total, modules, said):
    assert shortfalls(report(total, **modules)) == said
