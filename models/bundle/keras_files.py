"""Read Keras files without running any code they contain."""

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
"""Limits on unpacked size: a number of bytes, plus a number for each byte of the file."""
SAFE_MODULES = re.compile(
    r"keras(\.(layers|models|initializers|regularizers|constraints|dtype_policies)"
    r"|\.src\.(models\.(functional|sequential|model)|ops\.\w+))?"
)
FUNCTION_MODULES = re.compile(r"keras\.(src\.)?(ops(\.\w+)?|activations(\.\w+)?)")
NOT_PIXELS = frozenset(
    {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
    | {"StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup"}
)
"""Keras layers that load other networks, run code of other libraries, or read files they name."""


def read_keras(path: Path, what: str) -> keras.Model:
    """Read a network from a Keras file, after checking all of its contents.

    Args:
        path: The file.
        what: Name of the file in error messages.

    Raises:
        CardError: If it is not a Keras file, would run its own code, or reads other files.
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
    """Refuse a network that contains code, or needs code from outside Keras and Terraseam.

    Raises:
        CardError: If it does; the message names the object.
    """
    for item in objects:
        module, name = item.get("module"), str(item["class_name"])
        if name in NOT_PIXELS:
            raise CardError(
                f"{what} has a {name}, which loads or runs things outside the file; build the network from image layers only"
            )
        if not _is_safe(module, name, item.get("registered_name")):
            where = f" of {module}" if module else ""
            raise CardError(
                f"{what} has a {name}{where}, which runs code from outside Keras; "
                "build the network from Keras layers only"
            )


def room_of(path: Path) -> int:
    """Return the bytes that the contents of a file may unpack to; weights hardly compress, so more is a zip bomb."""
    return ROOM + PACKED * path.stat().st_size


def refuse_huge(build: Callable[[], keras.Model], what: str, held: int) -> None:
    """Refuse a network whose layers would allocate far larger weights than its file holds.

    Args:
        build: Builds the network from its config. Its weights are not initialized here, and take no memory.
        what: Name of the file in error messages.
        held: Bytes of the weights in the file.

    Raises:
        CardError: If it does.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            weights = list(build().variables)
        needed = sum(math.prod(variable.shape) * value_bytes(str(variable.dtype)) for variable in weights)
    finally:
        # Otherwise Keras would initialize all of them later.
        global_state.set_global_attribute("uninitialized_variables", [])
    if needed > ROOM + 2 * held:
        raise CardError(
            f"{what} describes layers with {needed / 1e6:,.0f} MB of weights but holds {held / 1e6:,.0f} MB; save it again"
        )


def refuse_links(file: Any, what: str, room: int) -> int:
    """Refuse weights stored in other files, or taking far more memory than their file.

    Args:
        file: The HDF5 file: a path, or an open file.
        what: Its name in error messages.
        room: Maximum size of its arrays, in bytes.

    Returns:
        Size of its arrays, in bytes.

    Raises:
        CardError: If a link or an array refers to another file, the arrays are too large, or it is not an HDF5 file.
    """
    datasets: list[Any] = []
    outside: list[str] = []
    try:
        with h5py.File(file, "r") as opened:
            _find_links(opened, outside, datasets)
            taken = sum(item.size * item.dtype.itemsize for item in datasets if item.shape is not None)
    except (OSError, RecursionError) as error:
        raise CardError(f"{what} has weights that cannot be read ({error}); save it again") from error
    if outside:
        raise CardError(
            f"{what} has weights in other files ({', '.join(outside)}); save it with its weights inside"
        )
    if taken > room:
        raise CardError(
            f"{what} would unpack to {taken / 1e6:,.0f} MB of weights, and {room / 1e6:,.0f} MB is the limit "
            f"for a file of this size; save it again"
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
    """Return whether an object of a Keras config is part of Keras, or one of Terraseam's own layers.

    Keras prefers a registered name to module and class, so a registered name with a package must be Terraseam's.
    """
    if is_own_layer(registered, module, name):
        return True
    plain = module is None and name.startswith("__") and name != "__lambda__"
    modules = FUNCTION_MODULES if name == "function" else SAFE_MODULES
    safe = isinstance(module, str) and modules.fullmatch(module) is not None
    foreign = ">" in str(registered)
    return (plain or safe) and not foreign and "lambda" not in name.lower()


def read_members(path: Path, what: str) -> dict[str, bytes]:
    """Read the members of a Keras file, which may only be those that Keras writes for image networks.

    Names and sizes are checked in its directory before any member is unpacked.

    Raises:
        CardError: If it is not a Keras file, has other members, or would unpack to far more than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            _check_parts(parts, what, room_of(path))
            return {part.filename: _unpack(archive, part) for part in parts}
    except (zipfile.BadZipFile, OSError, RuntimeError, EOFError, zlib.error) as error:
        raise CardError(f"{what} is not a Keras file ({error}); save it again") from error


def _check_parts(parts: list[zipfile.ZipInfo], what: str, room: int) -> None:
    names = [part.filename for part in parts]
    others = sorted(name for name in names if name not in (CONFIG, METADATA, WEIGHTS))
    if others:
        raise CardError(
            f"{what} has {', '.join(others[:3])} in it, which image networks do not need; save it again"
        )
    if len(set(names)) < len(names):
        raise CardError(f"{what} has duplicate parts ({', '.join(sorted(names))}); save it again")
    for part in parts:
        most = room if part.filename == WEIGHTS else ROOM
        if part.file_size > most:
            raise CardError(
                f"{part.filename} in {what} would unpack to {part.file_size / 1e6:,.0f} MB, and "
                f"{most / 1e6:,.0f} MB is the limit for a file of this size; save it again"
            )


def _unpack(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bytes:
    """Unpack a member, up to the size given in the directory."""
    with archive.open(part) as opened:
        return opened.read(part.file_size)


def read_config(members: dict[str, bytes], what: str, name: str = CONFIG) -> Any:
    """Read a JSON member.

    Raises:
        CardError: If it is missing, or not JSON.
    """
    try:
        return json.loads(members[name])
    except (KeyError, ValueError, RecursionError) as error:
        raise CardError(f"{what} is not a Keras file ({short_cause(error)}); save it again") from error


def short_cause(error: Exception) -> str:
    """Return the cause of a Keras or Python error in one line; Keras puts it after the whole config."""
    text = str(error).rpartition("Exception encountered:")[2].strip() or type(error).__name__
    return " ".join(text.split())[:300]


def _find_links(group: Any, outside: list[str], arrays: list[Any]) -> None:
    """Append the names of links and arrays of an HDF5 group stored in other files, and the arrays in it."""
    for name in group:
        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            outside.append(link.filename)
            continue
        item = group.get(name)
        if isinstance(item, h5py.Group):
            _find_links(item, outside, arrays)
        elif isinstance(item, h5py.Dataset):
            arrays.append(item)
            if item.external or item.is_virtual:
                outside.append(item.name)
