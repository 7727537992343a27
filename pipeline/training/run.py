"""Run a planned training: build, train and measure a network, and write it as a bundle."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from terraseam.models.bundle.card import Card, find_bundle
from terraseam.models.bundle.values import Scaling
from terraseam.pipeline.exit_status import show
from terraseam.pipeline.run.watchdog import Watchdog
from terraseam.pipeline.storage.errors import file_name
from terraseam.pipeline.training.data import CheckedChips, check_data, data_marks, describe_data
from terraseam.pipeline.training.plan import TrainPlan
from terraseam.pipeline.training.progress import Teller

if TYPE_CHECKING:
    from terraseam.models.training.batches import TrainingData
    from terraseam.models.training.fit import Trained
    from terraseam.models.training.learner import Task

GOES_ON = "run the same command again to continue from the last complete epoch"
"""Advice on running the same command again when a training stalls."""


def run_training(plan: TrainPlan) -> Card:
    """Train a network, and write the bundle.

    Raises:
        NoStartError: If the training cannot start with these options.
        TrainingError: If the training fails, with advice; the best weights so far stay in the work folder.
        RasterChangedError: If a raster has changed since the training began.
    """
    from terraseam.models.engines.quiet import import_tensorflow

    import_tensorflow()
    with Watchdog(GOES_ON, "chip or step").watching(), warnings.catch_warnings():
        # Keras warns about inputs without three bands.
        warnings.simplefilter("ignore", UserWarning)
        return _train(plan)


def _train(plan: TrainPlan) -> Card:
    from terraseam.models.training.fit import TrainingFolder, train
    from terraseam.models.training.making import check_chip, finished, new_network, take_weights, task_of
    from terraseam.models.zoo import input_scaling

    options, classes = plan.options, plan.classes.names
    settings = dict(options.settings)
    if options.encoder_weights is not None:
        settings["encoder_weights"] = options.encoder_weights  # type: ignore[assignment]
    network = new_network(plan.row, len(plan.bands), len(classes), settings, plan.recipe.seed)
    check_chip(network, plan.row, options.chips.chip)
    initial_weights = "random weights"
    if options.encoder_weights is not None:
        initial_weights = f"encoder: {file_name(options.encoder_weights)}"
    if options.initial_bundle is not None:
        taken, of = take_weights(network, find_bundle(options.initial_bundle))
        initial_weights = f"{taken} of {of} layers from bundle {file_name(options.initial_bundle)}"
        show(f"weights of {taken} of {of} layers come from {options.initial_bundle}")
    folder = Path(options.work_folder)
    own = input_scaling(plan.row.encoder, len(plan.bands))
    data = training_data(plan, own)
    show(f"parameters  {network.count_params():,}")
    infos = plan.classes.infos()
    teller = Teller(plan.validation, infos, folder / "pictures", options.pictures, plan.recipe.epochs)
    place = TrainingFolder(folder, options.restart, options.tensorboard)
    task = task_of(plan.row, classes, settings, plan.recipe.seed)
    trained = train(network, task, plan.recipe, data, place, teller)
    return _write(plan, _BuiltNetwork(finished(network), task, own, initial_weights), trained)


def training_data(plan: TrainPlan, scaling: Scaling) -> TrainingData:
    """Return the training data for the network.

    Args:
        plan: The plan of the training.
        scaling: Scaling from 0 to 255 to the network's input.
    """
    from terraseam.models.training.augment import UNCHANGED, Augmentation
    from terraseam.models.training.batches import TrainingData

    strength = plan.options.chips.augmentation
    augmentation = Augmentation().times(strength) if strength else UNCHANGED
    chips = {name: value for name, value in plan.options.chips.record().items() if name != "looks"}
    description = {**describe_data(plan), **chips, **data_marks(plan)}
    return TrainingData(plan.chips, CheckedChips(plan), scaling, augmentation, description)


@dataclass(frozen=True)
class _BuiltNetwork:
    """A trained network.

    Attributes:
        network: The network for inference.
        task: The task that it was trained for.
        scaling: Scaling from 0 to 255 to its input.
        initial_weights: Description of its initial weights.
    """

    network: Any
    task: Task
    scaling: Scaling
    initial_weights: str


def _write(plan: TrainPlan, built: _BuiltNetwork, trained: Trained) -> Card:
    """Measure the network as written, and write the bundle atomically."""
    from terraseam.models.bundle.archive import save_bundle
    from terraseam.models.bundle.writing import replace_folder
    from terraseam.models.inclusion import include_openvino
    from terraseam.models.training.making import set_score_threshold

    options = plan.options
    fields: dict[str, Any] = {
        "name": options.name or Path(options.output).resolve().name,
        "version": options.version,
        "architecture": plan.row.architecture,
        "encoder": plan.row.encoder,
        "task": plan.row.task,
        "classes": plan.classes.infos(),
        "bands": plan.band_names,
        "gsd": plan.gsd,
        "scaling": plan.values.scaling(built.scaling),
        "fill": plan.values.fill,
        "license": options.license,
        "training": _describe_data_of(plan, trained, built.initial_weights),
    }
    if plan.instances:
        fields["halo"] = options.chips.chip // 2
    metrics: dict[str, Any] = {"validation": _rounded(plan, trained.figure, trained.measures)}
    metrics |= _by_raster(plan, built)
    if plan.instances and np.isfinite(trained.measures["threshold"]):
        set_score_threshold(built.network, trained.measures["threshold"])
    if options.fp16_weights:
        metrics |= _describe_rounding(plan, built, fields)
    check_data(plan)

    def fill(staging: Path) -> Card:
        save_bundle(built.network, staging, fp16_weights=options.fp16_weights, metrics=metrics, **fields)
        return include_openvino(staging, _real_chips(plan, built))

    return replace_folder(Path(options.output), fill, force=options.force)


def _real_chips(plan: TrainPlan, built: _BuiltNetwork) -> list[np.ndarray]:
    """Return scaled validation chips, whole and halved, on which engines are compared."""
    from terraseam.models.training.batches import scaled

    pixels, _ = next(iter(plan.validation))
    chip = scaled(pixels, built.scaling)[0]
    half = max(1, chip.shape[0] // plan.row.stride // 2) * plan.row.stride
    return [chip, chip[:half], chip[:, :half]]


def _by_raster(plan: TrainPlan, built: _BuiltNetwork) -> dict[str, Any]:
    """Return the metrics of each validation raster if there are several."""
    from terraseam.models.training.making import figures

    parts = plan.validation.by_raster()
    if len(parts) < 2:
        return {}
    return {
        "by raster": {
            name: _rounded(plan, measured.figure, measured.measures)
            for name, chips in parts.items()
            if not plan.instances or any(instances[0] for _, instances in chips)
            for measured in [figures(built.network, built.task, plan.recipe, chips, built.scaling)]
        }
    }


def _describe_rounding(plan: TrainPlan, built: _BuiltNetwork, fields: Mapping[str, Any]) -> dict[str, float]:
    """Return how rounding the weights to float16 changes predictions on all validation chips."""
    import tempfile

    from terraseam.models.bundle.archive import load_model, save_bundle
    from terraseam.models.training.making import change_by_rounding

    with tempfile.TemporaryDirectory() as folder:
        save_bundle(built.network, folder, fp16_weights=True, **fields)
        rounded = load_model(folder)
    return change_by_rounding(built.network, rounded, plan.validation, built.scaling)


def _describe_data_of(plan: TrainPlan, trained: Trained, initial_weights: str) -> dict[str, Any]:
    from terraseam.models.training.making import versions

    recipe = {name: value for name, value in plan.recipe.record().items() if name != "workers"}
    chips = {name: value for name, value in plan.options.chips.record().items() if value is not None}
    return {
        "data": describe_data(plan),
        "start": initial_weights,
        "epochs": trained.epochs,
        "best epoch": trained.best_epoch,
        "chips seen": trained.best_epoch * plan.recipe.steps * plan.recipe.batch,
        "recipe": recipe,
        "chips": {**chips, "scale_range": list(plan.options.chips.scale_range), "gsd": plan.gsd},
        "settings": dict(plan.options.settings),
        "versions": {"terraseam": metadata.version("terraseam"), **versions()},
    }


def _rounded(plan: TrainPlan, figure: float, measures: Mapping[str, float]) -> dict[str, float]:
    """Return rounded metrics for the card, starting with the one that selects the best weights."""
    measures = {"f1" if plan.instances else "mean_iou": figure, **measures}
    metrics = {name: value for name, value in measures.items() if name not in ("epoch", "rate", "figure")}
    return {name: round(value, 4) for name, value in metrics.items() if np.isfinite(value)}
