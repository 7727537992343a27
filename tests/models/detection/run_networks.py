"""Run narrow networks on the backend that KERAS_BACKEND names: ``python run_networks.py FOLDER ARCHITECTURE:ENCODER ...``.

Of each network, ``NAME.weights.h5`` and ``NAME.npy`` (images) are read from the folder; logits go to ``NAME.BACKEND.npy``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
from nets import tiny_options

from terraseam.models import zoo


def main() -> None:
    folder = Path(sys.argv[1])
    for name in sys.argv[2:]:
        architecture, encoder = name.split(":")
        options = tiny_options(architecture, None if encoder == "none" else encoder)
        model = zoo.build(architecture, encoder, 3, 3, **options)
        model.load_weights(folder / f"{name}.weights.h5")
        logits = compiled(model)(np.load(folder / f"{name}.npy"))
        np.save(folder / f"{name}.{keras.backend.backend()}.npy", keras.ops.convert_to_numpy(logits))


def compiled(model: keras.Model) -> Callable[[np.ndarray], object]:
    """Inference in one piece where the backend compiles: JAX takes longer over every operation alone."""
    if keras.backend.backend() != "jax":
        return partial(model, training=False)
    import jax

    return jax.jit(partial(model, training=False))


if __name__ == "__main__":
    main()
