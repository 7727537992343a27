"""Count the values of label rasters, and check them against the classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from terraseam.pipeline.training.classes import TrainingClasses
from terraseam.pipeline.units import count, listed
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.label_raster import RasterTruth
from terraseam.tiles.truth.scene import Inside, on_ground

SIDE = 2048
"""Side of the windows in which label rasters are read, in pixels."""
MOST_VALUES = 1 << 16
"""Number of distinct values to count in a raster; beyond it, only the most frequent are kept."""
MOSTLY = 0.5
"""Share of pixels without a class above which the note mentions it."""
TOLD = 8
"""Maximum number of values listed in a message."""


def count_values(truth: RasterTruth, area: Inside | None = None) -> Counter[float]:
    """Count the pixels of each value in a label raster, where it is used for training.

    Args:
        truth: The label raster, on the grid of its raster; values of its classes are counted, however rare.
        area: Area to count in; None for the whole raster.

    Returns:
        The number of pixels by value, without nodata, masked pixels and pixels off the Earth.

    Raises:
        RasterReadError: If it cannot be read.
    """
    counts: Counter[float] = Counter()
    for window in _squares(truth.georef):
        view = View(window.row_off, window.col_off, 1, 1, window.height, window.width)
        learned = on_ground(view, truth.georef)
        if area is not None:
            learned &= area.inside(view)
        if not learned.any():
            continue
        values, known = truth.read_values(window)
        counts.update(_counted(values[known & learned]))
        if len(counts) > MOST_VALUES:
            common: dict[float, int] = dict(counts.most_common(MOST_VALUES // 2))
            common |= {value: counts[value] for value in truth.values if value in counts}
            counts = Counter(common)
    return counts


def _squares(georef: Georef) -> Iterator[Window]:
    for row in range(0, georef.height, SIDE):
        for col in range(0, georef.width, SIDE):
            yield Window(row, col, min(SIDE, georef.height - row), min(SIDE, georef.width - col))


def _counted(values: np.ndarray) -> dict[float, int]:
    """Count each distinct value; integers in a small range are counted without sorting."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return {}
    low = int(values.min()) if values.dtype.kind in "iu" else 0
    if values.dtype.kind in "iu" and int(values.max()) - low < MOST_VALUES:
        first = 0 if values.dtype == np.uint8 else low
        counts = np.bincount(values if values.dtype == np.uint8 else values.astype(np.int64) - low)
        return {first + int(index): int(counts[index]) for index in np.flatnonzero(counts)}
    distinct, numbers = np.unique(values, return_counts=True)
    return dict(zip(distinct.tolist(), numbers.tolist(), strict=True))


def value_reasons(classes: TrainingClasses, pixels: Mapping[float, int], where: str = "") -> list[str]:
    """Return the reason if label rasters lack classes, or have a single one.

    Args:
        classes: The classes.
        pixels: Number of pixels of each value in all label rasters together.
        where: Where they were counted, such as `` inside --aoi``; empty for everywhere.
    """
    held = listed((f"{value:g}" for value in sorted(pixels)), TOLD) or "only nodata"
    known = {name: pixels.get(value, 0) for name, value in zip(classes.names, classes.values, strict=True)}
    missing = [name for name in classes.foreground if not known[name]]
    if missing:
        values = ", ".join(f"{classes.values[classes.names.index(name)]} ({name})" for name in missing)
        return [
            f"no pixel of a label raster{where} has the value {values}; they hold {held}: see --label-values"
        ]
    present = [name for name, number in known.items() if number]
    if len(present) == 1:
        return [
            f"every pixel of label rasters{where} that has a class is {present[0]}, so there is nothing to distinguish; "
            f"they hold {held}: see --label-values"
        ]
    return []


def value_notes(classes: TrainingClasses, pixels: Mapping[float, int], place_counts: np.ndarray) -> list[str]:
    """Return notes on values of label rasters without a class, and on classes too rare to sample.

    Args:
        classes: The classes.
        pixels: As in `value_reasons`.
        place_counts: Number of known places of each class, around which chips are drawn.
    """
    total = sum(pixels.values())
    strange = sorted((number, value) for value, number in pixels.items() if value not in classes.values)[::-1]
    notes = []
    if strange:
        examples = listed((f"{value:g} ({_percent(number / total)})" for number, value in strange), TOLD)
        share = sum(number for number, _ in strange) / total
        most = f"{_percent(share)} of their pixels: " if share > MOSTLY else ""
        notes.append(
            f"label rasters hold values that belong to no class and are ignored: {most}{examples}; see "
            "--classes and --label-values"
        )
    rare = [
        f"{name} ({count(pixels.get(value, 0), 'pixel')})"
        for label, (name, value) in enumerate(zip(classes.names, classes.values, strict=True))
        if label != classes.background and not place_counts[label]
    ]
    if rare:
        notes.append(f"chips are not centred on {', '.join(rare)}, which is too rare on label rasters")
    return notes


def _percent(share: float) -> str:
    """Format a share as a percentage that never rounds to zero."""
    return f"{100 * share:.1f} %" if share >= 0.0005 else f"{100 * share:.2g} %"
