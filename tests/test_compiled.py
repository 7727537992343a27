"""What numba compiles does what its Python source says: arithmetic of other types may not come between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from places import ROOT
from vectorize_cases import patches, vectorize, write_labels

from tiles.truth.borders import border_weights

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


def test_compiled_functions_give_what_their_python_source_gives(tmp_path):
    labels = patches(48, 56)
    labels[20:25, 30:38] = 255
    write_labels(tmp_path / "map.tif", labels)
    assert len(set(results(tmp_path, "compiled"))) == len(OPTIONS)
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths}
    command = [sys.executable, "-W", "ignore", "-c", AS_WRITTEN, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert np.load(tmp_path / "borders.npy") == pytest.approx(borders(), abs=1e-6)
