"""A network that is not symmetric: it distinguishes left from right and top from bottom."""

from __future__ import annotations

import keras
from keras import layers


def lopsided(seed=0, padding=((0, 4), (6, 0)), step=2):
    """Build a network of stride 2 * `step` that by default has a larger reach to the bottom and left."""
    keras.utils.set_random_seed(seed)
    chip = keras.Input((None, None, 3))
    x = layers.ZeroPadding2D(padding)(chip)
    x = layers.Conv2D(6, (5, 7), activation="relu")(x)
    x = layers.Conv2D(6, 3, strides=2, padding="same", activation="relu")(x)
    x = layers.Conv2D(6, 3, strides=step, padding="same", activation="relu")(x)
    x = layers.UpSampling2D(2 * step, interpolation="bilinear")(x)
    logits = layers.Conv2D(3, 3, padding="same")(layers.Concatenate()([x, chip]))
    return keras.Model(chip, logits, name="lopsided")
