"""Our U-Net beside that of segmentation-models-pytorch: same encoder and weights, chips, steps, loss and optimizer.

    pip install torch segmentation-models-pytorch
    TERRASEAM_DATA=... python benchmarks/peers.py [--steps 200] [--seeds 3] [--peer FOLDER]

--peer names a folder that `pip install --target FOLDER ...` wrote the two packages to, so that nothing else changes.

VGG16 is the one encoder that both have layer for layer and that has weights here: those of ImageNet from Keras are put
into both, and before anything is trained the peer's features are checked against ours on a chip. Both read it at strides
1, 2, 4, 8 and 16. The decoders are what is compared:

    terraseam        as our zoo builds it
    terraseam-wide   ours, with as many channels as the peer's
    smp              the peer's, as it builds it for an encoder of that depth

Chips, their changes and validation are those of `terraseam train`; all see the same chips in the same order. The loss is
cross-entropy and Dice, by Adam, with the same rates, clipping and momentum of batch normalization. Weights are those of
the last step. CPU seconds are of all steps but the first, which compiles, with the making of chips.
"""

from __future__ import annotations

import importlib
import math
import os
import statistics
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import buildings
import comparing
import numpy as np
import telling

CHANNELS = (256, 128, 64, 32)
"""Channels of the peer's decoder, from coarse to fine: its own first four."""
SIDES: Mapping[str, Mapping[str, float] | None] = {
    "terraseam": {},
    "terraseam-wide": {"decoder_width": 64},
    "smp": None,
}
"""Further arguments of our builder; None for the peer."""
EPSILON = 1e-7
"""Adam's, as Keras has it."""
OPERATORS = ("nms", "qnms")
"""Operators of torchvision that it describes even where they are not there."""
KEPT: list[Any] = []
"""Definitions that last as long as somebody holds them."""
TOLERANCE = 1e-3
"""How far features of both encoders may differ, as a share of their greatest."""


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    runs = comparing.Runs(__file__, argv, arguments.folder, settings_of(arguments))
    if arguments.run:
        side, seed = arguments.run.rsplit("-seed", 1)
        runs.keep(arguments.run, {"side": side, "seed": int(seed), **measure(side, int(seed), arguments)})
        return
    names = [f"{side}-seed{seed}" for seed in range(arguments.seeds) for side in arguments.sides.split(",")]
    found = list(runs.go(names).values())
    if not found:
        sys.exit("no run gave a result")
    comparing.write_summary(arguments, argv, found, told(found))


def parse(argv: Sequence[str]) -> Namespace:
    parser = comparing.make_parser(__doc__, "peers")
    add = parser.add_argument
    add("--sides", default=",".join(SIDES), help=f"with commas (default: {','.join(SIDES)})")
    add("--steps", type=int, default=200, help="steps of each run (default: 200)")
    add("--seeds", type=int, default=3, help="seeds, from 0 (default: 3)")
    add("--peer", help="folder with torch and segmentation-models-pytorch, where they are not installed")
    add("--random", action="store_true", help="start both encoders from random weights")
    buildings.add_chips(parser)
    parser.set_defaults(chip=128)
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.sides.split(",")) - set(SIDES):
        parser.error(f"no side is called {', '.join(sorted(unknown))}; choose of {', '.join(SIDES)}")
    return arguments


def settings_of(arguments: Namespace) -> dict[str, Any]:
    """What the result of every run depends on."""
    chips = buildings.chip_settings(arguments)
    return {"steps": arguments.steps, "random": arguments.random, **chips}


def measure(side: str, seed: int, arguments: Namespace) -> dict[str, Any]:
    """Train one side, and measure it."""
    ours = SIDES[side]
    if ours is None:
        import_torch(arguments.peer)
    weights = None if arguments.random else comparing.imagenet_weights("vgg16")
    words = buildings.network_words("unet", "vgg16", weights, ours or {})
    plan = buildings.plan_buildings(arguments, words, seed)
    warm_up = min(plan.recipe.warm_up, arguments.steps // 4)
    recipe = replace(plan.recipe, steps=arguments.steps, warm_up=warm_up)
    if ours is not None:
        network = buildings.made(plan)
        taken, spent = buildings.take_steps(network, recipe)
        told = {**network.measured(), "parameters": network.model.count_params()}
    else:
        peer = Peer(plan, recipe, weights)
        taken, spent = peer.train()
        told = {**peer.measured(), "parameters": peer.parameters, "features_differ": peer.differ}
    return {**told, "steps": taken + 1, "cpu_seconds": spent, "start": weights and Path(weights).name}


def import_torch(folder: str | None) -> None:
    """Import PyTorch and the peer, and make PyTorch Keras' backend in this process.

    Args:
        folder: Where they lie if they are not installed; what is installed goes before it.
    """
    if folder is not None:
        sys.path.append(folder)
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        _define_missing_operators()
        importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        sys.exit(
            f"the peer cannot be imported ({error}); pip install torch segmentation-models-pytorch, or --peer"
        )


def _define_missing_operators() -> None:
    """Let torchvision be imported beside a PyTorch of another build: on a CPU its own library may not load.

    It then fails on operators that it describes unasked, and that no U-Net needs.
    """
    import torch

    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        for name in OPERATORS:
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        KEPT.append(library)


@dataclass(frozen=True)
class Loss:
    """Cross-entropy and Dice of `models.training.losses`, in PyTorch: plain lines that a test holds to ours."""

    ignored: int = 255
    smooth: float = 1.0

    def __call__(self, logits: Any, labels: Any) -> Any:
        """The loss of logits ``(n, classes, height, width)`` and labels ``(n, height, width)``."""
        import torch
        from torch.nn import functional

        labelled = labels != self.ignored
        target = torch.where(labelled, labels, 0)
        entropy = functional.cross_entropy(logits, target, reduction="none")
        mean = (entropy * labelled).sum() / labelled.sum().clamp(min=1)
        scores = logits.softmax(dim=1) * labelled[:, None]
        truth = functional.one_hot(target, logits.shape[1]).movedim(-1, 1) * labelled[:, None]
        both, found, there = (part.sum(dim=(0, 2, 3)) for part in (scores * truth, scores, truth))
        dice = 1 - (2 * both + self.smooth) / (found + there + self.smooth)
        occurs = there > 0
        return mean + (dice * occurs).sum() / occurs.sum().clamp(min=1)


def rate_of(recipe: Any, step: int) -> float:
    """The rate of a step: a rise, then half a cosine to 0, as `models.training.optimizers` has it."""
    if step < recipe.warm_up:
        return recipe.rate * (step + 1) / recipe.warm_up
    share = (step - recipe.warm_up) / (recipe.total_steps - recipe.warm_up)
    return recipe.rate * 0.5 * (1 + math.cos(math.pi * share))


class Peer:
    """The U-Net of segmentation-models-pytorch, on our VGG16.

    Args:
        plan: The plan of its training.
        recipe: The recipe.
        weights: File of the encoder's weights, or None for random ones.
    """

    def __init__(self, plan: Any, recipe: Any, weights: str | None) -> None:
        import segmentation_models_pytorch as smp
        import torch

        from models.zoo import input_scaling
        from pipeline.training.run import training_data

        torch.manual_seed(recipe.seed)
        self.plan, self.recipe = plan, recipe
        self.data = training_data(plan, input_scaling("vgg16", len(plan.bands)))
        self.network = smp.Unet(
            "vgg16", encoder_depth=len(CHANNELS), encoder_weights=None, decoder_channels=CHANNELS,
            in_channels=len(plan.bands), classes=len(plan.classes.names),
        )  # fmt: skip
        self.differ = None if weights is None else take_keras_weights(self.network.encoder, weights)
        norms = (value for name, value in self.network.named_buffers() if "running" in name)
        self.parameters = sum(value.numel() for value in (*self.network.parameters(), *norms))

    def train(self) -> tuple[int, float]:
        """Take the steps of the recipe; the first is not counted, as for ours."""
        import torch

        from models.training.batches import Batches

        rates = [rate_of(self.recipe, step) for step in range(self.recipe.total_steps)]
        optimizer = torch.optim.Adam(self.network.parameters(), lr=rates[0], eps=EPSILON)
        loss_of, start, taken = Loss(), comparing.cpu_seconds(), -1
        self.network.train()
        with closing(Batches(self.data, self.recipe).epoch(0)) as batches:
            for rate, batch in zip(rates, batches, strict=True):
                optimizer.param_groups[0]["lr"] = rate
                optimizer.zero_grad()
                logits = self.network(_first_bands(batch.chips))
                loss_of(logits, torch.from_numpy(batch.labels.astype(np.int64))).backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
                optimizer.step()
                taken += 1
                if not taken:
                    start = comparing.cpu_seconds()
        return taken, comparing.cpu_seconds() - start

    def measured(self) -> dict[str, Any]:
        """Measure it as ours is."""
        import torch

        from models.training.batches import scaled

        def answer(pixels: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                logits = self.network(_first_bands(scaled(pixels, self.data.scaling)))
            return np.moveaxis(logits.numpy(), 1, -1)

        self.network.eval()
        return buildings.measure_chips(answer, self.plan.validation, len(self.plan.classes.names))


def _first_bands(chips: np.ndarray) -> Any:
    """Chips ``(n, height, width, bands)`` as PyTorch has them."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(chips, -1, 1)))


def take_keras_weights(encoder: Any, weights: str) -> float:
    """Give the peer's VGG16 the weights of ours, and compare their features on a chip of noise.

    Returns:
        The greatest difference of a feature, as a share of the greatest of its map.

    Raises:
        RuntimeError: If they differ by more than `TOLERANCE`.
    """
    import torch

    from models.networks.encoders import EncoderOptions, cut_encoder

    ours = cut_encoder("vgg16", 3, 16, EncoderOptions(encoder_weights=weights))
    kernels = [layer.get_weights() for layer in ours.layers if layer.get_weights()]
    convolutions = [module for module in encoder.features if isinstance(module, torch.nn.Conv2d)]
    for convolution, (kernel, bias) in zip(convolutions, kernels, strict=True):
        convolution.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
        convolution.bias.data = torch.from_numpy(bias.copy())
    chip = np.random.default_rng(0).uniform(-120, 130, (1, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = [features.numpy() for features in encoder(_first_bands(chip))]
    differ = 0.0
    for one, other in zip(ours.predict_on_batch(chip), theirs, strict=True):
        features = np.asarray(one)
        differ = max(differ, float(np.abs(np.moveaxis(features, -1, 1) - other).max() / features.max()))
    if differ > TOLERANCE:
        raise RuntimeError(
            f"the encoders differ by {differ:g} of their features, so there is nothing to compare"
        )
    return differ


def told(found: Sequence[Mapping[str, Any]]) -> str:
    """A table, and whether the difference is more than noise."""
    by_side: dict[str, list[Mapping[str, Any]]] = {}
    for one in found:
        by_side.setdefault(one["side"], []).append(one)
    rasters = sorted(found[0]["iou_of_rasters"])
    rows = [
        [
            side,
            f"{results[0]['parameters'] / 1e6:.2f} M",
            len(results),
            results[0]["steps"],
            round(statistics.mean(one["cpu_seconds"] for one in results)),
            telling.spread([one["iou"] for one in results]),
            *(telling.spread([one["iou_of_rasters"][raster] for one in results]) for raster in rasters),
        ]
        for side, results in by_side.items()
    ]
    heads = ["U-Net", "parameters", "seeds", "steps", "CPU s", "building IoU", *rasters]
    figures = {side: [one["iou"] for one in results] for side, results in by_side.items()}
    return f"{telling.table(heads, rows)}\n\n{telling.noise_line(figures)}"


if __name__ == "__main__":
    main(sys.argv[1:])
