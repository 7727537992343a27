"""Make TensorFlow deterministic."""

from __future__ import annotations

import keras


def be_deterministic() -> None:
    """Make TensorFlow, if it is Keras' backend, use only deterministic operations.

    This applies to the rest of the process.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
