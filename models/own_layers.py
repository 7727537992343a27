"""The Keras layers and initializers that are Terraseam's own: all that a bundle may hold beyond those of Keras."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping

OWN_LAYERS: Mapping[str, str] = {
    "terraseam>BilinearKernel": "models.networks.bilinear",
    "terraseam>EnlargeLike2D": "models.networks.bilinear",
    "terraseam>BinMean2D": "models.networks.pooling",
    "terraseam>IndexedMaxPooling2D": "models.networks.pooling",
    "terraseam>Unpooling2D": "models.networks.pooling",
    "terraseam>Detections": "models.detection.layers",
    "terraseam>MaskScores": "models.detection.layers",
    "terraseam>Proposals": "models.detection.layers",
    "terraseam>PyramidRoiAlign": "models.detection.layers",
}
"""Module by registered name. Each is decorated with ``@keras.saving.register_keras_serializable("terraseam")``."""


def is_own_layer(registered: object, module: object, class_name: object) -> bool:
    """Whether what a Keras config says of an object is what it says of one of `OWN_LAYERS`."""
    return (
        isinstance(registered, str)
        and OWN_LAYERS.get(registered, "") == module
        and registered == f"terraseam>{class_name}"
    )


def import_own_layers(registered: Iterable[object]) -> None:
    """Import the modules of those names that are in `OWN_LAYERS`, so that Keras finds what they name."""
    names = {name for name in registered if isinstance(name, str)}
    for module in sorted({OWN_LAYERS[name] for name in names & OWN_LAYERS.keys()}):
        importlib.import_module(module)
