"""Compare all architectures on `buildings`: same chips, same budget of CPU time, several seeds.

    TERRASEAM_DATA=... python benchmarks/architectures.py [--budget 600] [--seeds 3] [--networks unet,fcn8s]

Chips and validation are those of `terraseam train`; for a given seed, all networks see the same chips, but a faster
network sees more of them. The budget counts the CPU seconds of training steps, over all threads, including the chips.
A few steps are timed first, on a network that is then discarded, to find how many steps fit; over these the learning
rate falls to 0. If they take longer than expected, training still stops at the budget. Compilation, the timing and
the single validation at the end are not counted; weights are not selected by validation.

Each run is a separate process, and its result is kept in --folder: when re-run, the script continues with the next
run, and --done only reports finished runs, with any choice of --networks and --seeds.
Seeds form the outer loop, so that at any time there are about as many seeds of each network.
"""

from __future__ import annotations

import itertools
import statistics
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import buildings
import comparing
import telling

TIMED = 8
"""Steps that are timed first."""
FCN_ORDER = ("fcn32s", "fcn16s", "fcn8s")
"""From worst to best, according to their paper (https://arxiv.org/abs/1411.4038, table 2)."""


@dataclass(frozen=True)
class Contender:
    """A network in the comparison.

    Attributes:
        architecture: Its name in the zoo.
        encoder: Its encoder there, or ``none``.
        imagenet: Whether its encoder starts from ImageNet weights.
        settings: Further arguments of its builder.
        about: Further information for the reader.
    """

    architecture: str
    encoder: str = "mobilenet"
    imagenet: bool = True
    settings: Mapping[str, float] = field(default_factory=dict)
    about: str = "MobileNet, ImageNet"


QUARTER = "own path, a quarter of the width, random"
CONTENDERS: Mapping[str, Contender] = {
    "unet": Contender("unet"),
    "fcn32s": Contender("fcn32s"),
    "fcn16s": Contender("fcn16s"),
    "fcn8s": Contender("fcn8s"),
    "segnet": Contender("segnet"),
    "pspnet": Contender("pspnet"),
    "unet-quarter": Contender("unet", "none", False, {"width": 16}, QUARTER),
    "segnet-quarter": Contender("segnet", "vgg16", False, {"encoder_width": 0.25}, QUARTER),
    "segnet-basic-quarter": Contender("segnet_basic", "none", False, {"width": 16}, QUARTER),
}
"""The most important first."""


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    settings = comparing.settings_of(arguments, "networks", "seeds")
    runs = comparing.Runs(__file__, argv, arguments.folder, settings)
    names = comparing.seeded(arguments.networks, arguments.seeds)
    comparing.compare(runs, arguments, names, lambda run: measure(run, arguments), told)


def parse(argv: Sequence[str]) -> Namespace:
    parser = comparing.make_parser(__doc__, "architectures")
    comparing.add_names(parser, "--networks", CONTENDERS)
    parser.add_argument("--budget", type=float, default=600.0, help="CPU seconds of each run (default: 600)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds, from 0 (default: 3)")
    buildings.add_chips(parser)
    return parser.parse_args(argv)


def measure(run: str, arguments: Namespace) -> dict[str, Any]:
    """Train a network within the budget, and measure it."""
    name, seed = comparing.name_and_seed(run)
    contender = CONTENDERS[name]
    weights = comparing.imagenet_weights(contender.encoder) if contender.imagenet else None
    words = buildings.network_words(contender.architecture, contender.encoder, weights, contender.settings)
    plan = buildings.plan_buildings(arguments, words, seed)
    trial = buildings.made(plan)
    _, first = buildings.take_steps(trial, replace(plan.recipe, steps=TIMED + 1, warm_up=0))
    network = buildings.made(plan)
    steps = max(1, int(arguments.budget * TIMED / first))
    recipe = replace(plan.recipe, steps=steps + 1, warm_up=min(plan.recipe.warm_up, steps // 4))
    taken, spent = buildings.take_steps(network, recipe, arguments.budget)
    return {
        "network": name,
        "seed": seed,
        **network.measured(),
        "parameters": network.model.count_params(),
        "steps": taken,
        "steps_planned": steps,
        "cpu_seconds": spent,
        "about": contender.about,
        "start": Path(weights).name if weights else "random weights",
    }


def told(found: Sequence[comparing.Result]) -> str:
    """Return a table and a summary of all results."""
    by_network = telling.grouped(found, "network")
    table = buildings.told(by_network, ["network", "encoder"], ["about"])
    return f"{table}\n{order_line(buildings.ious(by_network))}".rstrip()


def order_line(figures: Mapping[str, Sequence[float]]) -> str:
    """Return whether the FCNs come in the order of their paper, with p-values."""
    if not set(figures) >= set(FCN_ORDER):
        return ""
    steps = []
    for worse, better in itertools.pairwise(FCN_ORDER):
        gain = statistics.mean(figures[better]) - statistics.mean(figures[worse])
        chance = telling.welch(figures[worse], figures[better])
        sure = f"p = {chance:.2g}" if min(len(figures[worse]), len(figures[better])) > 1 else "one seed"
        steps.append(f"{worse} to {better} {gain:+.3f} ({sure})")
    return f"Order of the FCNs, which their paper has rising: {', '.join(steps)}."


if __name__ == "__main__":
    main(sys.argv[1:])
