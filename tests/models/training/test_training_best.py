"""Best weights say which training they are of; those of earlier versions are taken as before."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from terraseam.models.training.errors import TrainingError
from terraseam.models.training.state import BEST_FILE, Progress, load_best, save_best, save_state

MARKS = {"rate": 0.1, "epochs": 2, "data": {"labels": "a"}}


def network(value):
    made = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    made.set_weights([np.full((1, 1), value), np.zeros(1)])
    return made


def weights(folder):
    loaded = network(0.0)
    assert load_best(folder, loaded) == 1
    return float(loaded.get_weights()[0][0, 0])


def save(folder, marks=MARKS, best=MARKS):
    save_state(folder, marks, Progress(1, 1, 0.5, ({},)), [])
    save_best(folder, 1, network(3.0), best)


def test_weights_come_back_also_where_more_epochs_follow(tmp_path):
    save(tmp_path)
    assert weights(tmp_path) == 3
    save(tmp_path, marks={**MARKS, "epochs": 9})
    assert weights(tmp_path) == 3


def test_weights_of_another_training_are_refused_and_say_what_differs(tmp_path):
    save(tmp_path, best={**MARKS, "data": {"labels": "b"}})
    with pytest.raises(TrainingError, match=r'another training \(data.labels was "b", now "a"\); restart it'):
        weights(tmp_path)


def test_weights_that_do_not_say_so_are_taken_as_before(tmp_path):
    save(tmp_path)
    path = tmp_path / BEST_FILE.format(epoch=1)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != "told"}
    np.savez(path, **arrays)
    assert weights(tmp_path) == 3
    np.savez(path, **arrays, told=np.array("no JSON"))
    with pytest.raises(TrainingError, match="does not say which training it belongs to"):
        weights(tmp_path)
