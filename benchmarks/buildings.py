"""Short training runs on `buildings` for comparisons: same chips, same recipe, same validation.

Keras and rasterio are only imported when needed, so that any backend can be chosen.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import telling
from comparing import ROOT, Result, data_folder


def measure_chips(predictor: Callable[[np.ndarray], np.ndarray], validation: Any, classes: int) -> Result:
    """Return the IoU of the classes on the validation chips of `terraseam train`, over all rasters and for each.

    Args:
        predictor: Function from pixels ``(1, height, width, bands)`` of 0 to 255 to logits ``(1, height, width,
            classes)``.
        validation: `terraseam.pipeline.training.chips.ValidationChips`.
        classes: Number of classes.
    """
    from terraseam.models.training.pixels import confusion, overlaps

    counts: dict[str, np.ndarray] = {}
    for number, (site, _) in enumerate(validation.views):
        pixels, labels, _ = validation.chip(number)
        found = predictor(pixels[None])[0].argmax(axis=-1)
        name = validation.scenes[site].name
        counts[name] = counts.get(name, 0) + confusion(labels, found, classes)
    whole = sum(counts.values())
    return {
        "iou": float(overlaps(whole)[-1]),
        "mean_iou": float(np.nanmean(overlaps(whole))),
        "iou_of_rasters": {name: float(overlaps(one)[-1]) for name, one in sorted(counts.items())},
    }


def add_chips(parser: argparse.ArgumentParser) -> None:
    """Add the options for chips of `buildings`."""
    parser.add_argument(
        "--data", type=Path, help="folder with train and val (default: buildings of the data)"
    )
    parser.add_argument("--gsd", type=float, default=0.3, help="metres a pixel (default: 0.3)")
    parser.add_argument("--chip", type=int, default=256, help="side of a chip, in pixels (default: 256)")
    parser.add_argument("--batch", type=int, default=4, help="chips of a step (default: 4)")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate (default: 0.001)")


def network_words(
    architecture: str, encoder: str, weights: str | None, settings: Mapping[str, float]
) -> list[str]:
    """Return the options of `terraseam train` that choose a network."""
    words = ["--architecture", architecture, "--encoder", encoder]
    words += ["--encoder-weights", weights] if weights else []
    return [*words, *(word for name, value in settings.items() for word in ("--set", f"{name}={value:g}"))]


def plan_buildings(arguments: argparse.Namespace, words: Sequence[str], seed: int) -> Any:
    """Plan a training run on `buildings`, with the recipe of the shipped model as far as it suits short runs.

    Args:
        arguments: Parsed arguments, including those of `add_chips`.
        words: Further options of `terraseam train`: network and recipe.
        seed: Seed of weights and chips.
    """
    from terraseam.pipeline.options.train_arguments import parse_train
    from terraseam.pipeline.training.plan import plan_training

    data = arguments.data or data_folder() / "buildings"
    area = [] if arguments.data else ["--aoi", str(ROOT / "examples" / "buildings" / "area.geojson")]
    train, val = str(data / "train"), str(data / "val")
    where = ["--images", train, "--labels", train, "--val-images", val, "--val-labels", val, *area]
    chips = f"--gsd {arguments.gsd} --chip-size {arguments.chip} --scale-range 0.5-1.8 --stretch 1.2 --object-fraction 0.5"
    recipe = (
        f"--batch-size {arguments.batch} --learning-rate {arguments.rate} --epochs 1 --warmup-steps 20 --clip-norm 1 "
        f"--seed {seed}"
    )
    usual = ["--classes", "building", "--output", str(arguments.folder / "no-bundle"), "--optimizer", "adam"]
    return plan_training(parse_train([*where, *chips.split(), *recipe.split(), *usual, *words]))


@dataclass(frozen=True)
class Made:
    """A network ready for training.

    Attributes:
        model: The network.
        plan: The plan of its training.
        data: Its training data.
    """

    model: Any
    plan: Any
    data: Any

    def measured(self) -> Result:
        """Measure the network; see `measure_chips`."""
        from terraseam.models.training.batches import scaled

        def predictor(pixels: np.ndarray) -> np.ndarray:
            return self.model.predict_on_batch(scaled(pixels, self.data.scaling))

        return measure_chips(predictor, self.plan.validation, len(self.plan.classes.names))


def made(plan: Any) -> Made:
    """Build the network of a plan, with the seed of its recipe."""
    from terraseam.models.engines.quiet import import_tensorflow

    import_tensorflow()
    from terraseam.models.engines.determinism import be_deterministic
    from terraseam.models.training.making import new_network
    from terraseam.models.zoo import input_scaling
    from terraseam.pipeline.training.run import training_data

    be_deterministic()
    weights = plan.options.encoder_weights
    settings = dict(plan.options.settings) | ({"encoder_weights": weights} if weights else {})
    bands = len(plan.bands)
    network = new_network(plan.row, bands, len(plan.classes.names), settings, plan.recipe.seed)
    return Made(network, plan, training_data(plan, input_scaling(plan.row.encoder, bands)))


def take_steps(network: Made, recipe: Any, budget: float = float("inf")) -> tuple[int, float]:
    """Train a network for the steps of a recipe, like `terraseam.models.training.fit`.

    Args:
        network: The network.
        recipe: Its recipe; the first step compiles, and is not counted.
        budget: CPU seconds after which no further step is taken.

    Returns:
        The number of counted steps, and their CPU seconds.
    """
    from terraseam.models.training.learner import jit, learn, make_learner, prepare_norms, reseed
    from terraseam.models.training.making import task_of
    from terraseam.models.training.optimizers import make_optimizer

    plan = network.plan
    task = task_of(plan.row, plan.classes.names, plan.options.settings, recipe.seed)
    learner = make_learner(network.model, task, recipe)
    prepare_norms(network.model, task, recipe)
    learner.compile(optimizer=make_optimizer(recipe, learner.trainable_variables, 0), jit_compile=jit())
    reseed(learner, recipe.seed, 0)
    return take_each(partial(learn, learner), network.data, recipe, budget)


def take_each(
    step: Callable[[Any], Any], data: Any, recipe: Any, budget: float = float("inf")
) -> tuple[int, float]:
    """Take a step with each batch of an epoch; parameters and result are like those of `take_steps`."""
    from terraseam.models.training.batches import Batches

    start, taken = time.process_time(), -1
    with closing(Batches(data, recipe).epoch(0)) as batches:
        for batch in batches:
            step(batch)
            taken += 1
            if not taken:
                start = time.process_time()
            elif time.process_time() - start >= budget:
                break
    return taken, time.process_time() - start


def ious(groups: telling.Groups) -> dict[str, list[float]]:
    """Return the IoU of buildings of each result, by network."""
    return {name: [one["iou"] for one in results] for name, results in groups.items()}


def told(groups: telling.Groups, heads: Sequence[str], about: Sequence[str] = ()) -> str:
    """Return a table of networks, each with several seeds, and the differences beyond noise.

    Args:
        groups: Results by network.
        heads: Headings of the columns that identify networks: the name, then those for `about`.
        about: Further keys of results that are the same for all seeds.
    """
    rasters = sorted(next(iter(groups.values()))[0]["iou_of_rasters"])
    rows = [
        [
            name,
            *(results[0][key] for key in about),
            f"{results[0]['parameters'] / 1e6:.2f} M",
            len(results),
            round(statistics.mean(one["steps"] for one in results)),
            round(statistics.mean(one["cpu_seconds"] for one in results)),
            telling.spread([one["iou"] for one in results]),
            *(telling.spread([one["iou_of_rasters"][raster] for one in results]) for raster in rasters),
        ]
        for name, results in groups.items()
    ]
    heads = [*heads, "parameters", "seeds", "steps", "CPU s", "building IoU", *rasters]
    return f"{telling.table(heads, rows)}\n\n{telling.noise_line(ious(groups))}"
