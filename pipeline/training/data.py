"""Describe the data of a training for its card and to identify it, and check that it does not change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np

from terraseam.pipeline.storage.errors import file_name
from terraseam.pipeline.storage.watched_files import check_unchanged
from terraseam.pipeline.training.plan import TrainPlan
from terraseam.tiles.grid.window import Window
from terraseam.tiles.truth.polygons import PolygonTruth

MARKED = 32
"""Number of chips whose labels identify a training."""
MARKED_RASTERS = 256
"""Maximum number of rasters whose pixels identify a training."""
MIDDLE = 64
"""Side of the square read from each of these rasters, in pixels."""


def check_data(plan: TrainPlan) -> None:
    """Check that the rasters have not changed since the training began.

    Raises:
        RasterChangedError: If one has changed.
    """
    check_unchanged(
        plan.watched,
        "trained on",
        f"the epochs before that are kept in {plan.options.work_folder}: restore it and run the same command "
        "again, or start over with --restart",
    )


class CheckedChips:
    """The validation chips of a training; iteration ends with an error if a raster has changed since it began.

    They are iterated over at the end of each epoch, before its state is saved.

    Args:
        plan: The plan of the training.
    """

    def __init__(self, plan: TrainPlan) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[tuple[np.ndarray, Any]]:
        yield from self._plan.validation
        check_data(self._plan)


def data_marks(plan: TrainPlan) -> dict[str, Any]:
    """Return what else identifies the data and initial weights, so that no training resumes with different ones.

    Labels, and with them areas and label values, are hashed on some training and validation chips; pixels in the
    centre of some rasters.
    """
    options, views = plan.options, plan.validation.views
    digest = hashlib.sha256()
    for number in range(MARKED):
        digest.update(plan.chips.labels(number).tobytes())
    for site, view in views[:: -(-len(views) // MARKED)]:
        digest.update(plan.validation.scenes[site].labels(view).tobytes())
    return {
        "gsd": plan.gsd,
        "settings": dict(options.settings),
        "bands": plan.bands,
        "values": asdict(plan.values),
        "labels": digest.hexdigest(),
        "pixels": _middles(plan),
        "validation chips": len(views),
        "start": [path and file_name(path) for path in (options.initial_bundle, options.encoder_weights)],
    }


def _middles(plan: TrainPlan) -> str:
    """Hash the pixels in the centre of some rasters."""
    digest = hashlib.sha256()
    scenes = list({item.source.path: item for item in (*plan.chips.scenes, *plan.validation.scenes)}.values())
    for scene in scenes[:: -(-len(scenes) // MARKED_RASTERS)]:
        row, col = scene.georef.height // 2, scene.georef.width // 2
        digest.update(scene.source.read(Window(row, col, MIDDLE, MIDDLE)).pixels.tobytes())
    return digest.hexdigest()


def describe_data(plan: TrainPlan) -> dict[str, Any]:
    """Return a description of the training data, for the card and to identify the training."""
    return {
        "rasters": [raster.name for raster in plan.train],
        "validated on": sorted({plan.validation.scenes[site].name for site, _ in plan.validation.views}),
        "things": count_objects(plan),
        "mended polygons": plan.findings.mended,
        "files skipped": len(plan.findings.skipped),
        **({"skipped": sorted(plan.findings.skipped_names)} if plan.findings.skipped_names else {}),
    }


def count_objects(plan: TrainPlan) -> dict[str, int]:
    """Return the number of labelled polygons of each class; an empty dict for label rasters."""
    if not isinstance(plan.train[0].truth, PolygonTruth):
        return {}
    counts = np.sum([raster.truth.counts() for raster in plan.train], axis=0)
    return {name: int(counts[plan.classes.names.index(name)]) for name in plan.classes.foreground}
