"""The job as Dataflow would get it, built without a network."""

from __future__ import annotations

from itertools import pairwise

import nets
import pytest

from pipeline.cli import main
from pipeline.graph import ACCELERATOR


@pytest.fixture
def dry_run(make_raster, tmp_path, monkeypatch):
    """A function that builds the job for Dataflow and returns its graph."""
    from apache_beam.runners import DataflowRunner

    # A dead port: without it every gs:// option would be looked up for minutes.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    bundle = nets.make_bundle(tmp_path / "tiny", nets.brightest_band())
    runners = []
    run = DataflowRunner.run_pipeline

    def remember(self, *args, **kwargs):
        runners.append(self)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(DataflowRunner, "run_pipeline", remember)

    def build(*options):
        arguments = [
            "segment",
            make_raster(),
            "--model",
            bundle,
            "--output",
            tmp_path / "out",
            "--runner=DataflowRunner",
        ]
        beam = ["--project=test-proj", "--region=us-central1", "--dry_run=True", "--no_auth"]
        places = ["--temp_location=gs://bucket/temp", "--staging_location=gs://bucket/staging"]
        assert main([*map(str, arguments), *beam, *places, *options]) == 0
        return runners[-1].proto_pipeline

    return build


def hints_of(components):
    return {
        transform.unique_name: dict(components.environments[transform.environment_id].resource_hints)
        for transform in components.transforms.values()
        if transform.environment_id
    }


def test_engines_that_run_on_the_cpu_ask_for_memory_alone(dry_run):
    hints = hints_of(dry_run("--engine", "openvino").components)
    assert not any("beam:resources:accelerator:v1" in hint for hint in hints.values())
    assert int(hints["Segment"]["beam:resources:min_ram_bytes:v1"]) >= 4_000_000_000


def test_only_the_infer_half_asks_for_an_accelerator(dry_run):
    hints = hints_of(dry_run().components)
    key = "beam:resources:accelerator:v1"
    assert {name for name, hint in hints.items() if key in hint} == {"Segment"}
    assert hints["Segment"][key] == ACCELERATOR.encode()
    assert int(hints["Segment"]["beam:resources:min_ram_bytes:v1"]) >= 4_000_000_000


def test_the_graph_has_every_stage_in_order_and_breaks_fusion_behind_the_infer_half(dry_run):
    components = dry_run().components
    stages = {t.unique_name: t for t in components.transforms.values() if "/" not in t.unique_name}
    producers = {out: t.unique_name for t in stages.values() for out in t.outputs.values()}
    order = ["Sheets", "SpreadSheets", "Segment", "BreakFusion", "Vectorize", "ByRaster", "Publish"]
    assert set(order) | {"SeamsOfRaster", "Unite", "FragmentsOfRegion", "Close", "Manifest"} <= set(stages)
    for earlier, later in pairwise(order):
        reached, queue = set(), [later]
        while queue:
            name = queue.pop()
            reached.add(name)
            queue += [
                producers[i] for i in stages[name].inputs.values() if producers.get(i) not in (None, *reached)
            ]
        assert earlier in reached, (earlier, later)
