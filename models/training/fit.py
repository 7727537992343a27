"""Train a network epoch by epoch; an interrupted run resumes and gives the same result."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from terraseam.models.engines.determinism import be_deterministic
from terraseam.models.training import state
from terraseam.models.training.batches import Batch, Batches, TrainingData, scaled
from terraseam.models.training.errors import TrainingError, out_of_memory
from terraseam.models.training.instances import decode_instances
from terraseam.models.training.learner import (
    Task,
    encoder_layers,
    jit,
    learn,
    make_learner,
    prepare_norms,
    reseed,
    restored_layers,
    validate,
)
from terraseam.models.training.logs import Board, write_history
from terraseam.models.training.optimizers import averages, make_optimizer
from terraseam.models.training.pixels import PixelMeasures
from terraseam.models.training.recipe import Recipe
from terraseam.models.training.state import Progress
from terraseam.models.training.watch import EpochBegan, EpochEnd, StepEnd, Watcher


@dataclass(frozen=True, slots=True)
class TrainingFolder:
    """Folder for the state and logs of a training run.

    Attributes:
        folder: Its path, created if it does not exist.
        restart: Whether to discard an earlier state and start over.
        tensorboard: Whether to write TensorBoard logs.
    """

    folder: Path
    restart: bool = False
    tensorboard: bool = False


@dataclass(frozen=True, slots=True)
class Trained:
    """Result of a training run.

    Attributes:
        best_epoch: Epoch of the network's current weights, from 1.
        figure: Their validation score: mean IoU, or F1 of instances.
        measures: The history entry of that epoch.
        epochs: Epochs trained, including those before an interruption.
    """

    best_epoch: int
    figure: float
    measures: dict[str, float]
    epochs: int


def train(
    network: keras.Model,
    task: Task,
    recipe: Recipe,
    data: TrainingData,
    place: TrainingFolder,
    watcher: Watcher,
) -> Trained:
    """Train a network, leaving it with the weights that scored best in validation.

    Each epoch ends by saving its state. A run that was interrupted, at any time and in any way, resumes after
    the last complete epoch when called again, and gives the same weights on the same machine. On TensorFlow this
    process uses deterministic operations from here on.

    Args:
        network: Network from chips to logits, to a list of logits and auxiliary logits, or a detector.
        task: What it learns to predict.
        recipe: Hyperparameters.
        data: Training and validation data.
        place: Folder for its state.
        watcher: Callbacks.

    Raises:
        TrainingError: If the folder holds a different training run, the loss is not finite, or memory
            runs out. The best weights so far remain in the folder; see `terraseam.models.training.state.load_best`.
    """
    be_deterministic()
    place.folder.mkdir(parents=True, exist_ok=True)
    if place.restart:
        state.tidy(place.folder, 0)
    with restored_layers(network):
        run = _Run(network, task, recipe, data, place, watcher)
        run.go()
    progress = run.progress
    state.load_best(place.folder, network)
    best = progress.history[progress.best_epoch - 1]
    return Trained(progress.best_epoch, progress.best_figure, dict(best), progress.epochs_done)


@dataclass(slots=True)
class _Clock:
    """Durations of steps and validations, in seconds."""

    steps: list[float] = field(default_factory=list)
    validation: float = 0.0

    def left(self, steps: int, validations: int) -> float:
        """Return the estimated duration of some steps and validations, in seconds."""
        usual = float(np.median(self.steps[-50:])) if self.steps else 0.0
        return usual * steps + self.validation * validations


class _Run:
    """A training run in progress; see `train`."""

    def __init__(
        self,
        network: keras.Model,
        task: Task,
        recipe: Recipe,
        data: TrainingData,
        place: TrainingFolder,
        watcher: Watcher,
    ) -> None:
        self.network, self.task, self.recipe, self.data = network, task, recipe, data
        self.folder, self.watcher = place.folder, watcher
        self.learner = make_learner(network, task, recipe)
        prepare_norms(network, task, recipe)
        self.encoder = encoder_layers(network, task) if recipe.freeze_epochs else []
        self.learning = [layer.trainable for layer in self.encoder]
        whole = task.instances is not None
        self.inference_network = keras.Model(network.inputs, network.outputs if whole else network.outputs[0])
        self.inference_network.compile(jit_compile=jit())
        self.batches = Batches(data, recipe)
        self.clock = _Clock()
        self.marks = state.fingerprint(network, task, recipe, data)
        self.progress = Progress()
        self._go_on()
        self.board = Board(self.folder, self.learner, self.progress.history) if place.tensorboard else None

    def go(self) -> None:
        """Train until the last epoch, or until patience runs out."""
        while not self.progress.is_over(self.recipe):
            epoch = self.progress.epochs_done
            with _explained(epoch, self.recipe):
                if epoch and epoch == self.recipe.freeze_epochs:
                    self._begin_phase(epoch)
                loss, rate = self._train_epoch(epoch)
                self._end_epoch(loss, rate)
        if self.board:
            self.board.close()

    def _go_on(self) -> None:
        """Start, or resume from the state in the folder."""
        saved_state = state.read_state(self.folder)
        if saved_state is None:
            self._begin_phase(0)
            return
        marks, self.progress, values = saved_state
        state.check_same(marks, self.marks, self.folder)
        epoch = self.progress.epochs_done
        self._begin_phase(epoch)
        # A phase that begins here needs a new optimizer: the saved one belongs to the phase before.
        begins = epoch == self.recipe.freeze_epochs > 0
        variables = self.network.weights if begins else self._variables()
        state.assign(variables, values[: len(variables)], self.folder / state.STATE_FILE)
        if begins:
            self._begin_phase(epoch)
        write_history(self.folder, self.progress.history)
        self.watcher.resumed(epoch)

    def _begin_phase(self, epoch: int) -> None:
        """Freeze or unfreeze the encoder, and create an optimizer for the trainable variables."""
        frozen = epoch < self.recipe.freeze_epochs
        for layer, learning in zip(self.encoder, self.learning, strict=True):
            layer.trainable = learning and not frozen
        variables = self.learner.trainable_variables
        self.optimizer = make_optimizer(self.recipe, variables, epoch * self.recipe.steps)
        self.learner.compile(optimizer=self.optimizer, jit_compile=jit())

    def _variables(self) -> list[Any]:
        return [*self.network.weights, *self.optimizer.variables]

    def _train_epoch(self, epoch: int) -> tuple[float, float]:
        """Run the steps of an epoch, and return their mean loss and the last learning rate."""
        recipe = self.recipe
        reseed(self.learner, recipe.seed, epoch)
        began = EpochBegan(epoch + 1, recipe.epochs, recipe.steps, epoch < recipe.freeze_epochs)
        self.watcher.epoch_began(began)
        losses, rate = [], 0.0
        with closing(self.batches.epoch(epoch)) as batches:
            start = time.monotonic()
            for step, batch in enumerate(batches, start=1):
                rate = float(keras.ops.convert_to_numpy(self.optimizer.learning_rate))
                losses.append(self._step(epoch, step, batch))
                now = time.monotonic()
                if step > 1 or epoch > 0:
                    self.clock.steps.append(now - start)
                start = now
                remaining = recipe.total_steps - epoch * recipe.steps - step
                left = self.clock.left(remaining, recipe.epochs - epoch)
                step_end = StepEnd(epoch + 1, step, recipe.steps, float(np.mean(losses)), rate, left)
                self.watcher.step(step_end)
        return float(np.mean(losses)), rate

    def _step(self, epoch: int, step: int, batch: Batch) -> float:
        loss = learn(self.learner, batch)["loss"]
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss became {loss} in step {step} of epoch {epoch + 1}; lower "
                f"--learning-rate (now {self.recipe.learning_rate:g}), clip gradients (--clip-norm), and check labels "
                "and scaling"
            )
        return loss

    def _end_epoch(self, loss: float, rate: float) -> None:
        """Validate, save the state, and notify the watcher."""
        start = time.monotonic()
        number = self.progress.epochs_done + 1
        with self._averaged():
            measured = validate(self.predict_outputs, self.task, self.recipe, self.data.validation)
            self._check_weights(number, measured)
            line = {
                "epoch": number,
                "loss": loss,
                "rate": rate,
                "figure": measured.figure,
                **measured.measures,
            }
            self.progress = self.progress.after(line, measured.figure)
            better = self.progress.best_epoch == number
            if better:
                state.save_best(self.folder, number, self.network, self.marks)
        state.save_state(self.folder, self.marks, self.progress, self._variables())
        state.tidy(self.folder, self.progress.best_epoch)
        write_history(self.folder, self.progress.history)
        if self.board:
            self.board.add(line)
        self.clock.validation = time.monotonic() - start
        left = self.recipe.epochs - number
        seconds = self.clock.left(left * self.recipe.steps, left)
        self.watcher.validated(
            EpochEnd(number, loss, rate, measured.figure, better, seconds, measured.measures)
        )
        with self._averaged():
            self.watcher.pictures(number, self.predict)

    def _check_weights(self, number: int, measured: PixelMeasures) -> None:
        """Check that weights and validation loss are finite."""
        broken = any(not np.isfinite(weights.sum()) for weights in self.network.get_weights())
        if broken or not math.isfinite(measured.measures.get("val_loss", 0.0)):
            raise TrainingError(
                f"training diverged: NaN weights or loss after epoch {number}; lower "
                f"--learning-rate (now {self.recipe.learning_rate:g}), and check labels and scaling"
            )

    def predict_outputs(self, pixels: np.ndarray) -> Any:
        """Run the network on pixels of 0 to 255, and return all of its outputs as numpy arrays."""
        return self.inference_network.predict_on_batch(scaled(pixels, self.data.scaling))

    def predict(self, pixels: np.ndarray) -> Any:
        """Return labels, or the instances of each chip; see `terraseam.models.training.watch.Predict`."""
        if self.task.instances is not None:
            return decode_instances(self.predict_outputs(pixels), pixels.shape[1:3])
        return self.predict_outputs(pixels).argmax(axis=-1).astype(np.uint8)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """Swap in the moving averages of the weights, if any, within the context."""
        pairs = averages(self.optimizer, self.learner.trainable_variables)
        own = [keras.ops.convert_to_numpy(variable).copy() for _, variable in pairs]
        for average, variable in pairs:
            variable.assign(average)
        try:
            yield
        finally:
            for (_, variable), value in zip(pairs, own, strict=True):
                variable.assign(value)


@contextmanager
def _explained(epoch: int, recipe: Recipe) -> Iterator[None]:
    """Turn out-of-memory errors into a `TrainingError` with advice."""
    try:
        yield
    except Exception as error:
        if out_of_memory(error):
            raise TrainingError(
                f"out of memory in epoch {epoch + 1} with batches of {recipe.batch} chips; use smaller batches "
                f"(--batch-size), smaller chips (--chip-size), or a smaller network"
            ) from error
        raise
