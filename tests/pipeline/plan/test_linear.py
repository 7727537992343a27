"""Planning many rasters takes as much for each as planning few: what is done is counted, not timed."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nets
import numpy as np
import pytest
from linear import OURS, counted, growth
from segment_cases import manifest, segment
from vectorize_cases import write_labels

from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.options.vectorize import VectorizeOptions
from terraseam.pipeline.plan.describe import describe_plan, plan_json
from terraseam.pipeline.plan.make import make_plan
from terraseam.pipeline.plan.plan import Plan
from terraseam.pipeline.plan.vectorize import plan_vectorize
from terraseam.pipeline.publish.polygons import write_polygons
from terraseam.pipeline.publish.quarantine import write_quarantine
from terraseam.pipeline.publish.unchanged import foresee

SIZES = [
    pytest.param((20, 40, 100), id="few"),
    pytest.param((100, 200, 1000), id="many", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.brightest_band())


@pytest.fixture(params=SIZES)
def sizes(request):
    return request.param


@pytest.fixture
def linked(tmp_path, sizes):
    """A function that links a file under names of equal length, and returns the paths by how many they are."""

    def link(path: Path) -> dict[int, tuple[str, ...]]:
        folder = tmp_path / "linked"
        folder.mkdir()
        paths = [folder / f"{number:05}.tif" for number in range(max(sizes))]
        for one in paths:
            one.hardlink_to(path)
        return {size: tuple(map(str, paths[:size])) for size in sizes}

    return link


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"simplify": 1.0, "regularize": True, "min_area": 1.0},
        {"resample": True, "on_error": "fail"},
    ],
    ids=["plain", "borders", "resampled"],
)
def test_planning_a_segmentation_is_linear_in_rasters(make_raster, bundle, linked, tmp_path, options, sizes):
    paths = linked(make_raster())

    def work(number):
        said = SegmentOptions(paths[number], (str(bundle),), str(tmp_path / "out"), **options)
        plan = make_plan(said, writes=False)
        assert len(plan.rasters) == len(plan.polygons.rasters) == number
        ahead = foresee(plan)
        return describe_plan(plan, ahead), plan_json(plan, ahead)

    assert growth(work, sizes) == {}


def test_planning_to_vectorize_is_linear_in_rasters(linked, tmp_path, sizes):
    labels = np.random.default_rng(0).integers(0, 3, (31, 45)).astype(np.uint8)
    paths = linked(write_labels(tmp_path / "labels.tif", labels, names=("land", "water", "lake")))

    def work(number):
        options = VectorizeOptions(paths[number], str(tmp_path / "out"), simplify=1.0, regularize=True)
        assert len(plan_vectorize(options).polygons.rasters) == number

    assert growth(work, sizes) == {}


def test_what_is_published_of_a_raster_does_not_look_at_the_others(
    make_raster, bundle, linked, tmp_path, sizes
):
    """Polygons of every raster are written, and every raster has a sheet in quarantine."""
    paths = linked(make_raster())
    failed = {"row": 0, "col": 0, "failure": "it cannot be read", "attempts": 1}

    output = str(tmp_path / "out")
    plans = {number: make_plan(SegmentOptions(paths[number], (str(bundle),), output)) for number in sizes}
    (tmp_path / "out").mkdir()

    def work(number):
        plan = replace(plans[number])  # which knows nothing of its polygons yet
        for raster in range(number):
            write_polygons(tmp_path, plan.polygons, raster, [])
        entries = [{"id": one.id, "path": one.path, "sheets": [failed]} for one in plan.rasters]
        assert write_quarantine(plan, entries)

    assert growth(work, sizes) == {}


def test_polygons_of_a_plan_are_made_once(make_raster, bundle, tmp_path):
    plan = make_plan(SegmentOptions((str(make_raster()),), (str(bundle),), str(tmp_path / "out")))
    made = plan.polygons
    with counted() as counts:
        assert all(plan.polygons is made for _ in range(20))
    assert not counts
    assert "polygons" in vars(pickle.loads(pickle.dumps(plan))), "workers get it with the plan"
    assert len(replace(plan, rasters=plan.rasters * 2).polygons.rasters) == 2, "another plan has its own"


def test_a_run_makes_no_more_of_them_with_rasters_and_sheets(make_raster, bundle, tmp_path, monkeypatch):
    makings = []
    make = Plan.__dict__["polygons"].func
    monkeypatch.setattr(Plan.__dict__["polygons"], "func", lambda plan: makings.append(plan) or make(plan))
    few = [make_raster(40, 30, name="few/a.tif")]
    many = [make_raster(530, 40, name=f"many/{name}.tif") for name in "abc"]
    numbers = []
    for rasters in (few, many):
        makings.clear()
        output = tmp_path / f"out-{len(rasters)}"
        assert segment(rasters[0].parent, bundle, output, "--sheet", "512") == 0
        assert len(manifest(output)["rasters"]) == len(rasters)
        numbers.append(len(makings))
    assert numbers[0] == numbers[1] > 0


@pytest.mark.parametrize(
    "walk",
    [
        "[[other for other in rasters] for _ in rasters]",
        "[next(other for other in rasters if other == one) for one in rasters]",
    ],
)
def test_a_walk_over_all_rasters_for_each_is_found(walk):
    names: dict[str, Callable[[range], object]] = {}
    exec(compile(f"def work(rasters):\n    return {walk}\n", f"{OURS[1]}walk.py", "exec"), names)
    assert growth(lambda number: names["work"](range(number)), (20, 40, 100))
    assert growth(lambda number: [Path().stat() for _ in range(number**2)], (20, 40, 100))
