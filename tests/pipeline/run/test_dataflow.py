"""The job as Dataflow would get it, and what is refused before anything is sent; without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nets
import pytest
import servers
from places import ROOT

import terraseam.pipeline.plan.runner_reasons
from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.cli import main
from terraseam.pipeline.errors import PlanError
from terraseam.pipeline.machines import ACCELERATORS, DEFAULT_ACCELERATOR, PLAIN, fits
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.make import make_plan
from terraseam.pipeline.plan.workers import infer_machine, infer_memory
from terraseam.pipeline.run.dataflow import job_name, segment_arguments

IMAGE = "europe-west1-docker.pkg.dev/project/images/terraseam:0.1.0"
HERE = "--dataflow_endpoint=http://localhost:9"
"""A service on this machine, which sees its files; nothing answers there."""
WORDS = ("--runner=DataflowRunner", "--project=test-proj", "--region=us-central1", "--no_auth", HERE)
PLACES = ("--temp_location=gs://bucket/temp", "--staging_location=gs://bucket/staging")


@pytest.fixture(scope="module", autouse=True)
def bucket():
    """The bucket of results: a plan asks whether it may write."""
    with pytest.MonkeyPatch.context() as patch, servers.bucket("gs", patch) as made:
        yield made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.brightest_band())


@pytest.fixture
def dry_run(make_raster, bundle, tmp_path, monkeypatch):
    """A function that builds the job for Dataflow and returns its graph."""
    from apache_beam.runners import DataflowRunner

    # A dead port: without it every gs:// option would be looked up for minutes.
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:9")
    runners = []
    run = DataflowRunner.run_pipeline

    def remember(self, *args, **kwargs):
        runners.append(self)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(DataflowRunner, "run_pipeline", remember)

    def build(*options):
        arguments = ["segment", make_raster(), "--model", bundle, "--output", tmp_path / "out"]
        assert main([*map(str, arguments), *WORDS, *PLACES, "--dry_run=True", *options]) == 0
        return runners[-1].proto_pipeline

    return build


def hints_of(components):
    return {
        transform.unique_name: dict(components.environments[transform.environment_id].resource_hints)
        for transform in components.transforms.values()
        if transform.environment_id
    }


ACCELERATOR = "beam:resources:accelerator:v1"
MEMORY = "beam:resources:min_ram_bytes:v1"


@pytest.mark.parametrize(
    "options",
    [
        (f"--sdk_container_image={IMAGE}", "--engine", "openvino"),
        (f"--sdk_container_image={IMAGE}", "--accelerator", "none"),
        (),
    ],
)
def test_workers_that_infer_on_the_cpu_ask_for_memory_alone(dry_run, options):
    hints = hints_of(dry_run(*options).components)
    assert not any(ACCELERATOR in hint for hint in hints.values())
    assert {name for name, hint in hints.items() if MEMORY in hint} == {"Segment"}


@pytest.mark.parametrize(
    ("options", "kind", "machine"),
    [
        ((), DEFAULT_ACCELERATOR, "n1-standard-4"),
        (("--accelerator", "nvidia-l4"), "nvidia-l4", "g2-standard-4"),
        (("--accelerator", "nvidia-l4", "--machine_type=g2-standard-12"), "nvidia-l4", "g2-standard-12"),
        (("--accelerator", "nvidia-l4", "--machine_type=n2-standard-8"), "nvidia-l4", "g2-standard-4"),
    ],
)
def test_only_the_infer_half_asks_for_an_accelerator(dry_run, options, kind, machine):
    components = dry_run(f"--sdk_container_image={IMAGE}", *options).components
    hints = hints_of(components)
    assert {name for name, hint in hints.items() if ACCELERATOR in hint} == {"Segment"}
    want = f"type:{kind};count:1;machine_type:{machine};install-nvidia-driver"
    assert hints["Segment"][ACCELERATOR] == want.encode()
    assert int(hints["Segment"][MEMORY]) >= 4_000_000_000


def test_the_graph_has_every_stage_in_order_and_breaks_fusion_behind_the_infer_half(dry_run):
    components = dry_run().components
    stages = {t.unique_name: t for t in components.transforms.values() if "/" not in t.unique_name}
    producers = {out: t.unique_name for t in stages.values() for out in t.outputs.values()}
    order = ["Sheets", "SpreadSheets", "Segment", "BreakFusion", "Vectorize", "ByRaster", "Publish"]
    assert set(order) | {"SeamsOfRaster", "MergeSeams", "FragmentsOfRegion", "Close", "EndRun"} <= set(stages)
    for earlier, later in pairwise(order):
        reached, queue = set(), [later]
        while queue:
            name = queue.pop()
            reached.add(name)
            queue += [
                producers[i] for i in stages[name].inputs.values() if producers.get(i) not in (None, *reached)
            ]
        assert earlier in reached, (earlier, later)


@pytest.fixture
def plan(make_raster, bundle):
    """A function that plans a job for Dataflow."""
    raster = str(make_raster())

    def make(*beam, **options):
        return make_plan(
            SegmentOptions(
                (raster,),
                (str(bundle),),
                "gs://scenes/Roofs 2/",
                beam=BeamArguments((*WORDS, *PLACES, *beam)),
                **options,
            )
        )

    return make


def test_what_the_user_does_not_say_is_said_for_them(plan):
    added = segment_arguments(plan())
    assert added.values("--job_name") == [job_name("gs://scenes/Roofs 2")]
    assert job_name("gs://b/Roofs 2").startswith("terraseam-roofs-2-")
    assert (
        added.values("--labels")[0] == "app=terraseam" and "terraseam_model=tiny-1-0-0" in added.arguments[3]
    )
    assert added.values("--machine_type") == ["n2-standard-4"]
    assert added.values("--disk_size_gb") == ["51"]
    assert added.values("--number_of_worker_harness_threads") == ["4"]
    assert added.values("--experiments") == ["no_use_multiple_sdk_containers"]
    assert added.values("--setup_file") == [str(ROOT / "setup.py")]
    assert not added.has("--sdk_location")


def test_an_image_is_all_that_workers_need(plan):
    added = segment_arguments(plan(f"--sdk_container_image={IMAGE}"))
    assert added.values("--sdk_location") == ["container"] and not added.has("--setup_file")
    own = segment_arguments(plan(f"--sdk_container_image={IMAGE}", "--sdk_location=default"))
    assert own.values("--sdk_location") == ["default"]


@pytest.mark.parametrize(
    "said",
    [
        "--job_name=mine",
        "--machine_type=n1-standard-1",
        "--worker_machine_type=n1-standard-1",
        "--disk_size_gb=30",
        "--number_of_worker_harness_threads=1",
        "--experiments=use_multiple_sdk_containers",
        "--setup_file=/elsewhere/setup.py",
    ],
)
def test_what_the_user_says_stands(plan, said):
    added = segment_arguments(plan(said))
    names = {"--worker_machine_type": "--machine_type"}
    name = names.get(said.partition("=")[0], said.partition("=")[0])
    assert said in added.arguments
    assert [one for one in added.arguments if one.startswith(name)] == (
        [said] if said.startswith(name) else []
    )


def test_labels_and_experiments_of_the_user_come_on_top(plan):
    added = segment_arguments(plan("--labels=app=mine", "--experiments=more"))
    assert added.values("--labels")[-1] == "app=mine"
    assert set(added.values("--experiments")) == {"more", "no_use_multiple_sdk_containers"}


def test_jobs_of_one_folder_have_one_name_and_those_of_others_another():
    names = [
        job_name(place)
        for place in ("gs://a/out", "gs://a/out/", "gs://b/out", "gs://a/" + "x" * 90, "gs://a/-")
    ]
    assert names[0] == names[1] != names[2]
    assert all(len(name) <= 63 and name.replace("-", "").isalnum() and "--" not in name for name in names)


def test_machines_have_the_memory_that_the_plan_needs(plan):
    small, large = plan(), plan(tile=8192, stitch="blend")
    chosen = [infer_machine(one) for one in (small, large)]
    assert chosen[0] == PLAIN[0] and chosen[1].memory > chosen[0].memory
    for one, machine in zip((small, large), chosen, strict=True):
        assert fits(machine, lambda kind, one=one: infer_memory(one, kind))
    assert segment_arguments(large).values("--machine_type") == [chosen[1].name]


def test_a_plan_that_no_machine_has_memory_for_is_refused(plan):
    with pytest.raises(
        PlanError, match=r"the largest machine that suits, n2-highmem-32, has 256.0 GB; pass a smaller"
    ):
        plan(tile=512 * 512, stitch="blend")


def test_disk_grows_with_what_a_worker_publishes(plan, monkeypatch):
    small = plan()
    monkeypatch.setattr(type(small), "disk", lambda _: 30 * 10**9)
    assert segment_arguments(small).values("--disk_size_gb") == ["110"]


@pytest.fixture
def refused(make_raster, bundle, monkeypatch):
    """A function that plans a job for Dataflow that cannot be, and returns the reasons."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", __file__)
    raster = str(make_raster())

    def plan(*beam, **options):
        said = {"rasters": (raster,), "models": (str(bundle),), "output": "gs://b/out", **options}
        with pytest.raises(PlanError) as refusal:
            make_plan(SegmentOptions(**said, beam=BeamArguments(("--runner", "DataflowRunner", *beam))))
        return refusal.value.reasons

    return plan


def test_everything_that_is_missing_is_said_at_once(refused, bundle, tmp_path, monkeypatch):
    monkeypatch.delenv("CLOUDSDK_COMPUTE_REGION", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "gone.json"))
    reasons = refused(output=str(tmp_path / "out"), work=str(tmp_path / "work"), bands=(1, 9))
    assert [reason.partition(":")[0] for reason in reasons[:3]] == [
        "Dataflow needs the project to bill",
        "Dataflow needs the region of its workers",
        "Dataflow needs a place for temporary files",
    ]
    local = "is on this machine, which Dataflow workers cannot access"
    names = [reason.partition(f" {local}")[0] for reason in reasons if local in reason]
    raster, output, work = (
        str(tmp_path / "scene.tif"),
        f"--output {tmp_path / 'out'}",
        f"--work {tmp_path / 'work'}",
    )
    assert names == [raster, output, work, f"--model {bundle}"]
    assert any("gone.json, which is not a file; run gcloud auth" in reason for reason in reasons)
    assert any("has no band 9" in reason for reason in reasons)


NEEDED = ("--project=p", "--region=r", "--temp_location=gs://b/t")


def test_what_ships_with_terraseam_goes_with_it(refused):
    assert not any("--model" in reason for reason in refused(*NEEDED, models=("coast",)))


def test_bundles_may_lie_in_the_image(make_raster, bundle, monkeypatch):
    monkeypatch.setattr(
        terraseam.pipeline.plan.runner_reasons,
        "is_local",
        lambda path: "scene" not in path and "://" not in path,
    )
    image = f"--sdk_container_image={IMAGE}"
    beam = ("--runner=DataflowRunner", *NEEDED, "--no_auth", image)
    plan = make_plan(
        SegmentOptions((str(make_raster()),), (str(bundle),), "gs://scenes/out", beam=BeamArguments(beam))
    )
    assert f"--model {bundle} is expected in the image that workers run in" in plan.notes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ("--temp_location=/tmp/x",),
            "--temp_location /tmp/x is not in a bucket; pass --temp_location gs://",
        ),
        (("--flexrs_goal=COST_OPTIMIZED",), "--flexrs_goal cannot be combined with"),
        (
            ("--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",),
            "pass --accelerator NAME instead",
        ),
    ],
)
def test_options_that_cannot_be_had_are_refused(refused, options, words):
    assert any(words in reason for reason in refused(*NEEDED, *options))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "nvidia-t4",
            "is not known; did you mean nvidia-tesla-t4? choose one of nvidia-tesla-t4, nvidia-l4,",
        ),
        ("L4", "is not known; did you mean nvidia-l4?"),
        ("tpu", "is not known; choose one of"),
        ("nvidia-l4", "needs workers with libraries for GPUs; pass --sdk_container_image"),
    ],
)
def test_accelerators_are_checked_by_name(refused, name, words):
    assert any(f"--accelerator {name} {words}" in reason for reason in refused(*NEEDED, accelerator=name))


def test_engines_of_the_cpu_take_no_accelerator(refused):
    image = f"--sdk_container_image={IMAGE}"
    reasons = refused(*NEEDED, image, accelerator="nvidia-l4", engine="openvino")
    assert "--engine openvino runs on the CPU; leave --accelerator out" in reasons


def test_workers_without_a_source_to_install_from_are_told_how(refused, monkeypatch):
    monkeypatch.setattr(terraseam.pipeline.plan.runner_reasons, "SETUP_FILE", Path("/gone/setup.py"))
    assert any("have nothing to install Terraseam from" in reason for reason in refused(*NEEDED))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--accelerator", "nvidia-l4"), "--accelerator is for --runner DataflowRunner"),
        (("--workers", "2", "--direct_num_workers", "2"), "leave those out"),
        (("--workers", "2", "--runner=FlinkRunner"), "--workers is for runs on this machine"),
        (
            ("--runner=apache_beam.runners.dask.dask_runner.DaskRunner",),
            "DaskRunner silently loses parts of jobs",
        ),
    ],
)
def test_runners_get_only_what_they_can_use(make_raster, bundle, tmp_path, capsys, options, words):
    arguments = ["plan", make_raster(), "--model", bundle, "--output", tmp_path / "out", *options]
    assert main([*map(str, arguments)]) == 2
    assert words in capsys.readouterr().err


def test_refusals_import_no_beam(make_raster, bundle, tmp_path):
    arguments = ["segment", make_raster(), "--model", bundle, "--output", tmp_path / "out", "--no_auth"]
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-m",
        "terraseam",
        *map(str, arguments),
        "--runner=DataflowRunner",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Dataflow needs the project to bill" in done.stderr
    assert not any(name in done.stderr for name in ("apache_beam", "tensorflow", "google.auth"))


def test_other_runners_are_told_what_their_workers_must_find(make_raster, bundle, tmp_path, capsys):
    arguments = [
        "plan",
        make_raster(),
        "--model",
        bundle,
        "--output",
        tmp_path / "out",
        "--runner=FlinkRunner",
    ]
    assert main([*map(str, arguments)]) == 0
    assert f"the same paths: {tmp_path / 'scene.tif'}, --output {tmp_path / 'out'}, --model {bundle}" in (
        capsys.readouterr().out
    )


def test_the_plan_says_what_workers_take(make_raster, bundle, tmp_path, capsys):
    arguments = [*map(str, ("plan", make_raster(), "--model", bundle, "--output", tmp_path / "out"))]
    assert main([*arguments, *WORDS, *PLACES, f"--sdk_container_image={IMAGE}"]) == 0
    assert "which runs on n1-standard-4 with an nvidia-tesla-t4" in capsys.readouterr().out
    assert main([*arguments, "--workers", "2"]) == 0
    assert "for each of 2 workers, with 1 call of" in capsys.readouterr().out
    assert main([*arguments, "--workers", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["workers"] == 2


def test_more_workers_than_memory_are_refused_with_the_number_that_fits(make_raster, bundle, tmp_path):
    options = SegmentOptions((str(make_raster()),), (str(bundle),), str(tmp_path), workers=5000)
    with pytest.raises(PlanError, match=r"of memory for 5000 workers, .*; pass --workers \d+"):
        make_plan(options)


def test_every_accelerator_has_machines_by_memory():
    for machines in (PLAIN, *ACCELERATORS.values()):
        assert list(machines) == sorted(machines, key=lambda one: one.memory)
        assert len({one.family for one in machines}) == 1


def test_label_rasters_are_vectorized_on_dataflow_by_the_same_rules(
    make_raster, tmp_path, capsys, monkeypatch
):
    from terraseam.pipeline.run.dataflow import vectorize_arguments

    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", __file__)
    labels = make_raster(bands=1, name="labels.tif")
    assert main(["vectorize", str(labels), "--output", str(tmp_path / "out"), "--runner=DataflowRunner"]) == 2
    error = capsys.readouterr().err
    assert "Dataflow needs the project" in error and f"{labels} is on this machine" in error
    added = vectorize_arguments(BeamArguments(WORDS), "gs://b/out")
    assert added.values("--labels") == ["app=terraseam", "terraseam_version=0-1-0"]
    assert added.values("--setup_file") and added.values("--machine_type")
    elsewhere = BeamArguments(("--runner=FlinkRunner",))
    assert vectorize_arguments(elsewhere, "out") == elsewhere


def test_workers_are_processes_of_the_local_runner(make_raster, bundle, tmp_path):
    from terraseam.pipeline.run.beam_runner import worker_processes
    from terraseam.pipeline.run.job import beam_arguments

    def processes(workers):
        plan = make_plan(
            SegmentOptions((str(make_raster()),), (str(bundle),), str(tmp_path), workers=workers)
        )
        return worker_processes(beam_arguments(plan).pipeline_options())

    assert [processes(workers) for workers in (None, 1, 2)] == [0, 0, 2]
