"""TensorFlow that gives the same bits each time."""

from __future__ import annotations

import keras


def be_deterministic() -> None:
    """Let TensorFlow, where Keras runs on it, use operations alone that give the same each time.

    It holds for the rest of the process.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
