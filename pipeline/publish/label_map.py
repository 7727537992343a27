"""Write the label map of a raster to a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.storage.run_paths import LABELS, RunFolder
from terraseam.pipeline.vectorize.clipped_labels import clipped
from terraseam.pipeline.vectorize.instances import labels_of_sheets
from terraseam.pipeline.vectorize.stage import VectorRecord
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.cog import parse_colour, write_label_cog


class LabelFiles:
    """A writer of label maps as COGs, from the label maps of their sheets."""

    def __init__(self, plan: Plan, run_folder: RunFolder) -> None:
        self._plan = plan
        self._run_folder = run_folder

    def __call__(self, folder: Path, raster: int, sheets: tuple[VectorRecord, ...]) -> None:
        """Write the label map of a raster."""
        plan = self._plan
        lattice, labels_of = plan.lattice(raster), labels_of_sheets(plan, self._run_folder)
        polygons = plan.polygons

        def stored() -> Iterator[tuple[Window, np.ndarray]]:
            for record in sheets:
                sheet = record.segmented
                window = lattice.sheet_window(sheet.row, sheet.col)
                yield window, clipped(labels_of(sheet), polygons, raster, window)

        classes = {info.name: parse_colour(info.color) for info in plan.card.classes}
        tags = {
            "model": f"{plan.card.name} {plan.card.version}",
            "model_sha256": plan.card.weights_sha256,
        }
        georef, compression = plan.rasters[raster].georef, plan.options.compress
        write_label_cog(folder / LABELS, stored(), georef, classes, tags, compression)
