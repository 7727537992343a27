"""Measure the rate of every network on every engine on the CPU, and whether all give the same labels.

    TERRASEAM_DATA=... python benchmarks/engines.py [--networks coast,unet:mobilenet] [--rounds 3] [--json FILE]

Each network runs on real pixels in one process for each number of threads; engines alternate, one chip per round, and
figures are medians over the rounds. `predict` is Keras' own `model.predict` in the same process. Networks of the zoo
have random weights, and batch normalization statistics that spread their logits; `coast` is trained.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from comparing import data_folder

from terraseam.models.bundle.card import Card, find_bundle
from terraseam.models.engines.choice import ENGINES
from terraseam.models.zoo import ZOO, Row, find

CLASSES = 5
PREDICT = "predict"


def main() -> None:
    arguments = parse()
    raster = data_folder() / "bluemarble" / "bluemarble_16384.tif"
    if arguments.worker:
        print(
            json.dumps(measure(arguments, raster) if arguments.threads else str(bundle_of(*arguments.worker)))
        )
        return
    results = []
    for name in arguments.networks.split(","):
        with tempfile.TemporaryDirectory() as folder:
            run_worker(name, "", folder, arguments)
            made = dict(
                run_worker(name, threads, folder, arguments) for threads in arguments.threads.split(",")
            )
        results.append({"network": name, "threads": made})
        print(table_row(name, made), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    everything = ",".join(["coast", *(f"{row.architecture}:{row.encoder or 'none'}" for row in ZOO)])
    parser.add_argument("--networks", default=everything, help="coast, or architecture:encoder, with commas")
    parser.add_argument("--size", type=int, default=512, help="side of a chip, in pixels")
    parser.add_argument("--rounds", type=int, default=3, help="chips that each engine runs on")
    parser.add_argument("--threads", default="1,2", help="threads of one call")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    parser.add_argument("--worker", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    return parser.parse_args()


def run_worker(name: str, threads: str, folder: str, arguments: argparse.Namespace) -> tuple[str, Any]:
    """Measure one network with a number of threads, in a separate process; without a number only build it."""
    command = [sys.executable, __file__, "--worker", name, folder, "--threads", threads]
    command += ["--size", str(arguments.size), "--rounds", str(arguments.rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return threads, {"error": done.stderr.strip().splitlines()[-1]}
    return threads, json.loads(done.stdout.splitlines()[-1])


def measure(arguments: argparse.Namespace, raster: Path) -> dict[str, Any]:
    """Return rates, CPU seconds and label agreement of one network on all engines."""
    name, folder = arguments.worker
    bundle = bundle_of(name, folder)
    chips = list(pixels(raster, arguments.size, arguments.rounds + 1))
    calls = engines(bundle, int(arguments.threads), str(Path(folder) / "converted"))
    for call in calls.values():
        call(chips[0])
    rounds = [{engine: timed(call, chip) for engine, call in calls.items()} for chip in chips[1:]]
    return {engine: summary(engine, rounds, arguments.size) for engine in calls}


def timed(call: Callable[[np.ndarray], Any], chip: np.ndarray) -> tuple[float, float, Any]:
    """Return wall and CPU seconds of a call, and its result."""
    wall, cpu = time.perf_counter(), time.process_time()
    answer = call(chip)
    return time.perf_counter() - wall, time.process_time() - cpu, answer


def summary(engine: str, rounds: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """Return medians over the rounds, and label agreement with TensorFlow."""
    megapixels = size * size / 1e6
    wall = statistics.median(one[engine][0] for one in rounds)
    cpu = statistics.median(one[engine][1] for one in rounds)
    ratio = statistics.median(one[PREDICT][0] / one[engine][0] for one in rounds)
    same = [agreement(one[engine][2], one["tensorflow"][2]) for one in rounds]
    return {
        "megapixels_per_second": megapixels / wall,
        "cpu_seconds_per_megapixel": cpu / megapixels,
        "times_predict": ratio,
        "same_labels": None if None in same else statistics.mean(same),
    }


def agreement(answer: Any, other: Any) -> float | None:
    """Return the share of equal labels; None for detectors.

    Random weights mostly give all pixels one label, on which every engine would agree: so the logits of each class
    are first normalized to the same mean and standard deviation, using those of `other`, as training would.
    """
    if not isinstance(answer, np.ndarray):
        return None
    mean, spread = other.mean(axis=(0, 1, 2)), other.std(axis=(0, 1, 2))
    labels = [((logits - mean) / spread).argmax(-1) for logits in (answer, other)]
    return float((labels[0] == labels[1]).mean())


def engines(bundle: Path, threads: int, converted: str) -> dict[str, Callable[[np.ndarray], Any]]:
    """Return the calls to measure: every engine, and Keras' own `predict`."""
    from terraseam.models.engines.engine import Engine
    from terraseam.models.engines.profile import execution_profile
    from terraseam.models.engines.workplace import Workplace

    workplace = Workplace(converted, calls=1)
    made = {}
    for name in ENGINES:
        engine = Engine(bundle, replace(execution_profile(engine=name), threads=threads), workplace)
        made[name] = engine.instances if engine.card.task == "instances" else engine.logits
    return {**made, PREDICT: predict(bundle)}


def predict(bundle: Path) -> Callable[[np.ndarray], Any]:
    """Return Keras' own way to run a network, with the same scaling."""
    from terraseam.models.bundle.archive import load_model
    from terraseam.models.engines.scaling import scale

    model, scaling = load_model(bundle), Card.read(bundle).scaling
    return lambda chip: model.predict(scale(chip, scaling), batch_size=1, verbose=0)


def pixels(raster: Path, size: int, count: int) -> Iterator[np.ndarray]:
    """Yield chips of NASA's Blue Marble, along a diagonal that crosses coasts."""
    with rasterio.open(raster) as dataset:
        for number in range(count):
            off = dataset.height // 4 + number * size
            window = rasterio.windows.Window(off, off, size, size)
            yield np.moveaxis(dataset.read((1, 2, 3), window=window), 0, -1)[None]


def bundle_of(name: str, folder: str) -> Path:
    """Return the bundle of a network; one of the zoo is built, with random weights."""
    if ":" not in name:
        return find_bundle(name)
    target = Path(folder) / name.replace(":", "_")
    if not (target / "card.json").exists():
        architecture, encoder = name.split(":")
        write_bundle(find(architecture, encoder), target)
    return target


def write_bundle(row: Row, target: Path) -> None:
    """Build a network, with statistics that spread its logits as training does, and write its bundle."""
    import keras

    from terraseam.models.bundle.archive import save_bundle
    from terraseam.models.bundle.values import ClassInfo
    from terraseam.models.zoo import build, input_scaling

    keras.utils.set_random_seed(7)
    model = build(row.architecture, row.encoder, 3, CLASSES)
    random = np.random.default_rng(7)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta + random.normal(0, 0.3, beta.shape), mean, variance])
    save_bundle(
        model,
        target,
        name=target.name,
        version="0",
        architecture=row.architecture,
        encoder=row.encoder,
        task=row.task,
        classes=tuple(ClassInfo(f"class {label}", "#000000", label == 0) for label in range(CLASSES)),
        bands=("red", "green", "blue"),
        gsd="any",
        scaling=input_scaling(row.encoder, 3),
        fill=(127.0,) * 3,
        license="random weights",
    )


def table_row(name: str, made: dict[str, Any]) -> str:
    """Return one line of a Markdown table for each number of threads."""
    lines = []
    for threads, found in made.items():
        if "error" in found:
            lines.append(f"| {name} | {threads} | {found['error']} |")
            continue
        rates = [f"{found[engine]['megapixels_per_second']:.3f}" for engine in (PREDICT, *ENGINES)]
        ratios = [f"{found[engine]['times_predict']:.2f}" for engine in ENGINES]
        cpu = [f"{found[engine]['cpu_seconds_per_megapixel']:.2f}" for engine in (PREDICT, *ENGINES)]
        same = [found[engine]["same_labels"] for engine in ENGINES[1:]]
        labels = ["-" if share is None else f"{share:.4%}" for share in same]
        lines.append(f"| {name} | {threads} | {' | '.join([*rates, *ratios, *cpu, *labels])} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
