"""Open Keras files for import, without running any code they contain."""

from __future__ import annotations

import copy
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np
from keras.src.legacy.saving.saving_utils import model_from_config

from terraseam.models.bundle.archive import archive_of
from terraseam.models.bundle.keras_endings import ending_of, scored
from terraseam.models.bundle.keras_files import (
    CONFIG,
    METADATA,
    WEIGHTS,
    config_objects,
    read_config,
    read_keras,
    read_members,
    refuse_code,
    refuse_huge,
    refuse_links,
    room_of,
    short_cause,
)
from terraseam.models.errors import CardError, NetworkRefusedError, NotUnderstoodError, short
from terraseam.models.importing.common.foreign import Foreign, GraphFacts
from terraseam.models.importing.common.shapes import (
    check_single_input_output,
    check_taken,
    find_layout,
    fixed_sides,
)
from terraseam.models.importing.keras2 import WAY_OUT, check_archive, check_loaded, is_keras2, modern_network
from terraseam.models.importing.measure import measured_memory
from terraseam.models.reach.call_memory import CallMemory
from terraseam.models.reach.graph import GraphError, UnknownLayerError
from terraseam.models.reach.memory import call_memory
from terraseam.models.reach.network import network_reach

NAME = "model.keras"
PLACES = ("layers", "initializers", "regularizers", "constraints", "models")
"""Modules of the classes in HDF5 files, whose configs do not name them."""
TRIED = (96, 160)
"""Height and width used in trial runs for sides that a network leaves free, in pixels."""


def open_keras(path: Path, bands: int, layout: str | None) -> Foreign:
    """Open a Keras file, ``.keras`` or ``.h5``, and make its input size free.

    Args:
        path: The file.
        bands: Number of bands named by the user.
        layout: Layout stated by the user, or None; Keras networks are channels-last.

    Raises:
        RefusedError: If it cannot become the network of a bundle.
    """
    original = read_network(path)
    check_single_input_output(
        [tensor.name for tensor in original.inputs], [tensor.name for tensor in original.outputs]
    )
    taken = original.inputs[0]
    shape = check_taken(tuple(taken.shape), taken.dtype)
    if find_layout(shape, bands, layout) == "channels_first":
        raise NetworkRefusedError(
            f"{path} has channels first, which Keras runs only on GPUs; build it with channels last, or export it "
            "to ONNX"
        )
    model, notes = free_size(original, bands)
    outputs = model.outputs[0]

    def run(chips: np.ndarray) -> np.ndarray:
        return np.asarray(keras.ops.convert_to_numpy(model(chips, training=False)))

    ending = ending_of(model)
    return Foreign(
        kind="Keras file",
        network_name=NAME,
        layout="channels_last",
        output_shape=tuple(outputs.shape),
        whole_numbers=str(outputs.dtype).startswith(("int", "uint", "bool")),
        ending=ending,
        run=run,
        run_scores=_scores(model) if ending == "argmax" else None,
        read_graph=lambda: _read_reach(model),
        stride_hint=None,
        memory=lambda step: _memory(model, path, bands, step),
        save=lambda folder: _save(model, folder / NAME),
        notes=notes,
        dtype=str(taken.dtype),
    )


def read_network(path: Path) -> keras.Model:
    """Read a network from a ``.keras`` or an HDF5 file, after checking all of its contents.

    Raises:
        RefusedError: If it is not such a file, or contains code.
    """
    version: list[str] = []
    try:
        read = _read_h5 if path.suffix.lower() in (".h5", ".hdf5") else _read_archive
        model = read(path, version)
    except CardError as error:
        raise NetworkRefusedError(str(error)) from error
    except NetworkRefusedError:
        raise
    except Exception as error:
        old = f", which Keras {version[0]} saved" if version and is_keras2(version[0]) else ""
        cure = WAY_OUT if old else "save it again with this version, as network.save('network.keras')"
        raise NetworkRefusedError(
            f"Keras {keras.__version__} cannot read {path}{old} ({short_cause(error)}); {cure}"
        ) from error
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise NetworkRefusedError(
            f"{path} holds a network without a graph; build it from Input to outputs, or export it to ONNX"
        )
    if len(model.inputs) == len(model.outputs) == 1:
        # Whatever structure its input had, a list or a dictionary: this network takes the chip itself.
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def free_size(model: keras.Model, bands: int) -> tuple[keras.Model, tuple[str, ...]]:
    """Rebuild a network so that it takes chips of any size.

    Returns:
        The network, and notes for the user: none if it already took any size.

    Raises:
        RefusedError: If the size is built into a layer.
    """
    samples, *_ = model.inputs[0].shape
    height, width = fixed_sides(tuple(model.inputs[0].shape), "channels_last")
    if samples is None and height is None and width is None:
        return model, ()
    sides = f"{height or 'any'} x {width or 'any'} px"
    try:
        freed = keras.models.clone_model(
            model, input_tensors=keras.Input((None, None, bands), name=model.inputs[0].name)
        )
        freed.set_weights(model.get_weights())
        same = _same_outputs(model, freed, bands)
    except Exception as error:
        raise NetworkRefusedError(
            f"the network only takes chips of {sides}, and a layer needs that size ({short(error)}); "
            "build it with Input((None, None, bands)) and layers that take any size"
        ) from error
    if not same:
        raise NetworkRefusedError(
            f"the network only takes chips of {sides}, and its outputs change when its input size is made variable; "
            "build it with Input((None, None, bands)) and layers that take any size"
        )
    return freed, (
        f"it only took chips of {sides}; its input size was made variable, and its outputs stayed the same",
    )


def _same_outputs(model: keras.Model, freed: keras.Model, bands: int) -> bool:
    """Return whether a network with free size gives the same output, and labels each pixel at another size."""
    samples, height, width, _ = model.inputs[0].shape
    height, width = height or TRIED[0], width or TRIED[1]
    chips = np.random.default_rng(0).normal(size=(samples or 1, height, width, bands)).astype(np.float32)
    other = np.zeros((1, 2 * height, 3 * width, bands), np.float32)
    freed_shape = tuple(freed(other, training=False).shape)
    before, after = (
        np.asarray(keras.ops.convert_to_numpy(network(chips, training=False))) for network in (model, freed)
    )
    return freed_shape[1:3] == other.shape[1:3] and np.array_equal(before, after)


def _read_reach(model: keras.Model) -> GraphFacts:
    try:
        return GraphFacts(*network_reach(scored(model)))
    except UnknownLayerError as error:
        raise NotUnderstoodError(str(error).split(";")[0]) from error
    except GraphError as error:
        raise NetworkRefusedError(str(error)) from error


def _memory(model: keras.Model, path: Path, bands: int, stride: int) -> tuple[CallMemory, str]:
    try:
        return call_memory(scored(model)), "from the graph"
    except UnknownLayerError:
        return measured_memory(path, NAME, "channels_last", bands, stride)


def _scores(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    inner = scored(model)
    return lambda chips: np.asarray(keras.ops.convert_to_numpy(inner(chips, training=False)))


def _save(model: keras.Model, path: Path) -> None:
    path.write_bytes(archive_of(model))


def _read_archive(path: Path, version: list[str]) -> keras.Model:
    """Read a ``.keras`` file, converting one of Keras 2, and append the file's Keras version to `version`."""
    members = read_members(path, str(path))
    about = read_config(members, str(path), METADATA) if METADATA in members else {}
    version.append(str(about.get("keras_version", "")) if isinstance(about, dict) else "")
    if not is_keras2(version[0]):
        return read_keras(path, str(path))
    config = read_config(members, str(path))
    modern = modern_network(config, str(path))
    for item in config_objects(modern):
        item.update(_with_module(item))
    members[CONFIG] = json.dumps(modern).encode()
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / NAME
        with zipfile.ZipFile(again, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        model = read_keras(again, str(path))
    with h5py.File(io.BytesIO(members[WEIGHTS]), "r") as weights:
        check_archive(model, config, weights, str(path))
    return model


def _read_h5(path: Path, version: list[str]) -> keras.Model:
    """Read a network from an HDF5 file; Keras' own check of it misses Lambda layers."""
    held = refuse_links(path, str(path), room_of(path))
    with h5py.File(path, "r") as file:
        text, keras_version = file.attrs.get("model_config"), file.attrs.get("keras_version", "")
    if text is None:
        raise NetworkRefusedError(
            f"{path} holds weights without a network; save the whole network, as network.save('network.keras')"
        )
    version.append(
        keras_version.decode(errors="replace") if isinstance(keras_version, bytes) else str(keras_version)
    )
    config = json.loads(text)
    if not is_keras2(version[0]):
        _check_h5(config, path, held)
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    config = modern_network(config, str(path))
    _check_h5(config, path, held)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "network.h5"
        shutil.copyfile(path, again)
        with h5py.File(again, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
        model = keras.saving.load_model(again, compile=False, safe_mode=True)
        with h5py.File(again, "r") as file:
            check_loaded(model, file["model_weights"], str(path))
    return model


def _check_h5(config: dict[str, Any], path: Path, held: int) -> None:
    """Check the config of an HDF5 file before anything is built from it."""
    refuse_code([_with_module(item) for item in config_objects(config)], str(path))
    refuse_huge(lambda: model_from_config(copy.deepcopy(config)), str(path), held)


def _with_module(item: dict[str, Any]) -> dict[str, Any]:
    """Return an object of an HDF5 config with the module that older files leave out."""
    name = str(item["class_name"])
    if item.get("module") is not None or name.startswith("__"):
        return item
    if name == "Functional":
        return {**item, "module": "keras.src.models.functional"}
    if name == "Sequential":
        return {**item, "module": "keras.src.models.sequential"}
    modules = (
        f"keras.{place}" for place in PLACES if isinstance(getattr(getattr(keras, place), name, None), type)
    )
    return {**item, "module": next(modules, None)}
