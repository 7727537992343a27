"""The house keeps its walls: who imports whom, how full folders are, and what importing costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from places import ROOT

PACKAGES = ("api", "models", "pipeline", "tiles")
FORBIDDEN = {
    "api": {"apache_beam", "keras", "tensorflow", "rasterio", "terraseam.pipeline"},
    "tiles": {
        "apache_beam",
        "keras",
        "tensorflow",
        "terraseam.api",
        "terraseam.models",
        "terraseam.pipeline",
    },
    "models": {
        "apache_beam",
        "rasterio",
        "shapely",
        "terraseam.api",
        "terraseam.tiles",
        "terraseam.pipeline",
    },
    "pipeline": {"keras", "tensorflow", "terraseam.api"},
}
MOST_FILES = 20
"""Files a folder, so that it is seen at a glance."""


@cache
def files() -> Mapping[str, Path]:
    """Files of the packages by the name of their module."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / "terraseam" / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """Names of all modules and of what is taken from them, anywhere in a file, also where only types are meant."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def arrows() -> Mapping[str, set[str]]:
    """The modules of ours that each module imports."""
    known = files()
    return {
        name: {
            module
            for target in imported(path)
            for module in [target if target in known else target.rpartition(".")[0]]
            if module in known and module != name
        }
        for name, path in known.items()
    }


def room(module: str) -> str:
    """The folder of a module; a file that lies in none but its package's is a room of its own."""
    is_room = files()[module].name == "__init__.py" or module.count(".") == 2
    return module if is_room else module.rpartition(".")[0]


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_the_right_way(package):
    for name, path in files().items():
        if name.split(".")[1] == package:
            starts = {".".join(target.split(".")[:depth]) for target in imported(path) for depth in (1, 2)}
            assert not starts & FORBIDDEN[package], path


def test_no_file_imports_what_imports_it():
    assert circle(arrows()) == []


def test_no_folder_imports_what_imports_it():
    rooms: dict[str, set[str]] = {}
    for name, targets in arrows().items():
        rooms.setdefault(room(name), set()).update({room(target) for target in targets} - {room(name)})
    assert circle(rooms) == []


def test_a_circle_is_found():
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}


def test_no_folder_is_crowded():
    folders = {path.parent for path in [*files().values(), *(ROOT / "tests").rglob("*.py")]}
    crowded = {str(folder.relative_to(ROOT)): len(list(folder.glob("*.py"))) for folder in folders}
    assert {name: count for name, count in crowded.items() if count > MOST_FILES} == {}


def test_a_public_class_has_a_name_of_its_own():
    homes: dict[str, list[str]] = {}
    for module, path in files().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in homes.items() if len(modules) > 1} == {}


def test_tensorflow_is_imported_by_engines_and_detection_only():
    users = {
        path.parent.name
        for path in files().values()
        if any(target.split(".")[0] == "tensorflow" for target in imported(path))
    }
    assert users <= {"engines", "detection"}


def test_the_packages_are_only_known_by_their_full_names():
    """A class that is imported by two names exists twice."""
    places = [*(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    places += [*(ROOT / "examples").rglob("*.py"), *(ROOT / "deploy").rglob("*.py"), *files().values()]
    short = {path: set(PACKAGES) & {target.split(".")[0] for target in imported(path)} for path in places}
    assert {str(path): names for path, names in short.items() if names} == {}


@pytest.mark.parametrize("package", ["models", "pipeline", "tiles"])
def test_a_package_cannot_be_imported_by_its_short_name(package):
    done = subprocess.run(
        [sys.executable, "-c", f"import {package}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert f"ImportError: import terraseam.{package} instead of {package}" in done.stderr


@pytest.mark.slow
def test_types_are_checked_in_all_files():
    done = subprocess.run(
        [sys.executable, "-m", "mypy"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("Success: no issues found in "), done.stdout
    assert int(done.stdout.split()[5]) >= max(300, len(files()))


@pytest.mark.parametrize("module", ["cli", "plan.make", "plan.describe", "options.segment_arguments"])
def test_planning_imports_neither_tensorflow_nor_beam(module):
    code = f"import sys, terraseam.pipeline.{module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "apache_beam", "numba"} & set(done.stdout.split())


def test_gdals_cache_is_bounded_before_gdal_loads():
    code = "import os, terraseam.pipeline.plan.make, sys; print(os.environ['GDAL_CACHEMAX'], 'rasterio' in sys.modules)"
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["64", "True"]
