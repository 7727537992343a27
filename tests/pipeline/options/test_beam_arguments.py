"""Beam's arguments as a value: what is read of the words is what Beam makes of them."""

from __future__ import annotations

import os
import pickle
import random
from dataclasses import FrozenInstanceError

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    StandardOptions,
    WorkerOptions,
)
from tiers import some

from terraseam.pipeline.beam_arguments import NO_BEAM_ARGUMENTS, BeamArguments, is_direct

VALUES = {
    "--runner": ("DirectRunner", "DataflowRunner", "dataflow", "FlinkRunner"),
    "--project": ("one", "two"),
    "--region": ("europe-west1", "us-central1"),
    "--temp_location": ("gs://a/b", "/tmp/c=d"),
    "--staging_location": ("gs://a/e",),
    "--machine_type": ("n2-standard-4", "g2-standard-4"),
    "--worker_machine_type": ("n2-highmem-8",),
    "--direct_num_workers": ("1", "2", "7"),
    "--direct_running_mode": ("in_memory", "multi_processing", "multi_threading"),
    "--sdk_container_image": ("image:1",),
}


def random_words(seed):
    """Options of Beam in any order and both spellings, some of them several times, flags among them."""
    random_ = random.Random(seed)
    words = []
    for _ in range(random_.randrange(12)):
        name = random_.choice(list(VALUES))
        value = random_.choice(VALUES[name])
        words += [f"{name}={value}"] if random_.random() < 0.5 else [name, value]
        words += ["--streaming"] * (random_.random() < 0.2)
    return tuple(words)


@pytest.mark.parametrize("seed", some(range(60), quick=8))
def test_values_are_those_that_beam_reads(seed):
    arguments = BeamArguments(random_words(seed))
    read = arguments.pipeline_options()
    cloud, workers, direct = (
        read.view_as(kind) for kind in (GoogleCloudOptions, WorkerOptions, DirectOptions)
    )
    assert arguments.runner == read.view_as(StandardOptions).runner
    assert arguments.project == (cloud.project or "")
    assert arguments.region == (cloud.region or "")
    assert arguments.temp_location == (cloud.temp_location or "")
    assert arguments.staging_location == (cloud.staging_location or "")
    assert arguments.machine_type == workers.machine_type
    assert arguments.has_image == bool(workers.sdk_container_image)
    threads = "multi_threading" in arguments.values("--direct_running_mode")
    assert arguments.processes == (1 if threads else direct.direct_num_workers)


@pytest.mark.parametrize("seed", some(range(20), quick=3))
def test_words_are_kept_as_they_were_given(seed):
    words = random_words(seed)
    arguments = BeamArguments(words)
    assert arguments.arguments == words
    assert pickle.loads(pickle.dumps(arguments)) == arguments
    assert pickle.loads(pickle.dumps(arguments)).options == arguments.options
    assert hash(arguments) == hash(BeamArguments(words))
    with pytest.raises(FrozenInstanceError):
        arguments.arguments = ()  # type: ignore[misc]


def test_an_option_may_stand_without_a_value():
    arguments = BeamArguments(("--no_auth", "--labels", "a=b", "--labels=c=d", "--setup_file"))
    assert arguments.options == (
        ("--no_auth", None), ("--labels", "a=b"), ("--labels", "c=d"), ("--setup_file", None),
    )  # fmt: skip
    assert arguments.values("--labels") == ["a=b", "c=d"] and arguments.last("--labels") == "c=d"
    assert arguments.has_setup_file and not arguments.brings_packages
    assert not arguments.needs_login and NO_BEAM_ARGUMENTS.needs_login


@pytest.mark.parametrize(
    ("runner", "kind"),
    [
        ("DirectRunner", "is_direct"),
        ("direct", "is_direct"),
        ("DataflowRunner", "is_dataflow"),
        ("dataflow", "is_dataflow"),
        ("apache_beam.runners.dataflow.DataflowRunner", "is_dataflow"),
        ("DaskRunner", "is_dask"),
        ("apache_beam.runners.dask.dask_runner.DaskRunner", "is_dask"),
        ("FlinkRunner", None),
    ],
)
def test_runners_are_known_in_every_spelling(runner, kind):
    for words in (("--runner", runner), (f"--runner={runner}",), ("--runner=x", "--runner", runner)):
        arguments = BeamArguments(words)
        assert [name for name in ("is_direct", "is_dataflow", "is_dask") if getattr(arguments, name)] == [
            kind
        ] * (kind is not None)
        assert arguments.is_direct == is_direct(runner)
    assert NO_BEAM_ARGUMENTS.is_direct and NO_BEAM_ARGUMENTS.runner is None


def test_experiments_are_found_by_both_names_and_among_service_options():
    arguments = BeamArguments(("--experiment=a", "--experiments", "b", "--dataflow_service_options=c"))
    assert arguments.experiments == ["a", "b"]
    assert sorted(arguments.service_options) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("words", "processes"),
    [
        ((), 1),
        (("--direct_num_workers=3",), 3),
        (("--direct_num_workers", "0"), os.cpu_count()),
        (("--direct_num_workers", "3", "--direct_running_mode=multi_threading"), 1),
        (("--direct_num_workers",), 1),
    ],
)
def test_processes_are_those_that_call_the_network(words, processes):
    assert BeamArguments(words).processes == processes


def test_what_is_added_before_gives_way_and_what_is_added_behind_prevails():
    arguments = BeamArguments(("--machine_type=mine", "--direct_num_workers=1"))
    assert arguments.after(["--machine_type=ours", "--region=r"]).machine_type == "mine"
    assert arguments.after(["--machine_type=ours", "--region=r"]).region == "r"
    assert arguments.with_processes(5).processes == 5
    assert arguments.arguments == ("--machine_type=mine", "--direct_num_workers=1")


def test_only_a_service_of_this_machine_is_here():
    assert BeamArguments(("--dataflow_endpoint=http://localhost:9",)).service_is_here
    assert not BeamArguments(("--dataflow_endpoint=http://localhost.example.com",)).service_is_here
    assert not NO_BEAM_ARGUMENTS.service_is_here
