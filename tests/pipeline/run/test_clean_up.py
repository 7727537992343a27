"""What a run leaves on another machine, where its driver has only handed it over."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import nets
import numpy as np
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.options.segment_arguments import parse
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize
from terraseam.pipeline.plan.make import make_plan
from terraseam.pipeline.plan.vectorize import plan_vectorize
from terraseam.pipeline.run import graph
from terraseam.pipeline.run import vectorize as vectorizing
from terraseam.pipeline.run.beam_runner import beam_pipeline
from terraseam.pipeline.storage.run_paths import RunFolder


def segment_plan(site):
    bundle = nets.make_bundle(site / "bundle", nets.brightest_band())
    said = ["--model", str(bundle), "--tile", "512", "--sheet", "512"]
    return make_plan(parse(["segment", str(site / "scene.tif"), *said, "--output", str(site / "out")], "")[1])


def vectorize_plan(site):
    return plan_vectorize(
        parse_vectorize([str(site / "scene.tif"), "--output", str(site / "out"), "--sheet", "512"])
    )


@pytest.mark.slow
@pytest.mark.parametrize("handed_over", [True, False])
@pytest.mark.parametrize("command", ["segment", "vectorize"])
@pytest.mark.parametrize("replayed", [[], ["--direct_runner_bundle_repeat=1"]])
def test_a_job_that_was_handed_over_removes_what_its_stages_left(
    make_raster, tmp_path, command, handed_over, replayed
):
    bands = 3 if command == "segment" else 1
    coarse = np.random.default_rng(1).integers(1, 9, (60, 70, bands)).astype(np.uint8)
    make_raster(pixels=coarse.repeat(10, 0).repeat(12, 1))
    plan = (segment_plan if command == "segment" else vectorize_plan)(tmp_path)
    if handed_over:
        plan = replace(plan, options=replace(plan.options, beam=BeamArguments(("--runner=FlinkRunner",))))
    build = graph.build if command == "segment" else vectorizing.build
    folder = RunFolder.of(plan.options.output, plan.options.work_folder)
    beam = beam_pipeline(PipelineOptions(replayed), tmp_path / "log")
    partial(build, plan=plan)(beam, folder, workers=1, started=0.0)
    beam.run().wait_until_finish()
    assert (tmp_path / "out" / "manifest.json").exists()
    assert (tmp_path / "out" / "scene" / "polygons.geojson").stat().st_size > 1000
    left = [path for path in (folder.path, folder.staging) if Path(path).exists()]
    assert bool(left) != handed_over
