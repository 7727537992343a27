"""Keras files, read without running anything that they bring."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras

from models.card import CardError
from models.own_layers import import_own_layers, is_own_layer

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
SAFE_MODULES = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies)"
    r"|\.src\.(models\.(functional|sequential|model)|ops\.\w+))?"
)
FUNCTION_MODULES = re.compile(r"keras\.(src\.)?(ops(\.\w+)?|activations(\.\w+)?)")
NOT_PIXELS = frozenset(
    {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
    | {"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"}
)
"""Layers of Keras that load other networks, run code of other libraries, or read files that they name."""


def read_keras(path: Path, what: str) -> keras.Model:
    """Read a network from a Keras file, after all that is in it was looked at.

    Args:
        path: The file.
        what: What messages call it.

    Raises:
        CardError: If it is not a Keras file, would run code of its own, or reads other files.
    """
    members = _read_members(path, what)
    objects = list(config_objects(_read_config(members, what)))
    refuse_code(objects, what)
    if WEIGHTS in members:
        refuse_links(members[WEIGHTS], what)
    import_own_layers(item.get("registered_name") for item in objects)
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def refuse_code(objects: list[dict[str, Any]], what: str) -> None:
    """Refuse a network that brings code, or needs code from outside Keras and Terraseam.

    Raises:
        CardError: If it does; the message names the object.
    """
    for item in objects:
        module, name = item.get("module"), str(item["class_name"])
        if name in NOT_PIXELS:
            raise CardError(
                f"{what} has a {name}, which loads or runs what lies outside of it; "
                "build the network of layers for images alone"
            )
        if not _is_safe(module, name, item.get("registered_name")):
            where = f" of {module}" if module else ""
            raise CardError(
                f"{what} has a {name}{where}, which runs code from outside Keras; "
                "build the network of Keras layers alone"
            )


def refuse_links(data: bytes, what: str) -> None:
    """Refuse weights that lie in other files.

    Raises:
        CardError: If a link or an array in the HDF5 file leads outside of it, or it is no HDF5 file.
    """
    outside: list[str] = []
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            _find_links(file, outside)
    except OSError as error:
        raise CardError(f"{what} has weights that cannot be read ({error}); make it again") from error
    if outside:
        raise CardError(
            f"{what} has weights in other files ({', '.join(outside)}); save it with its weights inside"
        )


def config_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a Keras config."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from config_objects(value)
    elif isinstance(config, list):
        for value in config:
            yield from config_objects(value)


def _is_safe(module: object, name: str, registered: object) -> bool:
    """Whether an object of a Keras config is one of Keras, or one of Terraseam's own layers.

    A registered name goes before module and class in Keras, so one with a package must be Terraseam's.
    """
    if is_own_layer(registered, module, name):
        return True
    plain = module is None and name.startswith("__") and name != "__lambda__"
    modules = FUNCTION_MODULES if name == "function" else SAFE_MODULES
    safe = isinstance(module, str) and modules.fullmatch(module) is not None
    foreign = ">" in str(registered)
    return (plain or safe) and not foreign and "lambda" not in name.lower()


def _read_members(path: Path, what: str) -> dict[str, bytes]:
    """Read the parts of a Keras file; it may have no others than those that Keras writes for networks of images."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, OSError, RuntimeError) as error:
        raise CardError(f"{what} is not a Keras file ({error}); make it again") from error
    others = sorted(name for name in members if name not in (CONFIG, METADATA, WEIGHTS))
    if others:
        raise CardError(
            f"{what} has {', '.join(others[:3])} in it, which no network of images needs; make it again"
        )
    return members


def _read_config(members: dict[str, bytes], what: str) -> Any:
    try:
        return json.loads(members[CONFIG])
    except (KeyError, ValueError) as error:
        raise CardError(f"{what} is not a Keras file ({error}); make it again") from error


def _find_links(group: Any, outside: list[str]) -> None:
    """Append the names of links and arrays of an HDF5 group whose data lie in other files."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            outside.append(link.filename)
            continue
        item = group.get(name)
        if isinstance(item, h5py.Group):
            _find_links(item, outside)
        elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
            outside.append(item.name)
