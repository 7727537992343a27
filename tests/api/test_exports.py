"""What packages export: few names, none that hides a module, and nothing that is imported before it is used."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest
from places import ROOT

HEAVY = {"tensorflow", "keras", "apache_beam", "numpy", "rasterio", "shapely", "numba", "pyarrow"}
PACKAGES = ("terraseam", "terraseam.models", "terraseam.tiles")


def imported_by(code: str) -> set[str]:
    """Return the names of all modules that a new interpreter has after some code."""
    script = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def exports(package: str) -> list[str]:
    return list(importlib.import_module(package).__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_that_it_exports(package):
    before, after = imported_by("pass"), imported_by(f"import {package}")
    assert not HEAVY & after
    ours = {name for name in after - before if name.startswith("terraseam")}
    assert ours <= {"terraseam", "terraseam.lazy", package}


def test_the_functions_import_nothing_of_what_they_run():
    after = imported_by("import terraseam; terraseam.segment; terraseam.TrainResult")
    assert not HEAVY & after
    assert not {name for name in after if name.startswith(("terraseam.pipeline", "terraseam.tiles"))}


@pytest.mark.parametrize("package", PACKAGES)
def test_ten_to_thirty_names_are_exported_in_order(package):
    names = exports(package)
    assert 10 <= len(names) <= 30
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(importlib.import_module(package)))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_exported_name_is_that_of_a_module_beside_it(package):
    beside = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert {"models", "tiles"} <= beside or len(beside) > 5
    assert not beside & set(exports(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there_and_described(package):
    module = importlib.import_module(package)
    for name in exports(package):
        assert getattr(module, name).__doc__, name


@pytest.mark.parametrize("package", PACKAGES)
def test_other_names_are_missed_as_of_any_module(package):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'sgement'"):
        importlib.import_module(package).sgement  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_know_what_is_exported(package):
    """Names that are imported where only types are checked are those that are exported, from the same modules."""
    module = importlib.import_module(package)
    tree = ast.parse(inspect.getsource(module))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    checked = next(node for node in blocks if ast.unparse(node.test) == "TYPE_CHECKING")
    imports = [node for node in checked.body if isinstance(node, ast.ImportFrom)]
    found = {alias.name: node.module for node in imports for alias in node.names}
    assert set(found) == set(exports(package))
    for name, home in found.items():
        assert getattr(module, name) is getattr(importlib.import_module(str(home)), name)
