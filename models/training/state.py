"""Save and load the state of a training run, atomically, bound to its recipe and data."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from terraseam.models.bundle.card import whole_file
from terraseam.models.training.batches import TrainingData
from terraseam.models.training.errors import TrainingError
from terraseam.models.training.learner import Task
from terraseam.models.training.recipe import FREE, Recipe

STATE_FILE = "state.npz"
BEST_FILE = "best-{epoch:05d}.npz"
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a training run.

    Attributes:
        epochs_done: Number of completed epochs.
        best_epoch: Epoch of the best weights so far, from 1; 0 before the first.
        best_figure: Its validation score.
        history: An entry of metrics for each epoch.
    """

    epochs_done: int = 0
    best_epoch: int = 0
    best_figure: float = float("-inf")
    history: tuple[Mapping[str, float], ...] = ()

    def after(self, line: Mapping[str, float], figure: float) -> Progress:
        """Return the progress after another epoch."""
        epoch = self.epochs_done + 1
        better = figure > self.best_figure
        return Progress(
            epoch,
            epoch if better else self.best_epoch,
            figure if better else self.best_figure,
            (*self.history, line),
        )

    def is_over(self, recipe: Recipe) -> bool:
        """Return whether all epochs are done, or patience has run out."""
        waited = self.epochs_done - self.best_epoch
        return self.epochs_done >= recipe.epochs or (
            recipe.patience is not None and waited >= recipe.patience
        )


def fingerprint(network: keras.Model, task: Task, recipe: Recipe, data: TrainingData) -> dict[str, Any]:
    """Return everything a training run's result depends on, as JSON values by name."""
    settings = {name: value for name, value in recipe.record().items() if name not in FREE}
    shapes = [list(variable.shape) for variable in network.weights]
    values = {
        **settings,
        "classes": list(task.classes),
        "encoder": task.encoder,
        "instances": None if task.instances is None else dataclasses.asdict(task.instances),
        "looks": dataclasses.asdict(data.augmentation),
        "scaling": dataclasses.asdict(data.scaling),
        "data": dict(data.description),
        "network": [network.name, shapes],
        "backend": keras.backend.backend(),
    }
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def check_same(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    """Check that a training run resumes with the settings it was started with.

    Raises:
        TrainingError: If anything differs, except for more epochs with a constant schedule.
    """
    names = dict.fromkeys((*now, *before))
    changed = [name for name in names if before.get(name) != now.get(name)]
    if changed == ["epochs"] and now["epochs"] > before["epochs"]:
        if now["schedule"] == "constant":
            return
        raise TrainingError(
            f"the training in {folder} was planned for {before['epochs']} epochs, not {now['epochs']}, and its "
            f"{now['schedule']} schedule depends on their number; only a constant schedule can be extended, so "
            f"restart it (--restart)"
        )
    if changed:
        differences = "; ".join(_differences(before, now))
        raise TrainingError(
            f"the training in {folder} was started with other settings ({differences}); continue with the "
            f"original settings, restart it (--restart), or choose another folder (--work)"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], within: str = "") -> Iterator[str]:
    """Yield the differences by name; nested names are joined by dots."""
    for name in dict.fromkeys((*now, *before)):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{within}{name}.")
        elif old != new:
            old_text, new_text = json.dumps(old), json.dumps(new)
            differ = "differs" if len(old_text) + len(new_text) > 80 else f"was {old_text}, now {new_text}"
            yield f"{within}{name} {differ}"


def save_state(folder: Path, marks: Mapping[str, Any], progress: Progress, variables: Sequence[Any]) -> None:
    """Write the state of a training run; if the process is killed, the previous state remains."""
    header = {"format": FORMAT, "marks": marks, "progress": dataclasses.asdict(progress)}
    arrays = {f"v{number:05d}": _array(variable) for number, variable in enumerate(variables)}
    _write(folder / STATE_FILE, {"told": np.array(json.dumps(header)), **arrays})


def read_state(folder: Path) -> tuple[Mapping[str, Any], Progress, list[np.ndarray]] | None:
    """Read the state of a training run: its fingerprint, progress and variables; None if there is none.

    Raises:
        TrainingError: If the file is not a training state.
    """
    path = folder / STATE_FILE
    if not path.exists():
        return None
    arrays = _read(path, "the state of a training")
    try:
        header = json.loads(str(arrays.pop("told")))
        progress = Progress(**{**header["progress"], "history": tuple(header["progress"]["history"])})
        return dict(header["marks"]), progress, [arrays[name] for name in sorted(arrays)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrainingError(
            f"{path} is not the state of a training ({error}); restart it (--restart)"
        ) from error


def assign(variables: Sequence[Any], values: Sequence[np.ndarray], where: Path) -> None:
    """Assign values to variables.

    Raises:
        TrainingError: If their shapes differ.
    """
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise TrainingError(
            f"the weights in {where} are those of another network; restart the training (--restart)"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def save_best(folder: Path, epoch: int, network: keras.Model, marks: Mapping[str, Any]) -> None:
    """Write the weights of an epoch with the fingerprint of the run, beside the previous best ones."""
    values = {f"v{number:05d}": _array(variable) for number, variable in enumerate(network.weights)}
    values["told"] = np.array(json.dumps({"format": FORMAT, "epoch": epoch, "marks": marks}))
    _write(folder / BEST_FILE.format(epoch=epoch), values)


def load_best(folder: Path, network: keras.Model) -> int:
    """Load the best weights of a training run, finished or not, into a network, and return their epoch, from 1.

    Raises:
        TrainingError: If there are none, or they belong to another network or run.
    """
    saved_state = read_state(folder)
    if saved_state is None or not saved_state[1].best_epoch:
        raise TrainingError(f"{folder} holds no weights yet; train for at least one epoch")
    path = folder / BEST_FILE.format(epoch=saved_state[1].best_epoch)
    arrays = _read(path, "the weights of a training")
    _check_best(arrays.pop("told", None), saved_state[0], path)
    assign(network.weights, [arrays[name] for name in sorted(arrays)], path)
    return saved_state[1].best_epoch


def _check_best(record: np.ndarray | None, marks: Mapping[str, Any], path: Path) -> None:
    """Check that weights belong to the run in their folder; those of earlier versions do not record it.

    Raises:
        TrainingError: If they belong to another run. A different number of epochs is accepted.
    """
    if record is None:
        return
    try:
        before, now = (
            {**run_marks, "epochs": None} for run_marks in (json.loads(str(record))["marks"], marks)
        )
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} does not say which training it belongs to; restart it (--restart)"
        ) from error
    if before != now:
        differ = "; ".join(_differences(before, now))
        raise TrainingError(
            f"{path} holds the weights of another training ({differ}); restart it (--restart)"
        )


def tidy(folder: Path, best_epoch: int) -> None:
    """Delete the weights of all epochs but the best; 0 deletes them all, and the state too."""
    if not best_epoch:
        (folder / STATE_FILE).unlink(missing_ok=True)
    for path in folder.glob("best-*.npz"):
        if path.name != BEST_FILE.format(epoch=best_epoch):
            path.unlink()


def _array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable))


def _read(path: Path, what: str) -> dict[str, np.ndarray]:
    """Read the arrays of a file, which are stored uncompressed, so that none is larger than the file.

    Raises:
        TrainingError: If it is not such a file, or claims more data than its bytes, which is checked before reading.
    """
    try:
        if not path.is_file():
            raise ValueError("not a regular file")
        with zipfile.ZipFile(path) as archive:
            _check_sizes(archive, path.stat().st_size)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, TypeError, zipfile.BadZipFile) as error:
        raise TrainingError(f"{path} is not {what} ({error}); restart it (--restart)") from error


def _check_sizes(archive: zipfile.ZipFile, room: int) -> None:
    """Check that the arrays take no more than the file's bytes, by its directory and by their own headers."""
    parts = archive.infolist()
    taken = sum(part.file_size for part in parts)
    if taken > room or any(part.compress_type != zipfile.ZIP_STORED for part in parts):
        raise ValueError(f"it would unpack to {taken / 1e6:,.0f} MB and has {room / 1e6:,.1f} MB")
    for part in parts:
        with archive.open(part) as opened:
            version = np.lib.format.read_magic(opened)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(opened)
        if math.prod(shape) * dtype.itemsize > part.file_size:
            raise ValueError(
                f"{part.filename} would be of {'x'.join(map(str, shape))} values and has {part.file_size} bytes"
            )


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays to a file atomically, with one array in memory at a time."""
    with whole_file(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
        file.flush()
        os.fsync(file.fileno())
