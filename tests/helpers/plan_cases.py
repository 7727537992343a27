"""Plans of small rasters, and the reasons why some fail."""

from __future__ import annotations

import json

import pytest

from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.make import make_plan


def planner(make_raster, bundle, folder):
    """Return a function that plans a run over one raster, or the given ones."""

    def plan(*rasters, **options):
        paths = tuple(str(raster) for raster in rasters) or (str(make_raster()),)
        model = options.pop("model", str(bundle))
        models = tuple(map(str, model)) if isinstance(model, tuple) else (str(model),)
        return make_plan(SegmentOptions(paths, models, **{"output": str(folder / "out"), **options}))

    return plan


def reasons(plan, *args, **options):
    with pytest.raises(PlanError) as caught:
        plan(*args, **options)
    for reason in caught.value.reasons:
        assert "\n" not in reason
    return caught.value.reasons


def edited_card(bundle, folder, drop=(), **changes):
    """Write a copy of a bundle with a changed card."""
    folder.mkdir()
    (folder / "model.keras").write_bytes((bundle / "model.keras").read_bytes())
    card = json.loads((bundle / "card.json").read_text()) | changes
    (folder / "card.json").write_text(json.dumps({k: v for k, v in card.items() if k not in drop}))
    return folder
