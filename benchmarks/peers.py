"""Our U-Net against that of segmentation-models-pytorch: same encoder and weights, chips, steps, loss and optimizer.

    pip install torch segmentation-models-pytorch
    TERRASEAM_DATA=... python benchmarks/peers.py [--steps 200] [--seeds 3] [--peer FOLDER]

--peer names a folder to which `pip install --target FOLDER ...` installed the two packages, so that nothing else
changes.

VGG16 is the only encoder that both have layer for layer and that has weights here: Keras' ImageNet weights are loaded
into both, and before training the peer's features are checked against ours on a chip. Both use it at strides
1, 2, 4, 8 and 16. The comparison is between the decoders:

    terraseam        as our zoo builds it
    terraseam-wide   ours, with as many channels as the peer's
    smp              the peer's, as it builds it for an encoder of that depth

Chips, augmentation and validation are those of `terraseam train`; all see the same chips in the same order. Loss and
learning rates are those of our recipe, with Adam, the same clipping and batch normalization momentum. Weights are
those of the last step. CPU seconds are of all steps but the first, which compiles, including the preparation of
chips.
"""

from __future__ import annotations

import importlib
import os
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
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
"""Adam's epsilon, as in Keras."""
OPERATORS = ("nms", "qnms")
"""Operators of torchvision that it describes even if they are missing."""
KEPT: list[Any] = []
"""Definitions that only last while they are referenced."""
TOLERANCE = 1e-3
"""Maximum difference between the features of both encoders, relative to their maximum."""


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    settings = comparing.settings_of(arguments, "sides", "seeds", "peer")
    runs = comparing.Runs(__file__, argv, arguments.folder, settings)
    names = comparing.seeded(arguments.sides, arguments.seeds)
    comparing.compare(runs, arguments, names, lambda run: measure(run, arguments), told)


def parse(argv: Sequence[str]) -> Namespace:
    parser = comparing.make_parser(__doc__, "peers")
    add = parser.add_argument
    comparing.add_names(parser, "--sides", SIDES)
    add("--steps", type=int, default=200, help="steps of each run (default: 200)")
    add("--seeds", type=int, default=3, help="seeds, from 0 (default: 3)")
    add("--peer", help="folder with torch and segmentation-models-pytorch, where they are not installed")
    add("--random", action="store_true", help="start both encoders from random weights")
    buildings.add_chips(parser)
    parser.set_defaults(chip=128)
    return parser.parse_args(argv)


def measure(run: str, arguments: Namespace) -> dict[str, Any]:
    """Train one side, and measure it."""
    side, seed = comparing.name_and_seed(run)
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
    start = weights and Path(weights).name
    return {"side": side, "seed": seed, **told, "steps": taken + 1, "cpu_seconds": spent, "start": start}


def import_torch(folder: str | None) -> None:
    """Import PyTorch and the peer, and make PyTorch Keras' backend in this process.

    Args:
        folder: Folder with the packages if they are not installed; installed ones take precedence.
    """
    if folder is not None:
        sys.path.append(folder)
    os.environ["KERAS_BACKEND"] = "torch"
    # OpenMP threads spin while they wait, which on busy cores would be most of the CPU seconds.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        _define_missing_operators()
        importlib.import_module("segmentation_models_pytorch")
    except ImportError as error:
        sys.exit(
            f"the peer cannot be imported ({error}); pip install torch segmentation-models-pytorch, or --peer"
        )


def _define_missing_operators() -> None:
    """Make torchvision importable beside a PyTorch of another build: on a CPU its own library may not load.

    It then fails on operators that it describes on import, and that no U-Net needs.
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

        from terraseam.models.zoo import input_scaling
        from terraseam.pipeline.training.run import training_data

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
        """Train for the steps of the recipe; the first is not counted, as for ours."""
        import torch

        from terraseam.models.training.losses import make_loss
        from terraseam.models.training.optimizers import make_schedule

        loss_of, rate_of = make_loss(self.recipe.loss), make_schedule(self.recipe)
        rates = (float(rate_of(step)) for step in range(self.recipe.total_steps))
        optimizer = torch.optim.Adam(self.network.parameters(), eps=EPSILON)

        def learn(batch: Any) -> None:
            optimizer.param_groups[0]["lr"] = next(rates)
            optimizer.zero_grad()
            logits = self.network(_first_bands(batch.chips))
            loss_of(batch.labels, logits.movedim(1, -1)).backward()
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
            optimizer.step()

        self.network.train()
        return buildings.take_each(learn, self.data, self.recipe)

    def measured(self) -> dict[str, Any]:
        """Measure the network like ours."""
        import torch

        from terraseam.models.training.batches import scaled

        def predictor(pixels: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                logits = self.network(_first_bands(scaled(pixels, self.data.scaling)))
            return np.moveaxis(logits.numpy(), 1, -1)

        self.network.eval()
        return buildings.measure_chips(predictor, self.plan.validation, len(self.plan.classes.names))


def _first_bands(chips: np.ndarray) -> Any:
    """Return chips ``(n, height, width, bands)`` in the layout of PyTorch."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(chips, -1, 1)))


def take_keras_weights(encoder: Any, weights: str) -> float:
    """Load our VGG16's weights into the peer's, and compare their features on a chip of noise.

    Returns:
        The largest difference of a feature, relative to the maximum of its map.

    Raises:
        RuntimeError: If they differ by more than `TOLERANCE`.
    """
    import torch

    from terraseam.models.networks.encoders import EncoderOptions, cut_encoder

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


def told(found: Sequence[comparing.Result]) -> str:
    """Return a table, and whether the difference is beyond noise."""
    return buildings.told(telling.grouped(found, "side"), ["U-Net"])


if __name__ == "__main__":
    main(sys.argv[1:])
