"""Terraseam's own Keras layers and initializers: all that a bundle may use besides those of Keras."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Home:
    """Module of a layer.

    Attributes:
        module: Its current module.
        former: Its former modules, named in older bundles.
    """

    module: str
    former: tuple[str, ...]


_BILINEAR = Home("terraseam.models.layers.bilinear", ("models.networks.bilinear",))
_POOLING = Home("terraseam.models.layers.pooling", ("models.networks.pooling",))
_DETECTION = Home("terraseam.models.detection.layers", ("models.detection.layers",))

OWN_LAYERS: Mapping[str, Home] = {
    "terraseam>BilinearKernel": _BILINEAR,
    "terraseam>EnlargeLike2D": _BILINEAR,
    "terraseam>BinMean2D": _POOLING,
    "terraseam>IndexedMaxPooling2D": _POOLING,
    "terraseam>Unpooling2D": _POOLING,
    "terraseam>Detections": _DETECTION,
    "terraseam>MaskScores": _DETECTION,
    "terraseam>Proposals": _DETECTION,
    "terraseam>PyramidRoiAlign": _DETECTION,
}
"""Modules by registered name. Each is decorated with ``@keras.saving.register_keras_serializable("terraseam")``."""


def is_own_layer(registered: object, module: object, class_name: object) -> bool:
    """Return whether the names in a Keras config are, or once were, those of one of `OWN_LAYERS`."""
    home = OWN_LAYERS.get(registered) if isinstance(registered, str) else None
    return (
        home is not None and module in (home.module, *home.former) and registered == f"terraseam>{class_name}"
    )


def import_own_layers(registered: Iterable[object]) -> None:
    """Import the modules of the registered names in `OWN_LAYERS`, so that Keras finds them."""
    names = {name for name in registered if isinstance(name, str)}
    for module in sorted({OWN_LAYERS[name].module for name in names & OWN_LAYERS.keys()}):
        importlib.import_module(module)
