"""What comparisons share: runs in processes of their own whose results are kept, figures, and how they are told.

Nothing here imports Keras or rasterio before it is needed, so that any backend can be chosen, on any machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LEVEL = 0.05
"""Chance, over all pairs together, of calling a difference real that is none."""
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
    parser.add_argument("--run", help=argparse.SUPPRESS)
    return parser


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
        found = {}
        for name in names:
            if self.result(name) is None:
                print(f"{now()} {name}", file=sys.stderr, flush=True)
                command = [sys.executable, self.script, *self.argv, "--run", name]
                if subprocess.run(command, check=False).returncode:
                    print(f"{name} failed and is left out; call again to try again", file=sys.stderr)
                    continue
            result = self.result(name)
            if result is not None:
                found[name] = result
        return found


def now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_json(path: Path, value: Any) -> None:
    """Write JSON to a file that appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_suffix(f".{os.getpid()}.part")
    staging.write_text(json.dumps(value, indent=2, default=str) + "\n")
    staging.replace(path)


def write_summary(arguments: argparse.Namespace, argv: Sequence[str], results: Any, told: str) -> None:
    """Print what was found, and write it with the date, the command, versions and the machine."""
    print(told)
    summary = {
        "date": now(),
        "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *argv]),
        "versions": versions(),
        "machine": machine(),
        "results": results,
        "told": told.splitlines(),
    }
    write_json(arguments.json or arguments.folder / "summary.json", summary)


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


def table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [list(heads), ["---"] * len(heads), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def spread(figures: Sequence[float]) -> str:
    """The mean of some figures and their standard deviation; of one figure it alone."""
    mean = f"{statistics.mean(figures):.3f}"
    return mean if len(figures) < 2 else f"{mean} ± {statistics.stdev(figures):.3f}"


def welch(one: Sequence[float], other: Sequence[float]) -> float:
    """The chance of a difference of means as large as this if there were none: Welch's t-test, two-sided.

    It is 1 where a side has one figure alone, and where nothing varies and nothing differs.
    """
    from scipy.stats import ttest_ind

    if min(len(one), len(other)) < 2:
        return 1.0
    if len(set(one)) == len(set(other)) == 1:
        return float(one[0] == other[0])
    return float(ttest_ind(one, other, equal_var=False).pvalue)


def beyond_noise(figures: Mapping[str, Sequence[float]]) -> list[str]:
    """Pairs whose means differ by more than seeds do: Holm's step-down of Welch's tests, over all pairs."""
    pairs = sorted((welch(figures[a], figures[b]), a, b) for a, b in combinations(figures, 2))
    found = []
    for place, (chance, a, b) in enumerate(pairs):
        if chance > LEVEL / (len(pairs) - place):
            break
        worse, better = sorted((a, b), key=lambda name: statistics.mean(figures[name]))
        found.append(f"{better} > {worse}")
    return found


def noise_line(figures: Mapping[str, Sequence[float]]) -> str:
    """One line about which differences are more than noise."""
    if len(figures) < 2 or min(map(len, figures.values())) < 2:
        return "Differences beyond noise: unknown; it takes two seeds or more of each."
    count = len(figures) * (len(figures) - 1) // 2
    found = "; ".join(beyond_noise(figures)) or "none"
    return f"Differences beyond noise (Welch's t-test, {LEVEL:g} by Holm over {count} pairs): {found}."


def cpu_seconds() -> float:
    """CPU seconds of this process so far, all threads together."""
    return time.process_time()


def measure_chips(answer: Callable[[np.ndarray], np.ndarray], validation: Any, classes: int) -> Result:
    """IoU of the classes on the validation chips of `terraseam train`, over all rasters and for each.

    Args:
        answer: From pixels ``(1, height, width, bands)`` of 0 to 255 to logits ``(1, height, width, classes)``.
        validation: `pipeline.training.chips.ValidationChips`.
        classes: Number of classes.
    """
    from models.training.pixels import confusion, overlaps

    counts: dict[str, np.ndarray] = {}
    for number, (site, _) in enumerate(validation.views):
        pixels, labels, _ = validation.chip(number)
        found = answer(pixels[None])[0].argmax(axis=-1)
        name = validation.scenes[site].name
        counts[name] = counts.get(name, 0) + confusion(labels, found, classes)
    whole = sum(counts.values())
    return {
        "iou": float(overlaps(whole)[-1]),
        "mean_iou": float(np.nanmean(overlaps(whole))),
        "iou_of_rasters": {name: float(overlaps(one)[-1]) for name, one in sorted(counts.items())},
    }


def add_chips(parser: argparse.ArgumentParser) -> None:
    """Add the options of chips of `buildings`."""
    parser.add_argument(
        "--data", type=Path, help="folder with train and val (default: buildings of the data)"
    )
    parser.add_argument("--gsd", type=float, default=0.3, help="metres a pixel (default: 0.3)")
    parser.add_argument("--chip", type=int, default=256, help="side of a chip, in pixels (default: 256)")
    parser.add_argument("--batch", type=int, default=4, help="chips of a step (default: 4)")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (default: 0.001)")


def chip_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What results depend on of these options."""
    return {name: getattr(arguments, name) for name in ("data", "gsd", "chip", "batch", "rate")}


def network_words(
    architecture: str, encoder: str, weights: str | None, settings: Mapping[str, float]
) -> list[str]:
    """The options of `terraseam train` that name a network."""
    words = ["--architecture", architecture, "--encoder", encoder]
    words += ["--encoder-weights", weights] if weights else []
    return [*words, *(word for name, value in settings.items() for word in ("--set", f"{name}={value:g}"))]


def plan_buildings(arguments: argparse.Namespace, words: Sequence[str], seed: int) -> Any:
    """Plan a training on `buildings`, with the recipe of the shipped model as far as it fits short trainings.

    Args:
        arguments: With the options of `add_chips`.
        words: Further options of `terraseam train`: network and recipe.
        seed: Seed of weights and chips.
    """
    from pipeline.training.arguments import parse_train
    from pipeline.training.plan import plan_training

    data = arguments.data or data_folder() / "buildings"
    area = [] if arguments.data else ["--aoi", str(ROOT / "examples" / "buildings" / "area.geojson")]
    train, val = str(data / "train"), str(data / "val")
    where = ["--images", train, "--labels", train, "--val-images", val, "--val-labels", val, *area]
    chips = f"--gsd {arguments.gsd} --chip {arguments.chip} --scale-range 0.5-1.8 --stretch 1.2 --objects 0.5"
    recipe = (
        f"--batch {arguments.batch} --rate {arguments.rate} --epochs 1 --warm-up 20 --clip 1 --seed {seed}"
    )
    usual = ["--classes", "building", "--output", str(arguments.folder / "no-bundle"), "--optimizer", "adam"]
    return plan_training(parse_train([*where, *chips.split(), *recipe.split(), *usual, *words]))


@dataclass(frozen=True)
class Made:
    """A network that is ready to be trained.

    Attributes:
        model: The network.
        plan: The plan of its training.
        data: What it is trained on.
    """

    model: Any
    plan: Any
    data: Any

    def measured(self) -> Result:
        """Measure it; see `measure_chips`."""
        from models.training.batches import scaled

        def answer(pixels: np.ndarray) -> np.ndarray:
            return self.model.predict_on_batch(scaled(pixels, self.data.scaling))

        return measure_chips(answer, self.plan.validation, len(self.plan.classes.names))


def made(plan: Any) -> Made:
    """Build the network of a plan, by the seed of its recipe."""
    from models.engines.quiet import import_tensorflow

    import_tensorflow()
    from models.engines.determinism import be_deterministic
    from models.training.making import new_network
    from models.zoo import input_scaling
    from pipeline.training.run import training_data

    be_deterministic()
    weights = plan.options.encoder_weights
    settings = dict(plan.options.settings) | ({"encoder_weights": weights} if weights else {})
    bands = len(plan.bands)
    network = new_network(plan.row, bands, len(plan.classes.names), settings, plan.recipe.seed)
    return Made(network, plan, training_data(plan, input_scaling(plan.row.encoder, bands)))


def take_steps(network: Made, recipe: Any, budget: float = float("inf")) -> tuple[int, float]:
    """Train a network for the steps of a recipe, as `models.training.fit` takes them.

    Args:
        network: The network.
        recipe: Its recipe; the first of its steps compiles, and is not counted.
        budget: CPU seconds after which no further step is taken.

    Returns:
        How many steps were counted, and the CPU seconds that they took.
    """
    from models.training.batches import Batches
    from models.training.learner import jit, learn, make_learner, prepare_norms, reseed
    from models.training.making import task_of
    from models.training.optimizers import make_optimizer

    plan = network.plan
    task = task_of(plan.row, plan.classes.names, plan.options.settings, recipe.seed)
    learner = make_learner(network.model, task, recipe)
    prepare_norms(network.model, task, recipe)
    learner.compile(optimizer=make_optimizer(recipe, learner.trainable_variables, 0), jit_compile=jit())
    reseed(learner, recipe.seed, 0)
    start, taken = cpu_seconds(), -1
    with closing(Batches(network.data, recipe).epoch(0)) as batches:
        for batch in batches:
            learn(learner, batch)
            taken += 1
            if not taken:
                start = cpu_seconds()
            elif cpu_seconds() - start >= budget:
                break
    return taken, cpu_seconds() - start


def teller() -> Any:
    """A watcher that tells of each epoch on the standard error stream."""
    from models.training.watch import EpochDone, Watcher

    class Teller(Watcher):
        """Tells of each epoch."""

        def validated(self, done: EpochDone) -> None:
            """Tell how an epoch ended."""
            told = f"epoch {done.epoch}: loss {done.loss:.4f}, mean IoU {done.figure:.4f}"
            print(f"{now()} {told}", file=sys.stderr, flush=True)

    return Teller()
