"""The house keeps its walls: who imports whom, and how long functions get."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT

PACKAGES = ("models", "pipeline", "tiles")
FORBIDDEN = {
    "tiles": {"apache_beam", "keras", "tensorflow", "models", "pipeline", "tests"},
    "models": {"apache_beam", "rasterio", "shapely", "tiles", "pipeline", "tests"},
    "pipeline": {"tests", "keras", "tensorflow"},
}
BODY_LINES = 45


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(tree: ast.AST) -> set[str]:
    """First names of all modules that are imported, anywhere in a module."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_the_right_way(package):
    for path in modules(package):
        wrong = imported(ast.parse(path.read_text())) & FORBIDDEN[package]
        assert not wrong, f"{path.relative_to(ROOT)} imports {', '.join(sorted(wrong))}"


def test_tensorflow_is_imported_by_engines_and_detection_only():
    users = {
        path.parent.name
        for path in modules("models")
        if "tensorflow" in imported(ast.parse(path.read_text()))
    }
    assert users <= {"engines", "detection"}


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_stay_short(package):
    for path in modules(package):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) is not None
                start = node.body[1].lineno if documented and len(node.body) > 1 else node.body[0].lineno
                assert (node.end_lineno or 0) - start < BODY_LINES, f"{path.relative_to(ROOT)}: {node.name}"


@pytest.mark.parametrize(
    "module",
    [
        "terraseam.pipeline.cli",
        "terraseam.pipeline.plan",
        "terraseam.pipeline.describe",
        "terraseam.pipeline.arguments",
    ],
)
def test_planning_imports_neither_tensorflow_nor_beam(module):
    code = f"import sys, {module}; print(*sorted({{m.split('.')[0] for m in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"tensorflow", "keras", "apache_beam", "numba"} & set(done.stdout.split())


def test_gdals_cache_is_bounded_before_gdal_loads():
    code = "import os, terraseam.pipeline.plan, sys; print(os.environ['GDAL_CACHEMAX'], 'rasterio' in sys.modules)"
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["64", "True"]
