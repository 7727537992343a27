"""Keras networks: builders, bundles, receptive fields and engines. Imports neither Beam nor raster code.

The names that notebooks need most are exported, and imported on first use.
"""

if __name__ != "terraseam.models":
    raise ImportError(
        "import terraseam.models instead of models: importing both would create every class twice"
    )

from typing import TYPE_CHECKING

from terraseam.lazy import exported

if TYPE_CHECKING:
    from terraseam.models.bundle.archive import load_model, save_bundle
    from terraseam.models.bundle.card import Card, find_bundle, shipped_bundles
    from terraseam.models.bundle.values import ClassInfo, NetworkFile, Scaling
    from terraseam.models.detection.instances import ChipInstance
    from terraseam.models.engines.engine import Engine, shared_engine
    from terraseam.models.engines.profile import EngineError, Profile, execution_profile
    from terraseam.models.errors import CardError
    from terraseam.models.importing.importer import Imported, ImportRequest, import_network
    from terraseam.models.reach.memory import call_memory
    from terraseam.models.reach.network import network_reach
    from terraseam.models.reach.reach import Reach
    from terraseam.models.training.recipe import Recipe
    from terraseam.models.untrained import UntrainedRequest, write_untrained
    from terraseam.models.zoo import ZooError, build

__all__ = [
    "Card",
    "CardError",
    "ChipInstance",
    "ClassInfo",
    "Engine",
    "EngineError",
    "ImportRequest",
    "Imported",
    "NetworkFile",
    "Profile",
    "Reach",
    "Recipe",
    "Scaling",
    "UntrainedRequest",
    "ZooError",
    "build",
    "call_memory",
    "execution_profile",
    "find_bundle",
    "import_network",
    "load_model",
    "network_reach",
    "save_bundle",
    "shared_engine",
    "shipped_bundles",
    "write_untrained",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = exported(
        __name__,
        {
            "bundle.archive": ("load_model", "save_bundle"),
            "bundle.card": ("Card", "find_bundle", "shipped_bundles"),
            "bundle.values": ("ClassInfo", "NetworkFile", "Scaling"),
            "detection.instances": ("ChipInstance",),
            "engines.engine": ("Engine", "shared_engine"),
            "engines.profile": ("EngineError", "Profile", "execution_profile"),
            "errors": ("CardError",),
            "importing.importer": ("ImportRequest", "Imported", "import_network"),
            "reach.memory": ("call_memory",),
            "reach.network": ("network_reach",),
            "reach.reach": ("Reach",),
            "training.recipe": ("Recipe",),
            "untrained": ("UntrainedRequest", "write_untrained"),
            "zoo": ("ZooError", "build"),
        },
    )
