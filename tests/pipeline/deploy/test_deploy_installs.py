"""What `deploy/` installs, installed: the Python of the image, and Airflow with the DAGs. Each takes some gigabytes."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import rasterio
from deploy_cases import DEPLOY, ROOT, instructions
from succeeding import succeed

pytestmark = pytest.mark.slow
installs = pytest.mark.skipif("CI" not in os.environ, reason="installs gigabytes: CI=1 asks for it")


def compiled(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def settings() -> dict[str, str]:
    """Environment variables of the Dockerfile that are numba's."""
    said = " ".join(said for name, said in instructions() if name == "ENV")
    return dict(re.findall(r"(NUMBA_\w+)=(\S+)", said))


RUN_ALL = """
import sys
from terraseam.pipeline.cli import main
image, labels, output = sys.argv[1:]
small = ["--tile", "512", "--sheet", "512"]
lines, crumbs, cut, corners = ["--simplify", "9000"], ["--sieve", "2e9"], ["--max-region", "700"], ["--connectivity", "8"]
chosen = [[], lines, crumbs, cut, corners, lines + cut, crumbs + cut, lines + crumbs + cut + corners]
for n, options in enumerate(chosen):
    assert main(["vectorize", labels, "--output", f"{output}/vectorized{n}", "--sheet", "512", *options]) == 0
    assert main(["segment", image, "--model", "coast", "--output", f"{output}/segmented", *small, *options]) == 0
assert main(["segment", image, "--model", "coast", "--output", f"{output}/large", "--regularize"]) == 0
detector = ["--model", "buildings-instances", "--any-gsd"]
assert main(["segment", image, *detector, "--output", f"{output}/instances", *small]) == 0
"""


def test_the_image_compiles_all_that_the_main_job_needs_for_any_processor(tmp_path):
    """Nothing is compiled after `compile_ahead`; generic code says the same as that for this processor."""
    assert set(settings()) == {"NUMBA_CACHE_DIR", "NUMBA_CPU_NAME"}
    cache = tmp_path / "compiled"
    ours = {**settings(), "NUMBA_CACHE_DIR": str(cache)}
    succeed(sys.executable, "-m", "terraseam.pipeline.deploy.compile_ahead", cwd=ROOT, **ours)
    before = compiled(cache)
    assert len(before) > 30
    sample = ROOT / "examples" / "coast" / "sample.tif"
    labels = tmp_path / "classes.tif"
    with rasterio.open(sample) as raster:
        values = raster.read(1, window=((0, 600), (0, 700))) // 40
        profile = {**raster.profile, "count": 1, "height": 600, "width": 700, "photometric": "minisblack"}
    with rasterio.open(labels, "w", **profile) as raster:
        raster.write(values, 1)
    succeed(sys.executable, "-c", RUN_ALL, sample, labels, tmp_path, cwd=ROOT, **ours)
    assert {path.name for path in compiled(cache) - before} == set()
    options = ("--simplify", "9000", "--output", tmp_path / "native", "--sheet", "512")
    native = {"NUMBA_CACHE_DIR": str(tmp_path / "native-cache")}
    succeed(sys.executable, "-m", "terraseam", "vectorize", labels, *options, cwd=ROOT, **native)
    made = [tmp_path / name / "classes" / "polygons.geojson" for name in ("native", "vectorized1")]
    assert made[0].read_bytes() == made[1].read_bytes()


@installs
def test_the_images_python_layers_install_in_a_new_environment_and_run(tmp_path):
    """Every line of the Dockerfile that runs pip or Python, for the image without CUDA, in its order."""
    python = tmp_path / "python"
    succeed(sys.executable, "-m", "venv", python, cwd=tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    stage, source, commands = "", work, []
    for name, said in instructions():
        if name == "FROM":
            stage = said.split()[-1]
            source = tmp_path / "source" if stage == "wheel" else work
        elif name == "COPY" and "--from" not in said and stage != "gpu":
            *paths, target = said.split()
            for path in paths:
                copy(
                    ROOT / path,
                    source / Path(path).name if target in ("./", ".") else source / Path(target).name,
                )
        elif name == "RUN" and stage not in ("gpu", "launcher"):
            commands.append(said)
            script = said.replace("/wheels", str(tmp_path / "wheels"))
            path = f"{python / 'bin'}:{os.environ['PATH']}"
            cache = {"NUMBA_CACHE_DIR": str(tmp_path / "compiled"), "NUMBA_CPU_NAME": "generic"}
            succeed("bash", "-ec", script, cwd=source, PATH=path, PYTHONPATH="", **cache)
    assert [command.split()[:2] for command in commands] == [
        ["pip", "install"],
        ["pip", "wheel"],
        ["pip", "install"],
        ["python", "-m"],
    ]
    assert len(compiled(tmp_path / "compiled")) > 30
    told = succeed(python / "bin" / "terraseam", "models", "list", cwd=work, PYTHONPATH="")
    assert "coast" in told
    engines = "import tensorflow, openvino, onnxruntime, apache_beam.runners.dataflow, google.cloud.storage"
    succeed(python / "bin" / "python", "-c", engines, cwd=work, PYTHONPATH="")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


AIRFLOW = (
    "apache-airflow==3.3.2",
    "apache-airflow-providers-apache-beam==6.3.1",
    "apache-airflow-providers-google==22.8.0",
    "apache-airflow-providers-standard==1.21.0",
)

READ_DAGS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
print(json.dumps([bag.import_errors, {
    dag.dag_id: [[type(task).__name__, task.task_id, str(getattr(task, "bash_command", "")), getattr(task, "body", None)]
                 for task in dag.tasks] + [dag.catchup, dag.max_active_runs, str(dag.schedule)]
    for dag in bag.dags.values()
}]))
"""


@installs
def test_airflow_reads_the_dags(tmp_path):
    python = tmp_path / "python"
    succeed(sys.executable, "-m", "venv", python, cwd=tmp_path)
    succeed(python / "bin" / "pip", "install", "--quiet", *AIRFLOW, cwd=tmp_path)
    dags = tmp_path / "dags"
    dags.mkdir()
    for name in ("airflow_dag.py", "launch.json"):
        shutil.copy(DEPLOY / name, dags)
    home = {"AIRFLOW_HOME": str(tmp_path / "home"), "PYTHONPATH": ""}
    told = succeed(python / "bin" / "python", "-c", READ_DAGS, dags, cwd=tmp_path, **home)
    errors, found = json.loads(told.splitlines()[-1])
    assert errors == {}
    launch = json.loads((DEPLOY / "launch.json").read_text())
    command = "/opt/terraseam/bin/terraseam segment --config /etc/terraseam/job.toml || [ $? -eq 3 ]"
    nightly = [False, 1, "15 2 * * *"]
    assert found == {
        "terraseam_dataflow": [["DataflowStartFlexTemplateOperator", "segment", "", launch], *nightly],
        "terraseam_here": [["BashOperator", "segment", command, None], *nightly],
    }
