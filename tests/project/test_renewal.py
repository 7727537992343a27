"""Processes of tests that have grown are replaced between two files, and those that die are not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from places import python_path
from tiers import some

RECORD = """
import os, psutil, pytest

@pytest.fixture(autouse=True)
def record(request):
    beside = psutil.Process(os.getppid()).children()
    living = sum(process.status() != psutil.STATUS_ZOMBIE for process in beside)
    with open("record", "a") as record:
        print(os.getpid(), request.path.stem, living, file=record)
"""


@dataclass(frozen=True)
class Run:
    status: int
    said: str
    ran: dict[str, list[str]]
    """The files of the tests that each process ran."""
    most: int
    """The most processes that lived at a time."""


def run_files(folder: Path, files: dict[str, str], limit_mb: float) -> Run:
    """Run files of tests in two processes."""
    (folder / "conftest.py").write_text(f"import renewal\nrenewal.LIMIT_MB = {limit_mb}\n{RECORD}")
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    options = "-q -p xdist -p renewal -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options.split()],
        cwd=folder,
        env=environment | {"PYTHONPATH": python_path(), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    lines = [line.split() for line in (folder / "record").read_text().splitlines()]
    ran = defaultdict(list)
    for process, file, _ in lines:
        ran[process].append(file)
    return Run(done.returncode, done.stdout, ran, max(int(living) for *_, living in lines))


def passing(number: int) -> str:
    return "import time\n" + "\n".join(f"def test_{index}(): time.sleep(0.2)" for index in range(number))


SEVEN = {
    f"test_{name}": passing(number) for name, number in zip("abcdefg", [1, 3, 1, 1, 2, 4, 1], strict=True)
}
FAILS = "def test_fails(): assert False\ndef test_holds(): pass"
ONCE = sorted(name for name, text in SEVEN.items() for _ in range(text.count("def")))


@pytest.mark.parametrize(("limit_mb", "processes"), some([(0, 8), (1e6, 2)], quick=1))
def test_a_process_above_the_limit_ends_with_its_file_and_all_tests_are_run_once_and_summed_up(
    tmp_path, limit_mb, processes
):
    run = run_files(tmp_path, SEVEN | {"test_h": FAILS}, limit_mb)
    assert run.status == 1 and "1 failed, 14 passed" in run.said, run.said
    assert run.said.count("FAILED test_h.py::test_fails") == 1
    assert sorted(file for files in run.ran.values() for file in files) == [*ONCE, "test_h", "test_h"]
    assert len(run.ran) == processes and run.most <= 4


def test_a_process_that_grew_is_given_no_further_file_and_others_are(tmp_path):
    grows = "held = []\ndef test_grows(): held.append(bytes([1]) * 200_000_000)\ndef test_stays(): pass"
    run = run_files(tmp_path, SEVEN | {"test_bb": grows}, 150)
    assert run.status == 0 and "15 passed" in run.said, run.said
    assert [files[-1] == "test_bb" for files in run.ran.values()].count(True) == 1
    assert len(run.ran) <= 3


@pytest.mark.parametrize("limit_mb", some([0, 1e6], quick=1))
def test_a_process_that_dies_ends_the_run(tmp_path, limit_mb):
    dies = "import os\ndef test_dies(): os._exit(1)\ndef test_holds(): pass"
    waits = {f"test_{name}": "import time\ndef test_waits(): time.sleep(0.5)\n" * 2 for name in "cdefg"}
    run = run_files(tmp_path, {"test_b": dies} | waits, limit_mb)
    assert run.status == 1 and "crashed while running 'test_b.py::test_dies'" in run.said, run.said
    assert "test_g" not in {file for files in run.ran.values() for file in files}


@pytest.mark.slow
def test_a_run_of_which_tests_go_meanwhile_ends_and_says_so(tmp_path):
    removes = "import pathlib\ndef test_removes(): pathlib.Path('test_g.py').unlink(missing_ok=True)\ndef test_holds(): pass"
    run = run_files(tmp_path, SEVEN | {"test_a": removes, "test_b": removes}, 0)
    assert run.status == 1, run.said
    assert "tests were changed while they ran, and some are gone: test_g.py::test_0" in run.said, run.said


@pytest.mark.slow
def test_a_run_of_which_a_new_process_dies_as_it_begins_does_not_pass(tmp_path):
    dies = "import os\nif os.environ.get('PYTEST_XDIST_WORKER') not in (None, 'gw0', 'gw1'): os._exit(1)\n"
    run = run_files(tmp_path, SEVEN | {"test_h": dies + passing(1)}, 0)
    assert run.status == 1 and "10 tests were not run" in run.said, run.said
