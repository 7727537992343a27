"""SegNet, FCN-8s and U-Net on CamVid, split and sized as in SegNet's paper (https://arxiv.org/abs/1511.00561).

    pip install -e '.[benchmarks]'
    TERRASEAM_DATA=... python benchmarks/camvid.py

Images are read with Pillow, so that it also runs without TensorFlow and rasterio:

    pip install jax keras numpy pillow
    TERRASEAM_DATA=... KERAS_BACKEND=jax PYTHONPATH=. python benchmarks/camvid.py

367 images for training, 101 for selecting weights, 233 for testing: 360 x 480 px, 11 classes; void is ignored. The
loss is cross-entropy with median-frequency weights (https://arxiv.org/abs/1411.4734), as in the paper. All networks
use VGG16 with ImageNet weights, and are trained by SGD with momentum 0.9. Images are flipped left to right at
random, and their light is varied slightly; rows are mirrored beyond the edges up to a multiple of 32, and ignored
there.

The paper's figures come from long training until the loss converged. --limit, --shrink, --encoder-width and
--head-width make it small enough to try on a CPU. An interrupted run resumes after its last epoch.
"""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comparing
import numpy as np
import telling

CLASSES = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
STRIDE = 32
IGNORED = 255
NETWORKS = ("segnet", "fcn8s", "unet")
PAPER = {"segnet": ("SegNet's paper", 0.904, 0.712, 0.601)}
"""Global accuracy, class average and mean IoU on the test images, from SegNet's paper (long training)."""


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    runs = comparing.Runs(__file__, argv, arguments.folder, comparing.settings_of(arguments, "networks"))
    comparing.compare(runs, arguments, arguments.networks, lambda name: measure(name, arguments, runs), told)


def parse(argv: Sequence[str]) -> Namespace:
    parser = comparing.make_parser(__doc__, "camvid")
    add = parser.add_argument
    comparing.add_names(parser, "--networks", NETWORKS)
    add("--epochs", type=int, default=200, help="(default: 200)")
    add("--batch", type=int, default=8, help="images of a step (default: 8)")
    add("--rate", type=float, default=0.05, help="highest learning rate (default: 0.05)")
    add("--seed", type=int, default=0, help="(default: 0)")
    add("--limit", type=int, help="images of each part, at most")
    add("--shrink", type=int, default=1, help="take each so-manieth pixel (default: 1)")
    add("--encoder-width", type=float, default=1.0, help="share of VGG16's channels; weights are of 1")
    add("--head-width", type=int, help="channels of FCN's head (default: the paper's)")
    return parser.parse_args(argv)


@dataclass(frozen=True)
class Images:
    """Road scenes with their labels.

    Attributes:
        pixels: Uint8 ``(n, height, width, 3)``.
        labels: Uint8 ``(n, height, width)``, `IGNORED` for void and beyond the edges.
    """

    pixels: np.ndarray
    labels: np.ndarray

    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return each image as a batch of one, for validation."""
        return [
            (pixels[None].astype(np.float32), labels[None])
            for pixels, labels in zip(self.pixels, self.labels, strict=True)
        ]


def read_images(folder: Path, part: str, limit: int | None, shrink: int) -> Images:
    """Read the images of a split, subsampled, and pad rows and columns to a multiple of 32.

    Args:
        folder: The folder of the data set.
        part: ``train``, ``val`` or ``test``.
        limit: Maximum number of images, evenly spaced; None for all.
        shrink: Step between the pixels that are kept.
    """
    paths = sorted((folder / part).glob("*.jpg"))
    if not paths:
        sys.exit(f"{folder / part} holds no JPEG files; TERRASEAM_DATA must name the folder of the data")
    if limit is not None:
        paths = [paths[place] for place in np.linspace(0, len(paths) - 1, min(limit, len(paths))).astype(int)]
    pixels = np.stack([read_picture(path, shrink) for path in paths])
    truths = [folder / f"{part}annot" / f"{path.stem}.png" for path in paths]
    labels = np.stack([read_picture(path, shrink) for path in truths])
    labels[labels >= len(CLASSES)] = IGNORED
    sides = [(0, 0), *(_margins(extent) for extent in labels.shape[1:])]
    return Images(
        np.pad(pixels, [*sides, (0, 0)], mode="reflect"), np.pad(labels, sides, constant_values=IGNORED)
    )


def _margins(extent: int) -> tuple[int, int]:
    """Return the padding before and after an axis that makes it a multiple of the stride."""
    missing = -extent % STRIDE
    return missing // 2, missing - missing // 2


def read_picture(path: Path, shrink: int) -> np.ndarray:
    """Read a picture as stored, with Pillow, like Keras' own utilities."""
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)[::shrink, ::shrink]


def median_frequency(labels: np.ndarray) -> tuple[float, ...]:
    """Return class weights: median frequency by class frequency, over images with the class; 1 for others."""
    pixels, seen = np.zeros(len(CLASSES)), np.zeros(len(CLASSES))
    for image in labels:
        counted = np.bincount(image[image != IGNORED], minlength=len(CLASSES))
        pixels += counted
        seen += (counted > 0) * counted.sum()
    there = pixels > 0
    shares = pixels[there] / seen[there]
    weights = np.ones(len(CLASSES))
    weights[there] = np.median(shares) / shares
    return tuple(round(float(weight), 4) for weight in weights)


@dataclass(frozen=True)
class ChipMaker:
    """Source of whole images by number, reshuffled for each pass; half of them are flipped."""

    images: Images
    seed: int

    def __call__(self, numbers: Sequence[int]) -> Any:
        """Return the images with the given numbers."""
        from terraseam.models.training.batches import ChipBatch

        pixels, labels = zip(*(self._chip(number) for number in numbers), strict=True)
        return ChipBatch(np.stack(pixels).astype(np.float32), np.stack(labels))

    def _chip(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        turn, place = divmod(number, len(self.images.labels))
        image = np.random.default_rng([self.seed, turn]).permutation(len(self.images.labels))[place]
        mirrored = np.random.default_rng([self.seed, turn, place]).random() < 0.5
        step = -1 if mirrored else 1
        return self.images.pixels[image, :, ::step], self.images.labels[image, :, ::step]


def measure(name: str, arguments: Namespace, runs: comparing.Runs) -> dict[str, Any]:
    """Train a network, and measure it on the test images."""
    from terraseam.models.training.augment import Augmentation
    from terraseam.models.training.batches import TrainingData
    from terraseam.models.training.fit import TrainingFolder, train
    from terraseam.models.training.learner import Task
    from terraseam.models.training.making import new_network
    from terraseam.models.training.recipe import Recipe
    from terraseam.models.zoo import find, input_scaling

    folder = comparing.data_folder() / "camvid"
    training, choosing, test = (
        read_images(folder, part, arguments.limit, arguments.shrink) for part in ("train", "val", "test")
    )
    steps = -(-len(training.labels) // arguments.batch)
    recipe = Recipe(
        arguments.epochs, steps, arguments.batch, arguments.rate, "poly", optimizer="sgd", clip=5.0,
        loss="cross_entropy", class_weights=median_frequency(training.labels), seed=arguments.seed,
        weight_decay=0.0005, workers=4,
    )  # fmt: skip
    options = network_options(name, arguments)
    network = new_network(find(name, "vgg16"), 3, len(CLASSES), options, recipe.seed)
    augmentation = Augmentation(hue=0, blur=0, noise=0, contrast=0.1, gamma=0.1)
    data = TrainingData(ChipMaker(training, recipe.seed), choosing.pairs(), input_scaling("vgg16", 3), augmentation,
                        runs.settings)  # fmt: skip
    done = train(
        network, Task(CLASSES, "vgg16"), recipe, data, TrainingFolder(runs.state(name)), comparing.teller()
    )
    weights = Path(str(options["encoder_weights"])).name if "encoder_weights" in options else "random weights"
    return {
        "network": name,
        **test_figures(network, data.scaling, test),
        "parameters": network.count_params(),
        "start": weights,
        "images": [len(part.labels) for part in (training, choosing, test)],
        "class_weights": dict(zip(CLASSES, recipe.class_weights or (), strict=True)),
        "epochs": done.epochs,
        "best_epoch": done.best_epoch,
    }


def network_options(name: str, arguments: Namespace) -> dict[str, Any]:
    """Return the arguments of a network's builder."""
    options: dict[str, Any] = {}
    if arguments.encoder_width == 1:
        options["encoder_weights"] = comparing.imagenet_weights("vgg16")
    else:
        options["encoder_width"] = arguments.encoder_width
    if name == "fcn8s" and arguments.head_width:
        options["head_width"] = arguments.head_width
    return options


def test_figures(network: Any, scaling: Any, test: Images) -> dict[str, Any]:
    """Return global accuracy, class average and mean IoU over all test images, as in the paper, and IoU by class."""
    from terraseam.models.training.batches import scaled
    from terraseam.models.training.pixels import confusion

    counts = np.zeros((len(CLASSES),) * 2, np.int64)
    for pixels, labels in test.pairs():
        predicted = network.predict_on_batch(scaled(pixels, scaling)).argmax(axis=-1)
        counts += confusion(labels, predicted, len(CLASSES))
    return figures(counts)


def figures(counts: np.ndarray) -> dict[str, Any]:
    """Compute metrics from a confusion matrix with the truth in rows; means leave out classes without labels."""
    from terraseam.models.training.pixels import overlaps

    right, truth = np.diag(counts), counts.sum(axis=1)
    there = truth > 0
    each = overlaps(counts)
    return {
        "global_accuracy": float(right.sum() / counts.sum()),
        "class_average": float((right[there] / truth[there]).mean()),
        "mean_iou": float(np.nanmean(each)),
        "iou": {name: float(value) for name, value in zip(CLASSES, each, strict=True) if np.isfinite(value)},
    }


def told(found: Sequence[dict[str, Any]]) -> str:
    """Return a table of the results with the paper's figures."""
    heads = ["network", "parameters", "epochs", "images", "global accuracy", "class average", "mean IoU"]
    rows = []
    for one in found:
        numbers = [f"{one[name]:.3f}" for name in ("global_accuracy", "class_average", "mean_iou")]
        about = [f"{one['parameters'] / 1e6:.1f} M", one["epochs"], "/".join(map(str, one["images"]))]
        rows.append([one["network"], *about, *numbers])
        if one["network"] in PAPER:
            source, *theirs = PAPER[one["network"]]
            rows.append([source, "", "", "367/101/233", *(f"{value:.3f}" for value in theirs)])
    return telling.table(heads, rows)


if __name__ == "__main__":
    main(sys.argv[1:])
