"""What values label rasters hold, counted pixel by pixel, and what follows from that."""

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
"""Side of the squares in which label rasters are read, in pixels."""
MOST_VALUES = 1 << 16
"""Different values of a raster that are remembered; of more, the most frequent."""
MOSTLY = 0.5
"""Share of pixels without a class from which the user is warned."""
TOLD = 8
"""Values that are told, at most."""


def count_values(truth: RasterTruth, area: Inside | None = None) -> Counter[float]:
    """Count the pixels of each value that a label raster has where something is learned of it.

    Args:
        truth: The label raster, on the grid of the raster that it is of; values of its labels are remembered, however rare
            they are.
        area: Where it is learned; None for everywhere on the raster.

    Returns:
        Pixels on the Earth that are neither nodata nor masked, by value.

    Raises:
        RasterReadError: If it cannot be read.
    """
    found: Counter[float] = Counter()
    for window in _squares(truth.georef):
        view = View(window.row_off, window.col_off, 1, 1, window.height, window.width)
        learned = on_ground(view, truth.georef)
        if area is not None:
            learned &= area.inside(view)
        if not learned.any():
            continue
        values, known = truth.read_values(window)
        found.update(_counted(values[known & learned]))
        if len(found) > MOST_VALUES:
            kept: dict[float, int] = dict(found.most_common(MOST_VALUES // 2))
            kept |= {value: found[value] for value in truth.values if value in found}
            found = Counter(kept)
    return found


def _squares(georef: Georef) -> Iterator[Window]:
    for row in range(0, georef.height, SIDE):
        for col in range(0, georef.width, SIDE):
            yield Window(row, col, min(SIDE, georef.height - row), min(SIDE, georef.width - col))


def _counted(values: np.ndarray) -> dict[float, int]:
    """Count each of some values; whole numbers of a small range without sorting them."""
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if not values.size:
        return {}
    low = int(values.min()) if values.dtype.kind in "iu" else 0
    if values.dtype.kind in "iu" and int(values.max()) - low < MOST_VALUES:
        first = 0 if values.dtype == np.uint8 else low
        counts = np.bincount(values if values.dtype == np.uint8 else values.astype(np.int64) - low)
        return {first + int(one): int(counts[one]) for one in np.flatnonzero(counts)}
    found, numbers = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), numbers.tolist(), strict=True))


def value_reasons(classes: TrainingClasses, pixels: Mapping[float, int], where: str = "") -> list[str]:
    """Say why nothing can be learned from label rasters.

    Args:
        classes: The classes.
        pixels: How many pixels all of them together have of each value.
        where: Where they were counted, as `` inside --aoi``; nothing for everywhere.
    """
    held = listed((f"{value:g}" for value in sorted(pixels)), TOLD) or "nodata alone"
    known = {name: pixels.get(value, 0) for name, value in zip(classes.names, classes.values, strict=True)}
    missing = [name for name in classes.things if not known[name]]
    if missing:
        values = ", ".join(f"{classes.values[classes.names.index(name)]} ({name})" for name in missing)
        return [
            f"no pixel of a label raster{where} has the value {values}; they hold {held}: see --label-values"
        ]
    present = [name for name, number in known.items() if number]
    if len(present) == 1:
        return [
            f"every pixel of label rasters{where} that has a class is {present[0]}, so there is nothing to tell apart; "
            f"they hold {held}: see --label-values"
        ]
    return []


def value_notes(classes: TrainingClasses, pixels: Mapping[float, int], seen: np.ndarray) -> list[str]:
    """Say which values of label rasters teach nothing, and which are hardly there.

    Args:
        classes: The classes.
        pixels: As in `value_reasons`.
        seen: How many places are known of each class, by which chips are drawn.
    """
    total = sum(pixels.values())
    strange = sorted((number, value) for value, number in pixels.items() if value not in classes.values)[::-1]
    notes = []
    if strange:
        told = listed((f"{value:g} ({_percent(number / total)})" for number, value in strange), TOLD)
        share = sum(number for number, _ in strange) / total
        most = f"{_percent(share)} of their pixels teach nothing: " if share > MOSTLY else ""
        notes.append(
            f"label rasters hold values of no class, which are ignored: {most}{told}; see --classes and --label-values"
        )
    rare = [
        f"{name} ({count(pixels.get(value, 0), 'pixel')})"
        for label, (name, value) in enumerate(zip(classes.names, classes.values, strict=True))
        if label != classes.background and not seen[label]
    ]
    if rare:
        notes.append(f"chips are not drawn around {', '.join(rare)}, which is too rare on label rasters")
    return notes


def _percent(share: float) -> str:
    """A share of pixels in percent, of which the smallest are no zero."""
    return f"{100 * share:.1f} %" if share >= 0.0005 else f"{100 * share:.2g} %"
