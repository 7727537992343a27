"""The network as trained: losses of its outputs, frozen layers, and random seeds."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from terraseam.models.detection.settings import Training
from terraseam.models.networks.encoders import EncoderOptions, whole_encoder
from terraseam.models.networks.pspnet import AUXILIARY_WEIGHT
from terraseam.models.training.batches import Batch
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.instances import validate_instances
from terraseam.models.training.losses import SegmentationLoss
from terraseam.models.training.pixels import PixelMeasures, validate_pixels
from terraseam.models.training.recipe import Recipe

SEED_STATE = "seed_generator_state"
"""Name of the state variable of Keras' seed generators."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a network learns to predict.

    Attributes:
        classes: Names of its classes, including the background.
        encoder: Name of the encoder in `terraseam.models.networks.encoders.ENCODERS`, optionally with the suffix
            ``_fpn``; None if the network has none of these.
        instances: Training settings of a detector; None for a semantic network.
    """

    classes: tuple[str, ...]
    encoder: str | None = None
    instances: Training | None = None


class SemanticLearner(keras.Model):
    """A semantic network whose loss ignores unlabelled pixels; a second output is an auxiliary head."""

    def __init__(self, *args: Any, loss: SegmentationLoss, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.segmentation_loss = loss

    def compute_loss(self, x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
        """Return the sum of the loss of the logits, that of auxiliary logits if any, and the layers' penalties."""
        del x
        logits, *auxiliary = y_pred if isinstance(y_pred, list | tuple) else (y_pred,)
        total = self.segmentation_loss(y, logits, sample_weight)
        for early in auxiliary:
            total = total + AUXILIARY_WEIGHT * self.segmentation_loss(y, early, sample_weight)
        return sum(self.losses, total)


def make_learner(network: keras.Model, task: Task, recipe: Recipe) -> keras.Model:
    """Build the model that trains a network; both share all weights."""
    if task.instances is not None:
        from terraseam.models.detection.training import training_network

        return training_network(network, task.instances)
    loss = _loss(recipe)
    outputs = network.outputs if len(network.outputs) > 1 else network.outputs[0]
    return SemanticLearner(network.inputs[0], outputs, loss=loss, name=f"{network.name}_training")


def _loss(recipe: Recipe) -> SegmentationLoss:
    return SegmentationLoss(recipe.terms, recipe.class_weights)


def validate(
    predictor: Callable[[np.ndarray], Any], task: Task, recipe: Recipe, validation: Any
) -> PixelMeasures:
    """Measure a network on validation chips.

    Args:
        predictor: Function from pixels of 0 to 255 to all outputs of the network, in numpy.
        task: What it learns to predict.
        recipe: Hyperparameters, for the loss.
        validation: Chips, as in `TrainingData.validation`.
    """
    if task.instances is not None:
        return validate_instances(predictor, validation)
    return validate_pixels(predictor, validation, task.classes, _loss(recipe))


def learn(learner: keras.Model, batch: Batch) -> dict[str, float]:
    """Run one training step, and return its loss and the logged parts of it."""
    if batch.truth is not None:
        logs = learner.train_on_batch({"chips": batch.chips, **batch.truth}, return_dict=True)
    else:
        logs = learner.train_on_batch(batch.chips, batch.labels, batch.weights, return_dict=True)
    return {name: float(value) for name, value in logs.items()}


def jit() -> bool | str:
    """Return whether to compile networks with XLA: not on TensorFlow, where it halves the speed on a CPU."""
    return False if keras.backend.backend() == "tensorflow" else "auto"


def all_layers(network: keras.Model) -> list[Any]:
    """Return the layers of a network, including those of nested models."""
    return [layer for layer in network._flatten_layers() if not isinstance(layer, keras.Model)]


def encoder_layers(network: keras.Model, task: Task) -> list[Any]:
    """Return the layers of a network that belong to its encoder, matched by name.

    Raises:
        TrainingError: If there are none.
    """
    name = (task.encoder or "").removesuffix("_fpn")
    if name:
        matches = [layer for layer in all_layers(network) if layer.name in _encoder_names(name)]
        if matches:
            return matches
    raise TrainingError(
        f"{network.name} has no encoder {name or 'of the zoo'!r} whose layers could be frozen; "
        "set freeze_epochs to 0 and freeze_norm to false"
    )


@functools.cache
def _encoder_names(name: str) -> frozenset[str]:
    """Return the names of an encoder's layers with weights, including SegNet's batch normalization."""
    own = {layer.name for layer in whole_encoder(name, 3, EncoderOptions()).layers if layer.weights}
    return frozenset(own | {f"{layer_name}_norm" for layer_name in own})


def is_norm(layer: Any) -> bool:
    """Return whether a layer is batch normalization."""
    return isinstance(layer, keras.layers.BatchNormalization)


@contextmanager
def restored_layers(network: keras.Model) -> Iterator[None]:
    """Restore trainable flags and batch normalization momenta on exit."""
    layers = all_layers(network)
    trainable = [layer.trainable for layer in layers]
    momenta = [(layer, layer.momentum) for layer in layers if is_norm(layer)]
    try:
        yield
    finally:
        for layer, before in zip(layers, trainable, strict=True):
            layer.trainable = before
        for layer, momentum in momenta:
            layer.momentum = momentum


def prepare_norms(network: keras.Model, task: Task, recipe: Recipe) -> None:
    """Set the momentum of trainable batch normalization, and freeze the encoder's, as the recipe says."""
    if recipe.freeze_norm:
        for layer in encoder_layers(network, task):
            if is_norm(layer):
                layer.trainable = False
    for layer in all_layers(network):
        if is_norm(layer) and layer.trainable and recipe.norm_momentum is not None:
            layer.momentum = recipe.norm_momentum


def reseed(learner: keras.Model, seed: int, epoch: int) -> None:
    """Reset all random generators at the start of an epoch, so that no epoch depends on earlier ones."""
    keras.utils.set_random_seed(zlib.crc32(f"{seed} {epoch}".encode()))
    states = [variable for variable in learner.variables if variable.name == SEED_STATE]
    for number, state in enumerate(states):
        start = zlib.crc32(f"{seed} {epoch} {number}".encode())
        state.assign(np.array([start, 0], np.uint32))
