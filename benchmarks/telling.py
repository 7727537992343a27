"""Format comparisons: tables, means over seeds, and differences beyond noise."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

LEVEL = 0.05
"""Family-wise probability of calling a difference real that is none."""


Groups = Mapping[str, Sequence[Mapping[str, Any]]]
"""Results by a common value."""


def grouped(results: Iterable[Mapping[str, Any]], key: str) -> dict[str, list[Mapping[str, Any]]]:
    """Group results by their value of a key, in the order of first appearance."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in results:
        groups.setdefault(one[key], []).append(one)
    return groups


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Format a Markdown table."""
    lines = [list(heads), ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def load_line(results: Iterable[Mapping[str, Any]]) -> str:
    """Return the load of the machine before and after all runs."""
    seen = [load[0] for one in results for load in one["load"]]
    return f"Load of the machine, before and after each run: {min(seen):.1f} to {max(seen):.1f}."


def spread(figures: Sequence[float]) -> str:
    """Format the mean and standard deviation of some figures; of a single figure just the value."""
    mean = f"{statistics.mean(figures):.3f}"
    return mean if len(figures) < 2 else f"{mean} ± {statistics.stdev(figures):.3f}"


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the p-value of the difference of two means: Welch's t-test, two-sided.

    It is 1 if a side has only one figure, or if nothing varies and nothing differs.
    """
    from scipy.stats import ttest_ind

    if min(len(one), len(other)) < 2:
        return 1.0
    if len(set(one)) == len(set(other)) == 1:
        return float(one[0] == other[0])
    return float(ttest_ind(one, other, equal_var=False).pvalue)


def beyond_noise(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """Return the pairs whose means differ significantly: Holm's step-down of Welch's tests, over all pairs."""
    pairs = sorted((welch(figures[a], figures[b]), a, b) for a, b in combinations(figures, 2))
    found = []
    for place, (chance, a, b) in enumerate(pairs):
        if chance > LEVEL / (len(pairs) - place):
            break
        worse, better = sorted((a, b), key=lambda name: statistics.mean(figures[name]))
        found.append(f"{better} > {worse}")
    return found


def noise_line(figures: Mapping[str, Sequence[float]]) -> str:
    """Return one line about the differences beyond noise."""
    several = {name: values for name, values in figures.items() if len(values) > 1}
    if len(several) < 2:
        return "Differences beyond noise: unknown; it takes two seeds or more of each."
    count = len(several) * (len(several) - 1) // 2
    found = "; ".join(beyond_noise(several)) or "none"
    alone = ", ".join(name for name in figures if name not in several)
    rest = f"; of one seed: {alone}" if alone else ""
    return f"Differences beyond noise (Welch's t-test, {LEVEL:g} by Holm over {count} pairs): {found}{rest}."
