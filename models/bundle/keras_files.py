"""Keras files, read without running anything that they bring."""

from __future__ import annotations

import copy
import io
import json
import math
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
from keras.src.backend.common import global_state

from terraseam.models.bundle.own_layers import import_own_layers, is_own_layer
from terraseam.models.errors import CardError
from terraseam.models.reach.call_memory import value_bytes

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
ROOM, PACKED = 64_000_000, 20
"""What a file may unpack to: so many bytes, and so many for each byte of the file."""
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
    members = read_members(path, what)
    config = read_config(members, what)
    objects = list(config_objects(config))
    refuse_code(objects, what)
    held = refuse_links(io.BytesIO(members[WEIGHTS]), what, room_of(path)) if WEIGHTS in members else 0
    import_own_layers(item.get("registered_name") for item in objects)
    refuse_huge(
        lambda: keras.saving.deserialize_keras_object(copy.deepcopy(config), safe_mode=True), what, held
    )
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


def room_of(path: Path) -> int:
    """Bytes that what is packed in a file may take; weights hardly pack, so more is a trap."""
    return ROOM + PACKED * path.stat().st_size


def refuse_huge(build: Callable[[], keras.Model], what: str, held: int) -> None:
    """Refuse a network whose layers would make far larger weights than its file holds.

    Args:
        build: Builds it of its config. Its weights get no values here, and take no memory.
        what: What messages call the file.
        held: Bytes of the weights in the file.

    Raises:
        CardError: If it does.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            weights = list(build().variables)
        needed = sum(math.prod(one.shape) * value_bytes(str(one.dtype)) for one in weights)
    finally:
        # Keras would give values to all of them later.
        global_state.set_global_attribute("uninitialized_variables", [])
    if needed > ROOM + 2 * held:
        raise CardError(
            f"{what} describes layers with {needed / 1e6:,.0f} MB of weights, and holds {held / 1e6:,.0f} MB; make it again"
        )


def refuse_links(file: Any, what: str, room: int) -> int:
    """Refuse weights that lie in other files, or take far more room than the file that they are in.

    Args:
        file: The HDF5 file: a path, or an open file.
        what: What messages call it.
        room: Bytes that its arrays may take.

    Returns:
        Bytes that its arrays take.

    Raises:
        CardError: If a link or an array in the HDF5 file leads outside of it, they are larger, or it is no HDF5 file.
    """
    found: list[Any] = []
    outside: list[str] = []
    try:
        with h5py.File(file, "r") as opened:
            _find_links(opened, outside, found)
            taken = sum(item.size * item.dtype.itemsize for item in found if item.shape is not None)
    except (OSError, RecursionError) as error:
        raise CardError(f"{what} has weights that cannot be read ({error}); make it again") from error
    if outside:
        raise CardError(
            f"{what} has weights in other files ({', '.join(outside)}); save it with its weights inside"
        )
    if taken > room:
        raise CardError(
            f"{what} would unpack to {taken / 1e6:,.0f} MB of weights, and {room / 1e6:,.0f} MB are the most for "
            "a file of this size; make it again"
        )
    return int(taken)


def config_objects(config: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of a Keras config, outer ones first."""
    left = [config]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            left.extend(reversed(value.values()))
        elif isinstance(value, list):
            left.extend(reversed(value))


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


def read_members(path: Path, what: str) -> dict[str, bytes]:
    """Read the parts of a Keras file; it may have no others than those that Keras writes for networks of images.

    Names and sizes are looked at in its directory before any part is unpacked.

    Raises:
        CardError: If it is not a Keras file, has other parts, or would take far more room than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_parts(parts, what, room_of(path))
            return {part.filename: _unpack(archive, part) for part in parts}
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error) as error:
        raise CardError(f"{what} is not a Keras file ({error}); make it again") from error


def _check_parts(parts: list[zipfile.ZipInfo], what: str, room: int) -> None:
    names = [part.filename for part in parts]
    others = sorted(name for name in names if name not in (CONFIG, METADATA, WEIGHTS))
    if others:
        raise CardError(
            f"{what} has {', '.join(others[:3])} in it, which no network of images needs; make it again"
        )
    if len(set(names)) < len(names):
        raise CardError(f"{what} has a part twice ({', '.join(sorted(names))}); make it again")
    for part in parts:
        most = room if part.filename == WEIGHTS else ROOM
        if part.file_size > most:
            raise CardError(
                f"{part.filename} in {what} would unpack to {part.file_size / 1e6:,.0f} MB, and {most / 1e6:,.0f} MB are "
                "the most for a file of this size; make it again"
            )


def _unpack(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bytes:
    """Unpack a part, no more of it than the directory says."""
    with archive.open(part) as opened:
        return opened.read(part.file_size)


def read_config(members: dict[str, bytes], what: str, name: str = CONFIG) -> Any:
    """Read a part that is JSON.

    Raises:
        CardError: If it is missing, or none.
    """
    try:
        return json.loads(members[name])
    except (KeyError, ValueError, RecursionError) as error:
        raise CardError(f"{what} is not a Keras file ({short_cause(error)}); make it again") from error


def short_cause(error: Exception) -> str:
    """What an error of Keras or Python says, in one line; Keras puts the cause behind the whole config."""
    text = str(error).rpartition("Exception encountered:")[2].strip() or type(error).__name__
    return " ".join(text.split())[:300]


def _find_links(group: Any, outside: list[str], found: list[Any]) -> None:
    """Append the names of links and arrays of an HDF5 group whose data lie in other files, and the arrays in it."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            outside.append(link.filename)
            continue
        item = group.get(name)
        if isinstance(item, h5py.Group):
            _find_links(item, outside, found)
        elif isinstance(item, h5py.Dataset):
            found.append(item)
            if item.external or item.is_virtual:
                outside.append(item.name)
