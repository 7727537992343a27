"""Measure what a run costs before its first tile, and how often it takes memory from the system.

    python benchmarks/starting.py [--engines tensorflow,openvino,onnx] [--repeat 3] [--large]

Small runs segment the sample of `examples/coast`, each into an empty folder; networks are converted before. With
--large, 4096 x 4096 px of the Blue Marble are segmented, with malloc and TensorFlow as they are by default ("plain")
and as the program sets them ("kept"). Times are CPU seconds, user and system, the least of all repetitions.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from comparing import data_folder
from scenes import cut
from telling import table

HERE = Path(__file__).resolve()
SAMPLE = HERE.parents[1] / "examples" / "coast" / "sample.tif"
PARTS = {
    "Python and numpy": "import numpy",
    "Apache Beam": "import apache_beam",
    "rasterio": "import rasterio",
    "pyogrio": "import pyogrio",
    "numba": "import numba",
    "all that a run imports, without a network": "import terraseam.pipeline.run.job",
}
LEAN = "from terraseam.pipeline.process import optional_imports as o; o.leave_out_unused(); o.leave_out_cloud(); "
SIDE = 4096
DISABLE_HUGE_PAGES = 41
"""Number of PR_SET_THP_DISABLE in Linux's prctl.h."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", default="tensorflow,openvino,onnx")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--inside", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        sys.exit(inside(options.inside))
    engines = options.engines.split(",")
    if options.large:
        print(faults(engines))
    else:
        print(f"{imports(options.repeat)}\n\n{starts(engines, options.repeat)}")


def cpu_seconds(*command: str) -> float:
    """Run a command; return its CPU time, with that of its child processes."""
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {command}")
    return used.ru_utime + used.ru_stime


def imports(repeat: int) -> str:
    """Return a table of what imports cost, alone, in a plain program and in ours."""
    rows = [
        (
            name,
            *(f"{min(cpu_seconds('-c', setup + code) for _ in range(repeat)):.2f}" for setup in ("", LEAN)),
        )
        for name, code in PARTS.items()
    ]
    return table(("CPU s of imports", "of all packages", "as the program imports"), rows)


def starts(engines: list[str], repeat: int) -> str:
    """Return a table of runs on the sample, until the first tile and until the end."""
    rows = []
    for engine in engines:
        run(engine, SAMPLE)
        for name, plain in (("plain", True), ("as the program starts", False)):
            runs = [run(engine, SAMPLE, plain=plain) for _ in range(repeat)]
            least = (f"{min(one[key] for one in runs):.2f}" for key in ("planned", "first", "end"))
            rows.append((f"{engine}, {name}", *least))
    return table(("sample, CPU s until", "the engine is called", "its first tile is done", "the end"), rows)


def faults(engines: list[str]) -> str:
    """Return a table of page faults and memory, by engine and by who keeps memory."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        raster = cut(data_folder() / "bluemarble" / "bluemarble_16384.tif", SIDE, Path(folder))
        for engine in engines:
            run(engine, SAMPLE)
            for name, plain in (("plain", True), ("kept", False)):
                one = run(engine, raster, plain=plain)
                rows.append(
                    (f"{engine}, {name}", f"{one['faults']:,.0f}", f"{one['system']:.1%}",
                     f"{one['all_faults']:,.0f}", f"{one['end']:.1f}", f"{one['peak']:,.0f}")
                )  # fmt: skip
    heads = (
        "16.8 Mpx",
        "page faults a computed Mpx",
        "system's share",
        "faults of the run",
        "CPU s",
        "peak MB",
    )
    return table(heads, rows)


def run(engine: str, raster: Path, *, plain: bool = False) -> dict[str, float]:
    """Segment a raster in a new process and an empty folder; return what it measured."""
    converted = Path(tempfile.gettempdir()) / f"terraseam-starting-{os.getuid()}-{engine}"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / ".work"
        work.mkdir()
        if converted.is_dir():
            shutil.copytree(converted, work / "converted")
        words = ["segment", str(raster), "--model", "coast", "--output", folder, "--engine", engine]
        kind = "plain" if plain else "kept"
        environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "0")}
        done = subprocess.run(
            [sys.executable, str(HERE), "--inside", kind, *words],
            stdout=subprocess.PIPE, text=True, check=True, env=environment,
        )  # fmt: skip
        if (work / "converted").is_dir() and not converted.is_dir():
            shutil.copytree(work / "converted", converted)
    return json.loads(done.stdout.splitlines()[-1])


def inside(words: list[str]) -> int:
    """Run the program in this process, count, and print what was counted as JSON."""
    from terraseam.models.engines.engine import Engine
    from terraseam.pipeline import cli, program

    if ctypes.CDLL(None).prctl(DISABLE_HUGE_PAGES, 1, 0, 0, 0):
        raise SystemExit("huge pages cannot be disabled")
    called: list[Any] = []
    done: list[Any] = []
    megapixels: list[float] = []
    call = Engine.logits

    def counting(engine: Engine, chips: Any) -> Any:
        called.append(resource.getrusage(resource.RUSAGE_SELF))
        logits = call(engine, chips)
        done.append(resource.getrusage(resource.RUSAGE_SELF))
        megapixels.append(logits.size / logits.shape[-1] / 1e6)
        return logits

    Engine.logits = counting  # type: ignore[method-assign]
    kind, *sys.argv[1:] = words
    status = cli.main() if kind == "plain" else program.main()
    used, half = resource.getrusage(resource.RUSAGE_SELF), len(done) // 2
    before, last = done[max(half - 1, 0)], done[-1]
    more = seconds(last) - seconds(before)
    figures = {
        "planned": seconds(called[0]),
        "first": seconds(done[0]),
        "end": seconds(used),
        "faults": (last.ru_minflt - before.ru_minflt) / sum(megapixels[half:]),
        "system": (last.ru_stime - before.ru_stime) / more if more else 0.0,
        "all_faults": used.ru_minflt,
        "peak": used.ru_maxrss / 1024,
    }
    print(json.dumps(figures))
    return status


def seconds(used: resource.struct_rusage) -> float:
    """Return CPU seconds, user and system."""
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
