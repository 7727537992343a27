"""Format quantities in suitable units, shortened lists, and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def count(number: int, noun: str) -> str:
    """Format a count with its noun, such as ``1 sheet`` or ``64 sheets``."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Join names, such as ``a, b``, shortened after `most`, such as ``a, b, c, d, e and 4 more``."""
    names = list(names)
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def format_area(square_metres: float) -> str:
    """Format an area in m², ha or km²."""
    if square_metres >= 1e6:
        return f"{square_metres / 1e6:,.1f} km²"
    if square_metres >= 1e4:
        return f"{square_metres / 1e4:,.1f} ha"
    return f"{square_metres:,.0f} m²"


def format_bytes(number: float) -> str:
    """Format an amount of memory or disk, from kB to GB."""
    for size, unit in ((1e9, "GB"), (1e6, "MB")):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number / 1e3:,.0f} kB"


def format_gsd(metres: float) -> str:
    """Format a ground sample distance with three digits, or in whole metres from 1000 m/px."""
    return f"{metres:,.0f} m/px" if metres >= 1000 else f"{metres:.3g} m/px"


def format_pixels(number: int) -> str:
    """Format a number of pixels, in Mpx from 100,000."""
    return f"{number / 1e6:,.1f} Mpx" if number >= 1e5 else f"{number:,} px"


def format_span(seconds: float) -> str:
    """Format a time span in days, hours, minutes or seconds."""
    for length, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            return count(round(seconds / length), unit)
    return count(max(0, round(seconds)), "second")


def format_time(seconds: float) -> str:
    """Format a duration in seconds or whole minutes."""
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def table(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    """Format rows of cells as a table with aligned columns; those in `right` are right-aligned."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
    return "\n".join(lines)
