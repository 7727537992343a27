"""What numba compiles does what its Python source says: arithmetic of other types may not come between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import ROOT, python_path
from vectorize_cases import patches, vectorize, write_labels

from terraseam.tiles.truth.borders import border_weights

OPTIONS = {
    "plain": (),
    "averages": ("--sieve", "2", "--simplify", "0.7"),
    "corners": ("--connectivity", "8", "--max-region", "20", "--fill-holes", "1"),
    "square": ("--regularize", "--pixel-coordinates"),
}
AS_WRITTEN = """
import sys
from pathlib import Path
import numpy as np
from test_compiled import borders, results
folder = Path(sys.argv[1])
assert all(one == other for one, other in zip(*(results(folder, name) for name in ("compiled", "written"))))
np.save(folder / "borders.npy", borders())
"""


def results(folder: Path, name: str) -> list[bytes]:
    """Make polygons with several options, in sheets."""
    made = []
    for kind, options in OPTIONS.items():
        output = folder / name / kind
        if not output.exists():
            assert vectorize(folder / "map.tif", output, "--sheet", "32", *options) == 0
        made.append((output / "map" / "polygons.geojson").read_bytes())
    return made


def borders() -> np.ndarray:
    ids = np.zeros((24, 30), np.int32)
    ids[2:9, 3:11], ids[12:20, 5:14], ids[4:17, 17:26] = 1, 2, 3
    return border_weights(ids)


@pytest.mark.slow
def test_compiled_functions_give_what_their_python_source_gives(tmp_path):
    labels = patches(48, 56)
    labels[20:25, 30:38] = 255
    write_labels(tmp_path / "map.tif", labels)
    assert len(set(results(tmp_path, "compiled"))) == len(OPTIONS)
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": python_path(ROOT / "tests" / "tiles"),
    }
    command = [sys.executable, "-W", "ignore", "-c", AS_WRITTEN, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.load(tmp_path / "borders.npy") == pytest.approx(borders(), abs=1e-6)


CACHED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
exec(sys.argv[2])
from cached import double
print(double(21), double.stats.cache_hits)
"""


def doubled(tmp_path, before="", folder="cache"):
    """What a process prints that runs a compiled function, and the files of the cache afterwards."""
    (tmp_path / "cached.py").write_text(
        "from terraseam.tiles.compiled import njit\n\n\n@njit(cache=True)\ndef double(number):\n    return 2 * number\n"
    )
    counted = {name for name in os.environ if name.startswith("COVERAGE")}
    environment = {name: value for name, value in os.environ.items() if name not in counted}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / folder)
    arguments = [sys.executable, "-c", CACHED, str(tmp_path), before]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout, sorted((tmp_path / folder).rglob("*.nb?"))


@pytest.mark.slow
def test_what_was_compiled_is_kept_and_compiled_again_where_that_is_damaged(tmp_path):
    assert doubled(tmp_path)[0] == "42 Counter()\n"
    said, kept = doubled(tmp_path)
    assert said.startswith("42 Counter({") and len(kept) == 2
    for file in kept:
        file.write_bytes(file.read_bytes()[:-40])
    assert doubled(tmp_path)[0] == "42 Counter()\n"
    assert doubled(tmp_path)[0] == said


def test_a_disk_that_takes_nothing_leaves_functions_without_a_cache(tmp_path):
    full = "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))"
    assert doubled(tmp_path, full) == ("42 Counter()\n", [])


def test_functions_are_compiled_where_there_is_no_place_for_a_cache():
    code = "from terraseam.tiles.compiled import njit\nprint(njit(cache=True)(lambda number: 2 * number)(21))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("42\n", "")
