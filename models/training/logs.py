"""Write the history of a training run: a CSV table, and TensorBoard logs."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from terraseam.models.bundle.card import write_whole
from terraseam.models.training.errors import TrainingError

HISTORY_FILE = "history.csv"
BOARD_FOLDER = "tensorboard"


def write_history(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write the table of all epochs, replacing the previous one, so that no epoch appears twice."""
    names = list(dict.fromkeys(name for line in history for name in line))
    text = io.StringIO()
    table = csv.DictWriter(text, names, lineterminator="\n")
    table.writeheader()
    table.writerows(history)
    write_whole(folder / HISTORY_FILE, text.getvalue().encode())


class Board:
    """TensorBoard logs of a training run; they are rewritten when it resumes.

    Args:
        folder: Folder of the training run.
        learner: The model being trained.
        history: Entries of the epochs so far.

    Raises:
        TrainingError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, learner: Any, history: Sequence[Mapping[str, float]]) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise TrainingError(
                "TensorBoard's log was requested, but tensorboard is not installed; "
                'install "terraseam[tensorboard]", or leave out --tensorboard'
            )
        import keras

        for path in (folder / BOARD_FOLDER).rglob("events.out.tfevents.*"):
            path.unlink()
        self._board = keras.callbacks.TensorBoard(str(folder / BOARD_FOLDER), write_graph=False)
        self._board.set_model(learner)
        for line in history:
            self.add(line)

    def add(self, line: Mapping[str, float]) -> None:
        """Log an epoch."""
        figures = {name: value for name, value in line.items() if name != "epoch"}
        self._board.on_epoch_end(int(line["epoch"]), figures)

    def close(self) -> None:
        """Close the files."""
        self._board.on_train_end()
