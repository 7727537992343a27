"""Build networks for training, and finish and evaluate trained ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import metadata
from typing import Any

import keras
import numpy as np

from terraseam.models.bundle.archive import load_model
from terraseam.models.bundle.values import Scaling
from terraseam.models.detection.settings import SLIM_TRAINING, Training
from terraseam.models.networks.pspnet import without_auxiliary
from terraseam.models.reach.network import network_reach
from terraseam.models.training.batches import scaled
from terraseam.models.training.errors import NoStartError
from terraseam.models.training.instances import validate_instances
from terraseam.models.training.learner import Task, all_layers, validate
from terraseam.models.training.pixels import PixelMeasures
from terraseam.models.training.recipe import Recipe
from terraseam.models.zoo import Row, build


def new_network(row: Row, bands: int, classes: int, options: Mapping[str, Any], seed: int) -> keras.Model:
    """Build a network of the zoo; the same seed gives the same weights.

    Raises:
        NoStartError: If it cannot be built with these options.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    try:
        return build(row.architecture, row.encoder, bands, classes, **options)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise NoStartError(
            f"{row.architecture} cannot be built with these settings (--set, --encoder-weights): {reason}"
        ) from error


def check_chip(network: keras.Model, row: Row, chip: int) -> None:
    """Check that a network accepts chips of a given size; builder options can change its stride.

    Raises:
        NoStartError: If the size is not a multiple of the stride.
    """
    stride = row.stride if row.task == "instances" else network_reach(finished(network))[0]
    if chip % stride:
        raise NoStartError(
            f"--chip-size {chip} is not a multiple of {stride} px, the stride of {row.architecture} with these "
            f"--set values; use {-(-chip // stride) * stride}"
        )


def task_of(row: Row, classes: tuple[str, ...], options: Mapping[str, Any], seed: int) -> Task:
    """Return the task of a network of the zoo.

    Batch normalization of a detector's encoder is frozen if it has pretrained weights, as in the paper; in a slim
    one it is trained.
    """
    if row.task != "instances":
        return Task(classes, row.encoder)
    frozen = "encoder_weights" in options
    numbers = SLIM_TRAINING if options.get("slim") else Training(frozen_norm=frozen)
    return Task(classes, row.encoder, replace(numbers, seed=seed))


def take_weights(network: keras.Model, bundle: str | os.PathLike[str]) -> tuple[int, int]:
    """Copy weights from the layers of a bundle with the same names and shapes.

    Returns:
        Number of layers that received weights, and number that have any.

    Raises:
        CardError: If the bundle cannot be loaded.
        NoStartError: If no layer matches.
    """
    sources = {layer.name: layer for layer in all_layers(load_model(bundle)) if layer.weights}
    wanting = [layer for layer in all_layers(network) if layer.weights]
    taken = 0
    for layer in wanting:
        source = sources.get(layer.name)
        if source is not None and [w.shape for w in source.weights] == [w.shape for w in layer.weights]:
            layer.set_weights(source.get_weights())
            taken += 1
    if not taken:
        raise NoStartError(
            f"no layer of {network.name} matches a layer of bundle {bundle} in name and shape; "
            "leave out --initial-bundle, or name a bundle of the same architecture, encoder and --set"
        )
    return taken, len(wanting)


def finished(network: keras.Model) -> keras.Model:
    """Return the network for inference, without training-only outputs."""
    return without_auxiliary(network) if len(network.outputs) == 2 else network


def set_score_threshold(network: keras.Model, score: float) -> None:
    """Set the lowest score at which a detector returns instances.

    Args:
        network: A detector, which is modified.
        score: Lowest score of an instance, 0 to 1, such as the best threshold in validation.
    """
    layer = network.get_layer("detections")
    # The threshold is exclusive; instances with exactly this score must be kept.
    layer.choice = replace(layer.choice, score=float(np.nextafter(np.float32(score), np.float32(0))))


def figures(
    network: keras.Model, task: Task, recipe: Recipe, validation: Any, scaling: Scaling
) -> PixelMeasures:
    """Measure a network on validation chips.

    Args:
        network: The network for inference.
        task: What it has learned to predict.
        recipe: Hyperparameters, for the loss.
        validation: Chips, as in `TrainingData.validation`.
        scaling: Scaling from values of 0 to 255 to its input.
    """
    return validate(_predictor(network, scaling), task, recipe, validation)


def _predictor(network: keras.Model, scaling: Scaling) -> Callable[[np.ndarray], Any]:
    """Return a function from pixels of 0 to 255 to a network's outputs."""
    return lambda pixels: network.predict_on_batch(scaled(pixels, scaling))


def versions() -> dict[str, str]:
    """Return the versions of the libraries used for training, for the card."""
    backend = keras.backend.backend()
    known = {"keras": keras.__version__}
    for name in {"tensorflow": ("tensorflow",), "jax": ("jax",), "torch": ("torch",)}.get(backend, ()):
        known[name] = metadata.version(name)
    return known


def change_by_rounding(
    network: keras.Model, rounded: keras.Model, validation: Any, scaling: Scaling
) -> dict[str, float]:
    """Measure the effect of rounding weights on validation chips.

    Returns:
        Share of pixels whose label changes; for detectors, F1 of the rounded network instead.
    """
    if len(network.outputs) > 1:
        measured = validate_instances(_predictor(rounded, scaling), validation)
        return {"F1 with rounded weights": round(measured.figure, 4)}
    differing = total = 0
    for pixels, _ in validation:
        chips = scaled(pixels, scaling)
        labels, rounded_labels = (
            model.predict_on_batch(chips).argmax(axis=-1) for model in (network, rounded)
        )
        differing, total = differing + int((labels != rounded_labels).sum()), total + labels.size
    return {"share of labels changed by rounding the weights": round(differing / total, 7)}
