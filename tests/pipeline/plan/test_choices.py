"""What a plan chooses itself, engine and tiling, and what a work folder makes it keep."""

import importlib.util
import json

import nets
import psutil
import pytest
from engine_bundles import stepped
from plan_cases import edited_card, planner, reasons

from terraseam.models.bundle.card import Card
from terraseam.models.inclusion import convert_bundle
from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.plan import memory
from terraseam.pipeline.plan.describe import describe_plan, plan_json
from terraseam.pipeline.plan.memory import planned_calls, run_memory
from terraseam.pipeline.storage.kept_choices import keep_choices

GB = 10**9
FLINK = BeamArguments(("--runner", "FlinkRunner"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    made = nets.make_bundle(tmp_path_factory.mktemp("bundles") / "stepped", stepped())
    convert_bundle(made)
    return made


@pytest.fixture
def plan_of(make_raster, bundle, tmp_path):
    return planner(make_raster, bundle, tmp_path)


@pytest.fixture
def without_openvino(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))


@pytest.fixture
def machine_of(monkeypatch):
    """Return a function that gives the machine another amount of memory."""
    return lambda size: monkeypatch.setattr(memory, "memory_there", lambda: size)


def begin(plan):
    """Record the choices of a plan, as its run does."""
    keep_choices(plan.options.work_folder, plan.score_fields, plan.choices())


def test_openvino_runs_where_it_is_known_to_give_the_same_labels(plan_of, bundle, tmp_path):
    assert plan_of().engine == "openvino"
    assert plan_of(engine="auto") == plan_of()
    assert plan_of(engine="tensorflow").engine == "tensorflow"
    assert "engine    openvino (the fastest engine with the same labels)" in describe_plan(plan_of())
    assert plan_json(plan_of())["engine_why"] == "the fastest engine with the same labels"
    assert plan_of(precision="bfloat16").engine == "tensorflow"
    unsure = Card.read(bundle).to_json()["openvino"] | {"same_labels": False}
    other = edited_card(bundle, tmp_path / "other", openvino=unsure, name="other")
    assert plan_of(model=str(other)).engine == "tensorflow"
    assert plan_of(model=(str(bundle), str(other))).engine == "tensorflow"


def test_other_machines_and_gpus_run_tensorflow(plan_of, monkeypatch):
    assert plan_of(beam=FLINK).engine == "tensorflow"
    assert plan_of(beam=FLINK, engine="openvino").engine == "openvino"
    monkeypatch.setattr("terraseam.pipeline.plan.networks.may_have_gpu", lambda: True)
    assert plan_of().engine == "tensorflow"


@pytest.mark.usefixtures("without_openvino")
def test_without_openvino_the_plan_says_once_what_it_would_bring(plan_of, bundle, tmp_path):
    plan = plan_of()
    assert plan.engine == "tensorflow"
    (note,) = plan.notes
    assert "pip install 'terraseam[openvino]'" in note and describe_plan(plan).count(note) == 1
    assert plan_of(engine="tensorflow").notes == ()
    assert plan_of(model=str(edited_card(bundle, tmp_path / "bare", drop=("openvino",)))).notes == ()


def test_a_work_folder_keeps_its_engine(plan_of):
    begin(plan_of(engine="tensorflow"))
    plan = plan_of()
    assert (plan.engine, plan.engine_why) == ("tensorflow", "as in earlier runs in this work folder")
    assert plan_of(engine="openvino").engine == "openvino"


@pytest.mark.usefixtures("without_openvino")
def test_an_engine_of_earlier_runs_that_is_missing_is_refused(plan_of, tmp_path):
    with pytest.MonkeyPatch.context() as there:
        there.setattr(importlib.util, "find_spec", lambda _: True)
        begin(plan_of())
    (reason,) = reasons(plan_of)
    assert f"earlier runs in {tmp_path / 'out' / '.work'} used openvino" in reason
    assert "not installed here" in reason and "pass --engine tensorflow" in reason
    assert plan_of(engine="tensorflow").engine == "tensorflow"


def test_a_store_of_an_earlier_version_goes_on_with_its_engine_and_tiling(plan_of, tmp_path):
    entry = tmp_path / "out" / ".work" / "store" / "ab" / "ab.sheet"
    entry.parent.mkdir(parents=True)
    entry.write_bytes(b"")
    plan = plan_of()
    assert (plan.engine, plan.core, plan.sheet_cores) == ("tensorflow", 1024, 2)
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({"profiles": [{"engine": "openvino"}]}))
    assert plan_of().engine == "openvino"


@pytest.mark.parametrize("name", ["openvino.bin", "openvino.xml"])
def test_a_converted_file_that_is_missing_is_told_before_work(plan_of, bundle, tmp_path, name):
    other = edited_card(bundle, tmp_path / "other")
    for file in {"openvino.bin", "openvino.xml"} - {name}:
        (other / file).write_bytes((bundle / file).read_bytes())
    (reason,) = reasons(plan_of, model=str(other))
    assert f"has no {name}, which its card lists" in reason
    assert plan_of(model=str(other), engine="tensorflow").engine == "tensorflow"


def test_tiles_are_large_if_memory_suffices(plan_of, make_raster, machine_of):
    large = make_raster(3000, 3000, name="large.tif")
    plans = {}
    for size in (64 * GB, 2 * GB):
        machine_of(size)
        plans[size] = plan_of(large)
    assert [(plan.core, plan.lattice(0).sheet_side) for plan in plans.values()] == [
        (2048, 4096),
        (1024, 2048),
    ]
    machine_of(64 * GB)
    assert plan_of(large, sheet=4096).core == 1024, "a side of sheets that was named is not changed"
    assert plan_of(large, tile=512).lattice(0).sheet_side == 2048


def test_results_that_depend_on_tiles_keep_theirs(plan_of, bundle, tmp_path):
    assert (plan_of(stitch="blend").core, plan_of(halo=2).core) == (1024, 1024)
    assert (
        plan_of(model=str(edited_card(bundle, tmp_path / "whole", drop=("openvino",), reach=None))).core
        == 1024
    )


def test_a_work_folder_keeps_its_tiling_whatever_the_memory(plan_of, machine_of):
    machine_of(2 * GB)
    begin(plan_of(tile=512, sheet=1024))
    machine_of(64 * GB)
    plan = plan_of()
    assert (plan.core, plan.lattice(0).sheet_side) == (512, 1024)
    assert plan_of(tile=1024).core == 1024


def test_memory_limits_calls_and_tiles(plan_of, make_raster, machine_of, monkeypatch):
    machine_of(64 * GB)
    monkeypatch.setattr(memory.os, "sched_getaffinity", lambda _: set(range(8)))
    large = make_raster(3000, 3000, name="large.tif")
    free = plan_of(large)
    assert (free.core, planned_calls(free)) == (2048, 8)
    limits = {}
    for calls in (8, 1):
        limit = int(run_memory(plan_of(large, tile=1024), 1, calls)) + 1
        limits[calls] = plan_of(large, memory=limit)
        assert limits[calls].core == 1024 and planned_calls(limits[calls]) == calls
        assert run_memory(limits[calls], 1, calls) <= limit
    (reason,) = reasons(plan_of, large, memory=10**8)
    assert "but --memory allows 100.0 MB" in reason
    machine_of(10**8)
    assert "but this machine has 100.0 MB" in reasons(plan_of, large, memory=GB)[0]


def test_memory_is_for_runs_on_this_machine(plan_of):
    (reason,) = reasons(plan_of, memory=GB, beam=FLINK)
    assert "--memory is for runs on this machine" in reason


def test_other_runners_keep_small_tiles_but_dataflow_goes_by_its_machines(plan_of, make_raster, monkeypatch):
    large = make_raster(3000, 3000, name="large.tif")
    assert plan_of(large, beam=FLINK).core == 1024
    monkeypatch.setattr("terraseam.pipeline.plan.checks.segment_reasons", lambda _: [])
    dataflow = BeamArguments(("--runner", "DataflowRunner"))
    assert plan_of(large, beam=dataflow, accelerator="none").core == 2048
    assert plan_of(large, beam=dataflow, accelerator="nvidia-tesla-t4").core == 1024
    monkeypatch.setattr("terraseam.pipeline.machines.USABLE", 0.15)
    assert plan_of(large, beam=dataflow, accelerator="none").core == 1024


def test_the_memory_of_the_machine_is_that_of_its_control_group():
    assert memory.memory_there() <= psutil.virtual_memory().total
