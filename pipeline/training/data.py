"""What a training is made from, in words and numbers: for its card, and to tell it from other trainings."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline.remote_errors import file_name
from pipeline.training.plan import TrainPlan
from tiles.truth.polygons import PolygonTruth

MARKED = 32
"""Chips by whose labels a training is told from others."""


def data_marks(plan: TrainPlan) -> dict[str, Any]:
    """What else tells the data and the start of a training from others, so that none goes on with other ones.

    What labels say, areas and label values with it, is seen on some chips to train on and to validate on.
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
        "validation chips": len(views),
        "start": [one and file_name(one) for one in (options.start, options.encoder_weights)],
    }


def data_words(plan: TrainPlan) -> dict[str, Any]:
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
