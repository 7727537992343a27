"""What comparisons share: runs in processes of their own whose results are kept, and what each was made with.

Nothing here imports Keras or rasterio before it is needed, so that any backend can be chosen, on any machine.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("terraseam", "numpy", "keras", "tensorflow", "jax", "torch", "segmentation-models-pytorch")
WEIGHTS = {name: f"{name}_imagenet_notop.weights.h5" for name in ("mobilenet", "vgg16")}

Result = dict[str, Any]


def data_folder() -> Path:
    """The folder of real data; the program ends with advice where there is none."""
    folder = Path(os.environ.get("TERRASEAM_DATA", ""))
    if not os.environ.get("TERRASEAM_DATA") or not folder.is_dir():
        sys.exit("TERRASEAM_DATA does not name a folder; set it to the folder of the data")
    return folder


def imagenet_weights(encoder: str) -> str:
    """The file of an encoder's ImageNet weights beside the data, or ``imagenet``: then Keras fetches them."""
    file = data_folder().parent / "weights" / WEIGHTS[encoder]
    return str(file) if file.is_file() else "imagenet"


def make_parser(description: str | None, folder: str) -> argparse.ArgumentParser:
    """A parser with the options of all comparisons.

    Args:
        description: The script's own words.
        folder: Where results are kept, in ``out/``.
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
    """Add an option that chooses of some names, with commas; its value is a list, of all of them by default."""
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
    """What results depend on: Keras' backend, and all arguments but those that choose and keep runs.

    Args:
        arguments: The arguments.
        left_out: Those that only say which runs are made.
    """
    never = ("folder", "json", "done", "run", *left_out)
    told = {name: value for name, value in vars(arguments).items() if name not in never}
    return {**told, "backend": os.environ.get("KERAS_BACKEND", "tensorflow")}


@dataclass(frozen=True)
class Runs:
    """Runs of one script, each in a process of its own, with the results of those that are done.

    Attributes:
        script: The script.
        argv: Its command line, which each run gets as well.
        folder: Where results are kept.
        settings: What all results depend on; results of other settings are left alone.
    """

    script: str
    argv: Sequence[str]
    folder: Path
    settings: Mapping[str, Any]

    def path(self, name: str) -> Path:
        """The file of a run's result."""
        digest = hashlib.sha256(json.dumps(self.settings, sort_keys=True, default=str).encode())
        return self.folder / f"{name}-{digest.hexdigest()[:8]}.json"

    def state(self, name: str) -> Path:
        """The folder of a run's training, which goes on from there."""
        return self.path(name).with_suffix(".training")

    def result(self, name: str) -> Result | None:
        """The result of a run that is done, or None."""
        path = self.path(name)
        return json.loads(path.read_text()) if path.exists() else None

    def keep(self, name: str, found: Mapping[str, Any]) -> None:
        """Write a run's result, whole or not at all."""
        stamped = {**found, "run": name, "date": now(), "settings": self.settings, "versions": versions()}
        write_json(self.path(name), stamped)

    def go(self, names: Iterable[str]) -> dict[str, Result]:
        """Make the runs that are not done yet, one after the other; one that fails is told of and left out."""
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
        """The results of those runs that are done."""
        return {name: result for name in names if (result := self.result(name)) is not None}


def seeded(names: Iterable[str], seeds: int) -> list[str]:
    """Names of runs, seed by seed: whenever it ends, there are about as many of each."""
    return [f"{name}-seed{seed}" for seed in range(seeds) for name in names]


def name_and_seed(run: str) -> tuple[str, int]:
    """What a run's name was made of; see `seeded`."""
    name, seed = run.rsplit("-seed", 1)
    return name, int(seed)


def compare(
    runs: Runs,
    arguments: argparse.Namespace,
    names: Iterable[str],
    measure: Callable[[str], Result],
    told: Callable[[Sequence[Result]], str],
) -> None:
    """Make the runs that are not done yet, and tell of all that are.

    Args:
        runs: Makes them.
        arguments: With the options of all comparisons.
        names: Their names.
        measure: Makes the run of a name, in a process of its own, which is called with ``--run``.
        told: Tells of their results.
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
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    """Write JSON to a file that appears whole or not at all."""
    from terraseam.models.bundle.card import write_whole

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, f"{json.dumps(value, indent=2, default=str)}\n".encode())


def versions() -> dict[str, str]:
    """Versions of Python and of what computes, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """What the machine is, and how busy it is."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    models = {line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")}
    return {
        "processor": sorted(models) or platform.processor(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "system": platform.platform(),
    }


def teller() -> Any:
    """A watcher that tells of each epoch on the standard error stream."""
    from terraseam.models.training.watch import EpochEnd, Watcher

    class Teller(Watcher):
        """Tells of each epoch."""

        def validated(self, done: EpochEnd) -> None:
            """Tell how an epoch ended."""
            told = f"epoch {done.epoch}: loss {done.loss:.4f}, mean IoU {done.figure:.4f}"
            print(f"{now()} {told}", file=sys.stderr, flush=True)

    return Teller()
