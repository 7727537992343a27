"""Slow files are run in turn where there is no time for all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT, python_path
from rotation import changed_files, commit_count, imported_files, recent_files, rotated, slow_order

SLOW = ["tests/c.py", "tests/a.py", "tests/d.py", "tests/b.py"]


def test_files_whose_imports_changed_come_first():
    assert rotated(SLOW, {"tests/d.py", "tests/b.py", "tests/quick.py"}, 0) == [
        "tests/b.py", "tests/d.py", "tests/a.py", "tests/c.py",
    ]  # fmt: skip


def test_the_others_begin_with_another_one_after_each_commit_until_each_was_first():
    firsts = [rotated(SLOW, {"tests/d.py"}, count)[1] for count in range(100, 106)]
    assert firsts[:3] == firsts[3:] and sorted(firsts[:3]) == ["tests/a.py", "tests/b.py", "tests/c.py"]
    assert rotated(SLOW, {"tests/d.py"}, 101)[1:] == ["tests/c.py", "tests/a.py", "tests/b.py"]


@pytest.mark.parametrize("recent", [set(), set(SLOW), {"tests/a.py"}])
@pytest.mark.parametrize("count", range(5))
def test_no_file_is_lost_or_doubled(recent, count):
    assert sorted(rotated(SLOW, recent, count)) == sorted(SLOW)
    assert rotated([], recent, count) == []


def test_a_file_is_recent_by_itself_or_by_what_it_imports():
    imports = {"tests/a.py": {"tiles/x.py"}, "tests/b.py": {"models/y.py"}, "tests/c.py": set()}
    assert recent_files(imports, {"tiles/x.py", "tests/c.py", "README.md"}) == {"tests/a.py", "tests/c.py"}
    assert recent_files(imports, set()) == set()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A history of two commits: a test of `tiles` through a helper, and one of `models`."""
    files = {
        "tiles/__init__.py": "",
        "tiles/shape.py": "import terraseam.tiles.deep",
        "tiles/deep.py": "",
        "models/__init__.py": "",
        "models/net.py": "",
        "tests/helpers/helper.py": "def make():\n    from terraseam.tiles import shape\n    return shape",
        "tests/test_a.py": "import os\nfrom helper import make",
        "tests/test_b.py": "import terraseam.models.net",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    (tmp_path / "tiles/shape.py").write_text("import terraseam.tiles.deep  # changed")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "change")


def test_imports_are_followed_through_helpers_of_tests_and_no_farther(project):
    assert imported_files(project, "tests/test_a.py") == {
        "tests/helpers/helper.py", "tiles/__init__.py", "tiles/shape.py",
    }  # fmt: skip
    assert imported_files(project, "tests/test_b.py") == {"models/net.py"}


def test_the_history_says_what_is_recent(project):
    assert changed_files(project, 1) == {"tiles/shape.py"} and len(changed_files(project)) == 8
    assert commit_count(project) == 2
    assert (changed_files(project / "tests", 1), commit_count(Path("/"))) == ({"tiles/shape.py"}, 0)
    assert slow_order(project, ["tests/test_b.py", "tests/test_a.py"]) == [
        "tests/test_a.py",
        "tests/test_b.py",
    ]


TESTS = """
import pytest

@pytest.mark.slow
def test_slow():
    pass

def test_quick():
    pass
"""


def suite(folder: Path, deadline: float | None, *options: str) -> str:
    """Run three files with slow tests and one without under the project's own `conftest.py`."""
    folder = folder / "tests"
    folder.mkdir(exist_ok=True)
    for name in "abc":
        (folder / f"test_{name}.py").write_text(TESTS)
    (folder / "test_quick.py").write_text("def test_quick():\n    pass\n")
    (folder / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    environment = {**os.environ, "PYTHONPATH": python_path()}
    environment.pop("TEST_DEADLINE", None)
    if deadline is not None:
        environment["TEST_DEADLINE"] = str(deadline)
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-c", os.devnull]
    command += ["--rootdir", str(folder.parent), "-W", "ignore", *options, str(folder)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout


WORKERS = ("-n", "2", "--dist", "loadfile", "--no-loadscope-reorder")


@pytest.mark.parametrize("options", [(), pytest.param(WORKERS, marks=pytest.mark.slow)])
def test_past_the_deadline_slow_tests_are_left_out_and_their_files_named(tmp_path, options):
    said = suite(tmp_path, 1.0, *options)
    assert "4 passed, 3 skipped" in said
    assert said.count("left out for want of time: tests/test_a.py, tests/test_b.py, tests/test_c.py") == 1


@pytest.mark.slow
@pytest.mark.parametrize("deadline", [None, 1e12])
def test_before_the_deadline_nothing_is_left_out(tmp_path, deadline):
    said = suite(tmp_path, deadline)
    assert "7 passed" in said and "left out" not in said
    slow_last = said.index("test_quick.py::") < said.index("test_a.py::")
    assert slow_last == (deadline is not None)
