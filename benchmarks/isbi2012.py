"""U-Net on the electron-microscopy images of its paper (https://arxiv.org/abs/1505.04597), by cross-validation.

    TERRASEAM_DATA=... python benchmarks/isbi2012.py --folds 5 --only-fold 0
    TERRASEAM_DATA=... python benchmarks/isbi2012.py --folds 5 --width 64 --chip 512      on a GPU

The challenge does not publish the truth of its test images, so the 30 that have one are split. They are consecutive
sections of one volume, so a fold is a run of neighbours, not a random choice. Weights are selected on two sections
that are neither in the training set nor in the fold, and the fold is evaluated once.

Pixel error is the share of wrong pixels, and foreground IoU that of membranes, both at a score threshold of 0.5.
The lowest pixel error over the thresholds 0.1, 0.2, ... 0.9 is also given; it is selected on the fold
itself and so is optimistic. Neither is the challenge's metric, and there is no averaging over rotations as in the
paper.

The network is the paper's, at a quarter of its width unless --width 64 is given; convolutions preserve the size.
Chips are rotated and flipped, and deformed as in the paper's section 3.1: shifts on a 3 x 3 grid, normal with a
standard deviation of 10 pixels, bicubic in between (disabled by --no-elastic). --border-weights adds the paper's
weight map. An interrupted run resumes after its last epoch.
"""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comparing
import numpy as np
import telling

CLASSES = ("cell", "membrane")
DEVIATION = 10.0
"""Standard deviation of the shifts, in pixels."""
CHOOSING = 2
"""Number of sections on which weights are selected."""
THRESHOLDS = tuple(round(0.1 * number, 1) for number in range(1, 10))


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    runs = comparing.Runs(__file__, argv, arguments.folder, comparing.settings_of(arguments, "only_fold"))
    folds = range(arguments.folds) if arguments.only_fold is None else [arguments.only_fold]
    names = [f"fold{fold}" for fold in folds]
    comparing.compare(runs, arguments, names, lambda run: measure(run, arguments, runs), told)


def parse(argv: Sequence[str]) -> Namespace:
    parser = comparing.make_parser(__doc__, "isbi2012")
    add = parser.add_argument
    add("--folds", type=int, default=5, help="parts of the sections (default: 5)")
    add("--only-fold", type=int, help="train one part alone, numbered from 0")
    add("--width", type=int, default=16, help="channels of the finest maps; 64 in the paper (default: 16)")
    add("--epochs", type=int, default=10, help="(default: 10)")
    add("--steps", type=int, default=60, help="steps of an epoch (default: 60)")
    add("--batch", type=int, default=4, help="chips of a step (default: 4)")
    add("--chip", type=int, default=256, help="side of a chip, in pixels (default: 256)")
    add("--rate", type=float, default=1e-3, help="highest learning rate (default: 0.001)")
    add("--no-elastic", action="store_true", help="do not deform chips")
    add("--border-weights", action="store_true", help="weigh pixels between cells that nearly touch")
    add("--seed", type=int, default=0, help="(default: 0)")
    arguments = parser.parse_args(argv)
    if arguments.only_fold is not None and not 0 <= arguments.only_fold < arguments.folds:
        parser.error(f"--only-fold {arguments.only_fold} is none of {arguments.folds} folds, from 0")
    return arguments


@dataclass(frozen=True)
class Sections:
    """Sections of the volume with their ground truth.

    Attributes:
        pixels: Float32 of 0 to 255, ``(n, height, width)``.
        labels: Uint8, 1 on membranes, of the same shape.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def some(self, places: Sequence[int]) -> Sections:
        """Return the sections with the given indices."""
        return Sections(self.pixels[places], self.labels[places])

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each section as a batch of one, for validation."""
        return [
            (pixels[None, ..., None], labels[None])
            for pixels, labels in zip(self.pixels, self.labels, strict=True)
        ]


def read_sections(folder: Path) -> Sections:
    """Read all sections, in the order of the volume."""
    paths = sorted((folder / "images").glob("*.png"), key=lambda path: int(path.stem))
    if not paths:
        sys.exit(f"{folder / 'images'} holds no PNG files; TERRASEAM_DATA must name the folder of the data")
    pixels = np.stack([read_grey(path) for path in paths]).astype(np.float32)
    membranes = np.stack([read_grey(folder / "labels" / path.name) < 128 for path in paths])
    return Sections(pixels, membranes.astype(np.uint8))


def read_grey(path: Path) -> np.ndarray:
    """Read the one band of a PNG file, ``(height, width)``."""
    import warnings

    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as dataset:
            return dataset.read(1)


def parted(count: int, folds: int, fold: int) -> tuple[list[int], list[int], list[int]]:
    """Split sections into those for training, for selecting weights, and for evaluation.

    Args:
        count: Number of sections.
        folds: Number of folds.
        fold: The fold for evaluation, from 0.
    """
    measured = [int(place) for place in np.array_split(np.arange(count), folds)[fold]]
    others = [place for place in range(count) if place not in measured]
    choosing = others[len(others) // (2 * CHOOSING) :: len(others) // CHOOSING][:CHOOSING]
    return [place for place in others if place not in choosing], choosing, measured


@dataclass(frozen=True)
class ChipMaker:
    """Source of random chips by number, the same for the same numbers.

    Attributes:
        sections: Sections from which they are cut.
        chip: Their side, in pixels.
        elastic: Whether they are deformed.
        borders: Whether border weights are computed.
        seed: Seed of all random numbers.
    """

    sections: Sections
    chip: int
    elastic: bool
    borders: bool
    seed: int

    def __call__(self, numbers: Sequence[int]) -> Any:
        """Return the chips with the given numbers."""
        from terraseam.models.training.batches import ChipBatch

        pixels, labels = (np.stack(part) for part in zip(*map(self._chip, numbers), strict=True))
        weights = np.stack([border_map(one) for one in labels]) if self.borders else None
        return ChipBatch(pixels[..., None], labels, weights)

    def _chip(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        from terraseam.tiles.truth.scene import turned

        rng = np.random.default_rng([self.seed, number])
        count, height, width = self.sections.labels.shape
        section, symmetry = int(rng.integers(count)), int(rng.integers(8))
        row, col = (int(rng.integers(extent - self.chip + 1)) for extent in (height, width))
        corner, inner = (row, col), np.s_[row : row + self.chip, col : col + self.chip]
        pixels, labels = self.sections.pixels[section], self.sections.labels[section]
        if self.elastic:
            pixels, labels = deformed(pixels, labels, corner, self.chip, rng)
        else:
            pixels, labels = pixels[inner], labels[inner]
        pixels, labels = turned((pixels, labels), symmetry)
        return pixels, labels


def deformed(
    pixels: np.ndarray, labels: np.ndarray, corner: tuple[int, int], chip: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a chip from an elastically deformed section, mirrored beyond its edges.

    Args:
        pixels: The section.
        labels: Its labels, resampled to the nearest.
        corner: First row and column of the chip.
        chip: Its side, in pixels.
        rng: Generator of the shifts.
    """
    from scipy.ndimage import map_coordinates

    shifts = rng.normal(0, DEVIATION, (2, 3, 3))
    grid = np.mgrid[:chip, :chip].astype(np.float64)
    coarse = grid * (2 / max(1, chip - 1))
    bent = [
        start + axis + map_coordinates(shift, coarse, order=3, mode="nearest")
        for start, axis, shift in zip(corner, grid, shifts, strict=True)
    ]
    return (
        map_coordinates(pixels, bent, order=1, mode="mirror"),
        map_coordinates(labels, bent, order=0, mode="mirror"),
    )


def border_map(labels: np.ndarray) -> np.ndarray:
    """Return the paper's border weights; cells are connected pixels without membrane."""
    from scipy import ndimage

    from terraseam.tiles.truth.borders import border_weights

    cells, _ = ndimage.label(labels == 0)
    return border_weights(cells)


def measure(run: str, arguments: Namespace, runs: comparing.Runs) -> dict[str, Any]:
    """Train on all but one fold, and evaluate on that."""
    fold = int(run.removeprefix("fold"))
    sections = read_sections(comparing.data_folder() / "isbi2012")
    from terraseam.models.engines.quiet import import_tensorflow

    import_tensorflow()
    from terraseam.models.training.augment import Augmentation
    from terraseam.models.training.batches import TrainingData, scaled
    from terraseam.models.training.fit import TrainingFolder, train
    from terraseam.models.training.learner import Task
    from terraseam.models.training.making import new_network
    from terraseam.models.training.recipe import Recipe
    from terraseam.models.zoo import find, input_scaling

    parts = parted(len(sections.labels), arguments.folds, fold)
    training, choosing, measured = (sections.some(part) for part in parts)
    loss = "cross_entropy:border" if arguments.border_weights else "cross_entropy"
    recipe = Recipe(arguments.epochs, arguments.steps, arguments.batch, arguments.rate, clip=1.0,
                    loss=loss, seed=arguments.seed)  # fmt: skip
    chips = ChipMaker(training, arguments.chip, not arguments.no_elastic, recipe.wants_borders, recipe.seed)
    data = TrainingData(chips, choosing.pairs(), input_scaling(None, 1), Augmentation(hue=0, saturation=0, blur=0),
                        {"fold": fold, **runs.settings})  # fmt: skip
    network = new_network(find("unet"), 1, len(CLASSES), {"width": arguments.width}, recipe.seed)
    start = time.process_time()
    done = train(network, Task(CLASSES), recipe, data, TrainingFolder(runs.state(run)), comparing.teller())
    scores = [membrane_scores(network.predict_on_batch(scaled(one, data.scaling)))
              for one, _ in measured.pairs()]  # fmt: skip
    return {
        "fold": fold,
        **figures(np.concatenate(scores), measured.labels),
        "parameters": network.count_params(),
        "best_epoch": done.best_epoch,
        "cpu_seconds_of_this_process": time.process_time() - start,
        "sections": dict(zip(("trained", "chosen by", "measured"), parts, strict=True)),
    }


def membrane_scores(logits: np.ndarray) -> np.ndarray:
    """Return membrane scores, 0 to 1, ``(n, height, width)``, for logits ``(n, height, width, 2)``."""
    return 1 / (1 + np.exp(np.clip(logits[..., 0] - logits[..., 1], -60, 60)))


def figures(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return pixel error and foreground IoU at 0.5, and the lowest pixel error over all thresholds."""
    truth = labels == 1
    errors = {threshold: float(np.mean((scores >= threshold) != truth)) for threshold in THRESHOLDS}
    found = scores >= 0.5
    best = min(errors, key=lambda threshold: errors[threshold])
    return {
        "pixel_error": errors[0.5],
        "foreground_iou": float((found & truth).sum() / max(1, (found | truth).sum())),
        "least_pixel_error": errors[best],
        "threshold_of_least": best,
        "membrane_share": float(truth.mean()),
    }


def told(found: Sequence[dict[str, Any]]) -> str:
    """Return a table of all folds."""
    heads = ["fold", "pixel error at 0.5", "foreground IoU at 0.5", "least pixel error", "at", "all cell"]
    names = ("pixel_error", "foreground_iou", "least_pixel_error", "threshold_of_least", "membrane_share")
    rows = [[one["fold"], *(f"{one[name]:.4f}" for name in names)] for one in found]
    if len(found) > 1:
        means = [telling.spread([one[name] for one in found]) for name in names]
        rows.append([f"mean of {len(found)}", *means])
    note = "The last column is the pixel error of a network that finds no membrane."
    return f"{telling.table(heads, rows)}\n\n{note}"


if __name__ == "__main__":
    main(sys.argv[1:])
