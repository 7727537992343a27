"""Starting is cheap: what a run imports, and how often memory is taken from the system, are counted."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nets
import numpy as np
import pytest
from places import ROOT
from segment_cases import blocky, manifest
from succeeding import succeed

from terraseam.pipeline.cli import main
from terraseam.pipeline.process.kept_memory import USERS
from terraseam.pipeline.process.optional_imports import OptionalImports
from terraseam.pipeline.segment.sheet_inference import SheetInference

TRAINING = {"h5py", "keras", "scipy", "tensorflow"}
CLOUD = {"apache_beam.io.gcp.bigquery", "apitools", "google.cloud.storage", "pymongo"}
TABLES = {"geopandas", "pandas"}
ENGINES = {"onnxruntime", "openvino", "tensorflow"}
COUNTING = Path(__file__).parents[2] / "helpers" / "page_faults.py"
MOST_FAULTS = {"tensorflow": 10_000, "openvino": 1_500}
"""Page faults for each megapixel that is computed, at least twice those measured. ONNX Runtime keeps memory by itself."""

RUN = """
import sys
from terraseam.pipeline.program import main
status = main()
print("loaded:", *sys.modules)
sys.exit(status)
"""


def loaded(*arguments: object) -> set[str]:
    """Run the program in a new process; return the modules that it has loaded at its end."""
    output = succeed(sys.executable, "-c", RUN, *arguments, cwd=ROOT)
    return set(output.rpartition("loaded:")[2].split())


@pytest.fixture
def job(make_raster, tmp_path):
    scene = make_raster(pixels=blocky(300, 420, size=9), name="scene.tif", tiled=True)
    bundle = nets.make_bundle(tmp_path / "bundle", nets.brightest_band(), name="bright")
    return ("segment", scene, "--model", bundle, "--output", tmp_path / "out", "--tile", "512")


def test_a_run_imports_neither_what_trains_nor_what_speaks_to_clouds(job, tmp_path):
    pytest.importorskip("openvino")
    modules = loaded(*job[:2], "--model", "coast", "--any-gsd", "--output", tmp_path / "out")
    assert {"apache_beam", "numba", "openvino"} <= modules
    assert modules & (TRAINING | CLOUD | TABLES) == set()


@pytest.mark.slow
def test_the_driver_of_worker_processes_loads_no_network(job):
    modules = loaded(*job, "--workers", "2")
    assert "apache_beam" in modules
    assert modules & (TRAINING | CLOUD | TABLES | ENGINES) == set()


def test_packages_are_left_out_for_their_importer_alone(monkeypatch):
    finder = OptionalImports({"here": ("wave",)})
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    for importer, complains in (("here.inside", True), ("elsewhere", False)):
        monkeypatch.delitem(sys.modules, "wave", raising=False)
        code = "import wave"
        if complains:
            with pytest.raises(ModuleNotFoundError, match="wave is left out, as nothing uses it here"):
                exec(code, {"__name__": importer})
        else:
            exec(code, {"__name__": importer})


def test_programs_that_import_us_stay_as_they_are():
    code = """
import os, sys
before = dict(os.environ)
import terraseam.pipeline.cli, terraseam.pipeline.commands.segment, terraseam.tiles.compiled, terraseam.models
import scipy.linalg
from terraseam.pipeline.process.optional_imports import leave_out_cloud
leave_out_cloud()
changed = {name for name in os.environ if os.environ[name] != before.get(name)}
print(changed - {"GDAL_CACHEMAX"}, any(type(finder).__name__ == "OptionalImports" for finder in sys.meta_path))
"""
    assert succeed(sys.executable, "-c", code, cwd=ROOT).split() == ["set()", "False"]


def test_the_network_is_loaded_ahead_only_if_nothing_is_known(job, tmp_path, monkeypatch):
    """A raster under another name costs reading alone."""
    job = (*job[:2], "--model", "coast", "--any-gsd", "--output", tmp_path / "out", "--engine", "openvino")
    loads = []
    monkeypatch.setattr(SheetInference, "load", lambda *_: loads.append(1))
    assert main([*map(str, job)]) == 0
    assert loads == [1]
    (tmp_path / "moved").mkdir()
    moved = Path(job[1]).rename(tmp_path / "moved" / "other.tif")
    monkeypatch.setattr(SheetInference, "_engine", lambda *_: pytest.fail("the network is loaded"))
    assert main([*map(str, (job[0], moved, *job[2:]))]) == 0
    assert manifest(tmp_path / "out")["counts"]["sheets_inferred"] == 0
    assert loads == [1]


def test_tensorflow_is_not_loaded_ahead_as_its_import_swallows_what_others_say(job, monkeypatch):
    monkeypatch.setattr(SheetInference, "load", lambda *_: pytest.fail("TensorFlow is loaded ahead"))
    assert main([*map(str, job)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("engine", MOST_FAULTS)
def test_memory_is_kept_from_call_to_call(engine, make_raster, tmp_path):
    pytest.importorskip(engine)
    scene = make_raster(
        pixels=np.random.default_rng(0).integers(1, 255, (2048, 3072, 3), np.uint8), name="scene.tif"
    )
    tiles = ("--tile", "1024", "--sheet", "2048")
    arguments = ("segment", scene, "--model", "coast", "--output", tmp_path / "out", "--any-gsd", *tiles)
    # The tests limit malloc's arenas, and a program whose user sets malloc up leaves it alone.
    unset = {name: value for name, value in os.environ.items() if name not in USERS}
    plain = {**unset, "TF_ENABLE_ONEDNN_OPTS": "0"}
    done = subprocess.run(
        [sys.executable, str(COUNTING), *map(str, arguments), "--engine", engine],
        cwd=ROOT, env=plain, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout.split()[-1]) <= MOST_FAULTS[engine]
