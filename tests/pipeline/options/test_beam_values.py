"""Values of Beam's options are checked by Beam's own declarations, without importing it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from apache_beam.options.pipeline_options import StandardOptions

from terraseam.pipeline.beam_arguments import BeamArguments
from terraseam.pipeline.options.beam_values import value_reasons


@pytest.mark.parametrize(
    "arguments",
    [
        ["--runner", "direct", "--direct_num_workers", "0"],
        ["--runner=my.own.module.Runner", "--direct_running_mode=multi_threading"],
        ["--save_main_session", "--number_of_worker_harness_threads=3"],
        ["--labels", "a=b", "--labels=c=d", "--streaming"],
        *(["--runner", name] for name in StandardOptions.KNOWN_RUNNER_NAMES),
        *(["--runner", name.lower()] for name in StandardOptions.KNOWN_RUNNER_NAMES),
    ],
)
def test_what_beam_takes_is_not_refused(arguments):
    assert value_reasons(BeamArguments(tuple(arguments))) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--direct_num_workers", "1.5"], "--direct_num_workers is '1.5'; Apache Beam takes a whole number"),
        (["--number_of_worker_harness_threads=many"], "is 'many'; Apache Beam takes a whole number"),
        (["--direct_num_workers=-1"], "it takes a whole number of 0 or more"),
        (["--autoscaling_algorithm", "none"], "takes one of NONE, THROUGHPUT_BASED"),
        (["--runner", "DirectRuner"], "did you mean DirectRunner?"),
        (["--runner=quite something else"], "name one of DataflowRunner, "),
    ],
)
def test_what_beam_does_not_take_is_refused(arguments, words):
    (reason,) = value_reasons(BeamArguments(tuple(arguments)))
    assert words in reason


def test_beam_is_not_imported_for_it():
    check = "import sys; from terraseam.pipeline.options.beam_values import value_reasons; "
    check += "from terraseam.pipeline.beam_arguments import BeamArguments; value_reasons(BeamArguments(('--runner=x',))); "
    check += "print('apache_beam' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
