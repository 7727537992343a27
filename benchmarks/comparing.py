"""Shared code of comparisons: runs in separate processes, with stored results and their provenance.

Keras and rasterio are only imported when needed, so that any backend can be chosen, on any machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "terraseam", "numpy", "keras", "tensorflow", "openvino", "dask", "jax", "torch", "segmentation-models-pytorch",
)  # fmt: skip
WEIGHTS = {name: f"{name}_imagenet_notop.weights.h5" for name in ("mobilenet", "vgg16")}

INSTRUCTIONS = {"avx512f": "AVX-512", "avx2": "AVX2"}
"""Names of vector instructions, by the processor's flag, widest first."""

Result = dict[str, Any]


def data_folder() -> Path:
    """Return the folder of real data, or exit with advice if there is none."""
    folder = Path(os.environ.get("TERRASEAM_DATA", ""))
    if not os.environ.get("TERRASEAM_DATA") or not folder.is_dir():
        sys.exit("TERRASEAM_DATA does not name a folder; set it to the folder of the data")
    return folder


def imagenet_weights(encoder: str) -> str:
    """Return the file of an encoder's ImageNet weights beside the data, or ``imagenet``, which Keras downloads."""
    file = data_folder().parent / "weights" / WEIGHTS[encoder]
    return str(file) if file.is_file() else "imagenet"


def make_parser(description: str | None, folder: str) -> argparse.ArgumentParser:
    """Build a parser with the options common to all comparisons.

    Args:
        description: Help text of the script.
        folder: Name of the results folder in ``out/``.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / folder,
                        help="a result for each run is kept here, and is not computed again")  # fmt: skip
    parser.add_argument("--json", type=Path, help="all results (default: summary.json in that folder)")
    parser.add_argument("--done", action="store_true", help="make no run; tell of those that are done")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser


def add_names(parser: argparse.ArgumentParser, option: str, names: Iterable[str]) -> None:
    """Add an option that selects some of the names, separated by commas; its value is a list, by default of all."""
    choices = list(names)

    def chosen(text: str) -> list[str]:
        if unknown := set(text.split(",")) - set(choices):
            kind = option.removeprefix("--").removesuffix("s")
            told = f"no {kind} is called {', '.join(sorted(unknown))}; choose of {', '.join(choices)}"
            raise argparse.ArgumentTypeError(told)
        return text.split(",")

    told = f"with commas, of {', '.join(choices)} (default: all)"
    parser.add_argument(option, default=choices, type=chosen, help=told)


def settings_of(arguments: argparse.Namespace, *left_out: str) -> dict[str, Any]:
    """Return the settings that results depend on: Keras' backend, and all arguments except those that select runs.

    Args:
        arguments: The arguments.
        left_out: Arguments that only select runs.
    """
    never = ("folder", "json", "done", "run", *left_out)
    told = {name: value for name, value in vars(arguments).items() if name not in never}
    return {**told, "backend": os.environ.get("KERAS_BACKEND", "tensorflow")}


@dataclass(frozen=True)
class Runs:
    """Runs of one script, each in a separate process, and their stored results.

    Attributes:
        script: The script.
        argv: Its command line, passed on to each run.
        folder: Folder of the results.
        settings: Settings that all results depend on; results with other settings are left alone.
    """

    script: str
    argv: Sequence[str]
    folder: Path
    settings: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """Return the path of a run's result."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True, default=str).encode())
        return self.folder / f"{name}-{digest.hexdigest()[:8]}.json"

    def state(self, name: str) -> Path:
        """Return the training folder of a run, from which it resumes."""
        return self.path(name).with_suffix(".training")

    def result(self, name: str) -> Result | None:
        """Return the result of a finished run, or None."""
        path = self.path(name)
        return json.loads(path.read_text()) if path.exists() else None

    def keep(self, name: str, found: Mapping[str, Any]) -> None:
        """Write a run's result atomically."""
        stamped = {**found, "run": name, "date": now(), "settings": self.settings, "versions": versions()}
        write_json(self.path(name), stamped)

    def go(self, names: Iterable[str]) -> dict[str, Result]:
        """Run all unfinished runs, one after the other; failures are reported and left out."""
        names = list(names)
        for name in names:
            if self.path(name).exists():
                continue
            print(f"{now()} {name}", file=sys.stderr, flush=True)
            command = [sys.executable, self.script, *self.argv, "--run", name]
            if subprocess.run(command, check=False).returncode:
                print(f"{name} failed and is left out; call again to try again", file=sys.stderr)
        return self.done(names)

    def done(self, names: Iterable[str]) -> dict[str, Result]:
        """Return the results of the finished runs."""
        return {name: result for name in names if (result := self.result(name)) is not None}


def seeded(names: Iterable[str], seeds: int) -> list[str]:
    """Return names of runs, seed by seed, so that at any time there are about as many of each."""
    return [f"{name}-seed{seed}" for seed in range(seeds) for name in names]


def name_and_seed(run: str) -> tuple[str, int]:
    """Split the name of a run into name and seed; see `seeded`."""
    name, seed = run.rsplit("-seed", 1)
    return name, int(seed)


def compare(
    runs: Runs,
    arguments: argparse.Namespace,
    names: Iterable[str],
    measure: Callable[[str], Result],
    told: Callable[[Sequence[Result]], str],
) -> None:
    """Run all unfinished runs, and report all results.

    Args:
        runs: The runs.
        arguments: Parsed arguments, including those common to all comparisons.
        names: Their names.
        measure: Performs the run with a given name, in a separate process called with ``--run``.
        told: Formats their results.
    """
    if arguments.run:
        runs.keep(arguments.run, measure(arguments.run))
        return
    found = list((runs.done if arguments.done else runs.go)(names).values())
    if not found:
        sys.exit("no run gave a result")
    text = told(found)
    print(text)
    summary = {
        "date": now(),
        "command": shlex.join(["python", f"benchmarks/{Path(runs.script).name}", *runs.argv]),
        "versions": versions(),
        "machine": machine(),
        "results": found,
        "told": text.splitlines(),
    }
    write_json(arguments.json or arguments.folder / "summary.json", summary)


def now() -> str:
    """Return the current time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    """Write JSON to a file atomically."""
    from terraseam.models.bundle.card import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{json.dumps(value, indent=2, default=str)}\n".encode())


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed numerical packages."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return a description of the machine and its load."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    models = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split(":", 1)[1].split()}
    return {
        "processor": sorted(models) or platform.processor(),
        "instructions": instructions(flags) or platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
    }


def instructions(flags: Container[str]) -> str:
    """Return the widest vector instructions that a processor's flags name; empty if none is known."""
    return next((name for flag, name in INSTRUCTIONS.items() if flag in flags), "")


def teller() -> Any:
    """Return a watcher that logs each epoch on stderr."""
    from terraseam.models.training.watch import EpochEnd, Watcher

    class Teller(Watcher):
        """Watcher that logs each epoch."""

        def validated(self, event: EpochEnd) -> None:
            """Log the end of an epoch."""
            told = f"epoch {event.epoch}: loss {event.loss:.4f}, mean IoU {event.figure:.4f}"
            print(f"{now()} {told}", file=sys.stderr, flush=True)

    return Teller()
