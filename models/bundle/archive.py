"""Save trained networks as bundles, and load and verify them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import keras
import numpy as np

from terraseam.models.bundle.card import (
    CARD_FORMAT,
    MODEL_FILE,
    OPTIONAL,
    Card,
    CardError,
    check_weights,
    write_whole,
)
from terraseam.models.bundle.keras_endings import scored
from terraseam.models.bundle.keras_files import CONFIG, METADATA, read_keras
from terraseam.models.bundle.values import NetworkFile
from terraseam.models.detection.measures import detector_classes, detector_measures
from terraseam.models.reach.call_memory import CallMemory
from terraseam.models.reach.memory import call_memory
from terraseam.models.reach.network import network_reach
from terraseam.models.reach.reach import Reach

DEFAULTS: dict[str, Any] = {
    "format": CARD_FORMAT,
    "encoder": None,
    "task": "semantic",
    "network": NetworkFile(),
    "reach_source": "graph",
    "halo": None,
    "training": {},
    "metrics": {},
}
COMPUTED = ("stride", "reach", "memory_per_pixel", "memory_per_pixel_squared", "weights_sha256")
EPOCH = (1980, 1, 1, 0, 0, 0)


def save_bundle(
    model: keras.Model, folder: str | os.PathLike[str], *, fp16_weights: bool = False, **fields: Any
) -> Card:
    """Write a network and its card; the same network gives the same bytes.

    Args:
        model: Functional or sequential network for chips of any size that returns logits, or
            a detector if ``task`` is ``instances``; it is not modified.
        folder: The bundle's folder, created if it does not exist.
        fp16_weights: Whether to round weights to the 11 significant bits of float16, which about halves the file. They
            remain float32.
        **fields: The card's fields, except those derived from the network: stride, reach, memory per
            pixel and checksum. ``encoder``, ``task``, ``network``, ``reach_source``, ``halo``, ``training`` and
            ``metrics`` may be left out.

    Returns:
        The card as written.

    Raises:
        CardError: If a field is missing or invalid, or does not fit the network.
        GraphError: If the reach cannot be derived from the network.
    """
    target = Path(folder)
    wrong = sorted(set(fields) & set(COMPUTED))
    if wrong:
        raise CardError(
            f"bundle {target} has fields that are read from the network: {', '.join(wrong)}; leave them out"
        )
    task = fields.get("task", DEFAULTS["task"])
    stride, reach, memory = _measure(model, task)
    archive = archive_of(model, fp16_weights)
    values = {
        **DEFAULTS,
        **({"network": NetworkFile(answer="instances")} if task == "instances" else {}),
        **fields,
        "stride": stride,
        "reach": reach,
        "memory_per_pixel": memory.per_pixel,
        "memory_per_pixel_squared": memory.per_pixel_squared,
        "weights_sha256": hashlib.sha256(archive).hexdigest(),
    }
    card = _make_card(values, target)
    _check_fit(model, card, target)
    target.mkdir(parents=True, exist_ok=True)
    write_whole(target / MODEL_FILE, archive)
    card.write(target)
    return card


def load_model(folder: str | os.PathLike[str]) -> keras.Model:
    """Load the network of a bundle, and verify that it is the one its card describes.

    Raises:
        CardError: If the card is invalid, if ``model.keras`` is not the card's file or would run its own
            code, or if stride or reach differ from those of its graph.
    """
    bundle = Path(folder)
    card = Card.read(bundle)
    if card.network.name != MODEL_FILE:
        raise CardError(
            f"bundle {bundle} holds {card.network.name} instead of {MODEL_FILE}, so it is not a Keras network; run it "
            f"with an engine (terraseam.models.engines.engine)"
        )
    check_weights(bundle, card)
    model = read_keras(bundle / MODEL_FILE, f"{MODEL_FILE} of bundle {bundle}")
    _check_fit(model, card, bundle)
    known = card.task == "instances" or card.reach_source == "graph"
    measures = _measure(model, card.task)[:2] if known else (card.stride, card.reach)
    for name, measured in zip(("stride", "reach"), measures, strict=True):
        stated = getattr(card, name)
        if measured != stated:
            raise CardError(
                f"the card of bundle {bundle} has {stated} as {name!r}, but its network has {measured}; "
                "recreate the bundle"
            )
    return model


def _make_card(values: dict[str, Any], folder: Path) -> Card:
    """Build a card from keyword arguments, with an error that lists missing and unknown ones."""
    known = Card.__dataclass_fields__
    missing = [name for name in known if name not in values and name not in OPTIONAL]
    unknown = [name for name in values if name not in known]
    if missing or unknown:
        problem = [f"lacks {', '.join(missing)}"] * bool(missing) + [
            f"has unknown fields: {', '.join(unknown)}"
        ] * bool(unknown)
        raise CardError(
            f"the card of bundle {folder} {' and '.join(problem)}; its fields are {', '.join(known)}"
        )
    return Card(**values)


def _measure(model: keras.Model, task: str) -> tuple[int, Reach | None, CallMemory]:
    """Return stride, reach and memory of a network; a detector's receptive field is the whole chip."""
    if task == "instances":
        stride, memory = detector_measures(model)
        return stride, None, CallMemory(memory)
    whole = scored(model)
    return *network_reach(whole), call_memory(whole)


def _check_fit(model: keras.Model, card: Card, folder: Path) -> None:
    """Check that a network accepts chips of any size, and has the card's numbers of bands and classes."""
    taken = tuple(model.inputs[0].shape)
    classes = detector_classes(model) if card.task == "instances" else _output_classes(model, card)
    if taken[1:3] != (None, None):
        raise CardError(
            f"the network of bundle {folder} takes chips of {taken[1]} x {taken[2]} px only; build it with "
            f"Input((None, None, bands))"
        )
    for field, expected, actual in (
        ("bands", len(card.bands), taken[-1]),
        ("classes", len(card.classes), classes),
    ):
        if expected != actual:
            raise CardError(
                f"the card of bundle {folder} has {expected} {field!r}, but its network has {actual}; "
                "change the card to match the network"
            )


def _output_classes(model: keras.Model, card: Card) -> int | None:
    """Return the number of classes a network predicts; for label maps and single channels, the card's number."""
    output_shape = tuple(model.outputs[0].shape)
    single_channel = card.network.answer in ("labels", "binary_logits", "binary_scores")
    return (
        len(card.classes)
        if single_channel and (len(output_shape) == 3 or output_shape[-1] == 1)
        else output_shape[-1]
    )


def archive_of(model: keras.Model, fp16_weights: bool = False) -> bytes:
    """Return the bytes of ``model.keras``: the inference graph, deflated and without timestamps."""
    bare = keras.Model(model.inputs, model.outputs, name=model.name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        bare.save(path)
        with zipfile.ZipFile(path) as written:
            members = {name: written.read(name) for name in written.namelist()}
    members[CONFIG] = json.dumps(_numbered(json.loads(members[CONFIG]), {})).encode()
    members[METADATA] = json.dumps({"keras_version": keras.__version__}).encode()
    if fp16_weights:
        members = {
            name: _round_weights(data) if name.endswith(".h5") else data for name, data in members.items()
        }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, members[name], zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _numbered(config: Any, numbers: dict[int, int]) -> Any:
    """Number the shared objects of a Keras config from 0; Keras identifies them by memory address."""
    if isinstance(config, list):
        return [_numbered(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    return {
        name: numbers.setdefault(value, len(numbers))
        if name == "shared_object_id"
        else _numbered(value, numbers)
        for name, value in config.items()
    }


def _round_weights(data: bytes) -> bytes:
    """Round every float32 array of an HDF5 file, and compress the arrays (byte shuffle, then deflate)."""
    packed = io.BytesIO()
    with h5py.File(io.BytesIO(data), "r") as source, h5py.File(packed, "w") as target:

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                values = round_to_half(item[...]) if item.dtype == np.float32 else item[...]
                options = (
                    {"compression": "gzip", "compression_opts": 9, "shuffle": True} if item.shape else {}
                )
                target_item = target.create_dataset(name, data=values, track_times=False, **options)
            else:
                target_item = target.require_group(name)
            target_item.attrs.update(item.attrs)

        target.attrs.update(source.attrs)
        source.visititems(copy)
    return packed.getvalue()


def round_to_half(values: np.ndarray) -> np.ndarray:
    """Round float32 values to the 11 significant bits of float16, to nearest with ties to even.

    Exponents keep the range of float32, so that small variances keep their precision and nothing overflows.
    """
    bits = np.asarray(values, np.float32).view(np.uint32)
    rounded = (bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(values), rounded.view(np.float32), values)
