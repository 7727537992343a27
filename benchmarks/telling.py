"""How comparisons are told: tables, means of seeds, and which differences are more than noise."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

LEVEL = 0.05
"""Chance, over all pairs together, of calling a difference real that is none."""


Groups = Mapping[str, Sequence[Mapping[str, Any]]]
"""Results by what they share."""


def grouped(results: Iterable[Mapping[str, Any]], key: str) -> dict[str, list[Mapping[str, Any]]]:
    """Results by their value of a key, in the order in which values come first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in results:
        groups.setdefault(one[key], []).append(one)
    return groups


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [list(heads), ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(figures: Sequence[float]) -> str:
    """The mean of some figures and their standard deviation; of one figure it alone."""
    mean = f"{statistics.mean(figures):.3f}"
    return mean if len(figures) < 2 else f"{mean} ± {statistics.stdev(figures):.3f}"


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The chance of a difference of means as large as this if there were none: Welch's t-test, two-sided.

    It is 1 where a side has one figure alone, and where nothing varies and nothing differs.
    """
    from scipy.stats import ttest_ind

    if min(len(one), len(other)) < 2:
        return 1.0
    if len(set(one)) == len(set(other)) == 1:
        return float(one[0] == other[0])
    return float(ttest_ind(one, other, equal_var=False).pvalue)


def beyond_noise(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """Pairs whose means differ by more than seeds do: Holm's step-down of Welch's tests, over all pairs."""
    pairs = sorted((welch(figures[a], figures[b]), a, b) for a, b in combinations(figures, 2))
    found = []
    for place, (chance, a, b) in enumerate(pairs):
        if chance > LEVEL / (len(pairs) - place):
            break
        worse, better = sorted((a, b), key=lambda name: statistics.mean(figures[name]))
        found.append(f"{better} > {worse}")
    return found


def noise_line(figures: Mapping[str, Sequence[float]]) -> str:
    """One line about which differences are more than noise."""
    several = {name: values for name, values in figures.items() if len(values) > 1}
    if len(several) < 2:
        return "Differences beyond noise: unknown; it takes two seeds or more of each."
    count = len(several) * (len(several) - 1) // 2
    found = "; ".join(beyond_noise(several)) or "none"
    alone = ", ".join(name for name in figures if name not in several)
    rest = f"; of one seed: {alone}" if alone else ""
    return f"Differences beyond noise (Welch's t-test, {LEVEL:g} by Holm over {count} pairs): {found}{rest}."
