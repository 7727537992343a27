"""Decide which files of slow tests run first if there is no time for all of them, and which are left out."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

COMMITS = 20
"""Number of commits that count as recent."""
PACKAGE = "terraseam"
SHARED = ("tests/helpers", "tests/networks", "tests/rasters", "benchmarks")
"""Folders of modules that tests import by their bare names, like those beside them."""


def rotated(slow: Iterable[str], recent: Collection[str], count: int) -> list[str]:
    """Order slow files: first the recent ones, then the others, rotated by one with every commit.

    Args:
        slow: Paths of files with slow tests.
        recent: Those that import something that was changed.
        count: Number of commits.
    """
    first = sorted(file for file in slow if file in recent)
    others = sorted(file for file in slow if file not in recent)
    start = count % len(others) if others else 0
    return [*first, *others[start:], *others[:start]]


def recent_files(imports: Mapping[str, Collection[str]], changed: Collection[str]) -> set[str]:
    """Return the files that were changed themselves or import a changed file."""
    return {file for file, read in imports.items() if file in changed or not set(changed).isdisjoint(read)}


def imported_files(root: Path, file: str) -> set[str]:
    """Return the project's files that a test imports, directly or through test helpers.

    Their own imports do not count: the command line imports everything.
    """
    found: set[str] = set()
    waiting = [file]
    while waiting:
        for path in _direct_imports(root, waiting.pop()) - found:
            found.add(path)
            if path.startswith("tests/"):
                waiting.append(path)
    return found - {file}


def _direct_imports(root: Path, file: str) -> set[str]:
    tree = ast.parse((root / file).read_text("utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {path for name in names for path in _candidates(name, file) if (root / path).is_file()}


def _candidates(name: str, file: str) -> list[str]:
    first, _, rest = name.partition(".")
    path = (rest if first == PACKAGE else name).replace(".", "/")
    if first == PACKAGE:
        return [f"{path}.py", f"{path}/__init__.py"]
    return [f"{folder}/{path}.py" for folder in (*SHARED, Path(file).parent.as_posix())]


def changed_files(root: Path, commits: int = COMMITS) -> set[str]:
    """Return the files changed by the last commits; empty without history."""
    return set(_git(root, "log", f"-{commits}", "--format=", "--name-only"))


def commit_count(root: Path) -> int:
    """Return the number of commits; 0 without history."""
    return int(next(iter(_git(root, "rev-list", "--count", "HEAD")), "0"))


def _git(root: Path, *words: str) -> Sequence[str]:
    try:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    except OSError:
        return []
    return done.stdout.split() if done.returncode == 0 else []


def slow_order(root: Path, slow: Iterable[str]) -> list[str]:
    """Order slow files by the project's history."""
    slow = list(slow)
    imports = {file: imported_files(root, file) for file in slow}
    return rotated(slow, recent_files(imports, changed_files(root)), commit_count(root))
