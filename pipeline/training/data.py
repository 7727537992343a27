"""What a training is made from, in words and numbers: for its card, and to tell it from other trainings."""

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
"""Chips by whose labels a training is told from others."""
MARKED_RASTERS = 256
"""Rasters by whose pixels it is, about."""
MIDDLE = 64
"""Side of the square that is read of each, in pixels."""


def check_data(plan: TrainPlan) -> None:
    """Check that the rasters are those that the training began with.

    Raises:
        RasterChangedError: If one was changed.
    """
    check_unchanged(
        plan.watched,
        "trained on",
        f"the epochs before that are kept in {plan.options.work_folder}: put it back as it was and run the same command "
        "again, or begin anew with --restart",
    )


class CheckedChips:
    """The validation chips of a training, which end with an error where a raster was changed meanwhile.

    They are gone through at the end of each epoch, before its state is kept.

    Args:
        plan: The training.
    """

    def __init__(self, plan: TrainPlan) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[tuple[np.ndarray, Any]]:
        yield from self._plan.validation
        check_data(self._plan)


def data_marks(plan: TrainPlan) -> dict[str, Any]:
    """What else tells the data and the start of a training from others, so that none goes on with other ones.

    What labels say, areas and label values with it, is seen on some chips to train on and to validate on, what rasters
    hold in the middle of some.
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
        "start": [one and file_name(one) for one in (options.start, options.encoder_weights)],
    }


def _middles(plan: TrainPlan) -> str:
    """Hash what is in the middle of some rasters."""
    digest = hashlib.sha256()
    scenes = list({one.source.path: one for one in (*plan.chips.scenes, *plan.validation.scenes)}.values())
    for scene in scenes[:: -(-len(scenes) // MARKED_RASTERS)]:
        row, col = scene.georef.height // 2, scene.georef.width // 2
        digest.update(scene.source.read(Window(row, col, MIDDLE, MIDDLE)).pixels.tobytes())
    return digest.hexdigest()


def describe_data(plan: TrainPlan) -> dict[str, Any]:
    """The data of a training, for its card and to tell it from others."""
    return {
        "rasters": [one.name for one in plan.train],
        "validated on": sorted({plan.validation.scenes[site].name for site, _ in plan.validation.views}),
        "things": things(plan),
        "mended polygons": plan.findings.mended,
        "files skipped": len(plan.findings.skipped),
        **({"skipped": sorted(plan.findings.skipped_names)} if plan.findings.skipped_names else {}),
    }


def things(plan: TrainPlan) -> dict[str, int]:
    """How many polygons of each class are trained and validated on; nothing of label rasters."""
    if not isinstance(plan.train[0].truth, PolygonTruth):
        return {}
    counts = np.sum([one.things for one in plan.train], axis=0)
    return {name: int(counts[plan.classes.names.index(name)]) for name in plan.classes.things}
