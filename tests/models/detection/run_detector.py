"""Run a detector on the backend that KERAS_BACKEND names: ``python run_detector.py FOLDER``.

``planted`` (a bundle) and ``chips.npy`` are read from the folder; answers go to ``BACKEND.npz``, with the loss of one
step of training and how many trainable weights it left as they were.
"""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import numpy as np
from planted import TRAINING, batch_of_scenes

from terraseam.models.bundle.archive import load_model
from terraseam.models.detection.training import training_network


def main() -> None:
    folder = Path(sys.argv[1])
    network = load_model(folder / "planted")
    chips = np.load(folder / "chips.npy")
    outputs = [keras.ops.convert_to_numpy(part) for part in network(chips, training=False)]
    trainer = training_network(network, TRAINING)
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in trainer.trainable_weights]
    trainer.compile(keras.optimizers.SGD(0.1))
    shown = trainer.fit(batch_of_scenes(2, 64, seed=3), batch_size=2, verbose=0).history
    pairs = zip(trainer.trainable_weights, before, strict=True)
    kept = sum(np.array_equal(keras.ops.convert_to_numpy(weight), old) for weight, old in pairs)
    names = ("boxes", "labels", "scores", "masks")
    np.savez(
        folder / keras.backend.backend(),
        **dict(zip(names, outputs, strict=True)),
        loss=shown["loss"][0],
        kept=kept,
    )


if __name__ == "__main__":
    main()
