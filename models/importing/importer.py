"""Import networks as bundles: a Keras file, a SavedModel or an ONNX file, with the user's description of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import NetworkFile, Scaling
from terraseam.models.bundle.writing import check_target, fill_bundle, replace_folder
from terraseam.models.engines.scaling import in_layout
from terraseam.models.errors import NetworkRefusedError, short
from terraseam.models.importing.common.foreign import Foreign
from terraseam.models.importing.output_types import detect_output_type
from terraseam.models.importing.reaching import find_reach
from terraseam.models.inclusion import include_openvino
from terraseam.models.reach.call_memory import CallMemory

KERAS, ONNX, SAVED_MODEL = "Keras file", "ONNX file", "SavedModel"
SAMPLE = 64
"""Minimum height of the random chip for trial runs, in pixels."""
LARGEST_HALF, LARGEST_BYTE, LARGEST_WORD = 65_504.0, 255, 65_535
"""Largest values of float16, and of 8-bit and 16-bit raster samples."""
SUFFIXES = {".keras": KERAS, ".h5": KERAS, ".hdf5": KERAS, ".onnx": ONNX}


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """Arguments for importing a network.

    Attributes:
        file: The network: a Keras or ONNX file, or the folder of a SavedModel.
        output: Folder of the bundle.
        card_fields: Card fields that only the user knows: name, version, architecture, encoder, classes, bands, gsd,
            scaling, fill, license, halo.
        output_type: Output type, None to detect it.
        layout: Layout, None to detect it.
        reach: Declared reach, in pixels, or None.
        stride: Stated stride, in pixels, or None.
        force: Whether to overwrite an existing bundle.
    """

    file: Path
    output: Path
    card_fields: Mapping[str, Any]
    output_type: str | None = None
    layout: str | None = None
    reach: int | None = None
    stride: int | None = None
    force: bool = False


@dataclass(frozen=True)
class Imported:
    """A bundle written from an imported network.

    Attributes:
        card: Its card.
        notes: What was detected, measured and changed, one sentence each.
    """

    card: Card
    notes: tuple[str, ...]


def kind_of(file: Path) -> str:
    """Return the format of a network by its name and folder contents, without reading it.

    Raises:
        RefusedError: If it has no format that can be imported.
    """
    if not file.exists():
        raise NetworkRefusedError(
            f"{file} does not exist; name a .keras, .h5 or .onnx file, or the folder of a SavedModel"
        )
    if file.is_dir():
        if (file / "saved_model.pb").is_file():
            return SAVED_MODEL
        raise NetworkRefusedError(
            f"{file} is a folder without saved_model.pb; name the folder of a SavedModel, or a file"
        )
    if not file.is_file():
        raise NetworkRefusedError(
            f"{file} is not a regular file but a device, FIFO or socket; name the file itself"
        )
    kind = SUFFIXES.get(file.suffix.lower())
    if kind is None:
        raise NetworkRefusedError(
            f"{file} is not a network that can be imported; name a .keras, .h5 or .onnx file, or the folder of a SavedModel"
        )
    return kind


def import_network(request: ImportRequest) -> Imported:
    """Write a bundle from a network of another tool.

    Raises:
        RefusedError: If it cannot become a bundle; the message says why and what to do.
        CardError: If the request does not make a valid card, or the bundle's folder is taken.
    """
    kind = kind_of(request.file)
    check_target(request.output, request.force)
    bands, classes = len(request.card_fields["bands"]), len(request.card_fields["classes"])
    foreign = _open(kind, request, bands)
    halves = _half_notes(foreign, request.card_fields["scaling"])
    output_type = detect_output_type(foreign, _sample(foreign, request, bands), classes, request.output_type)
    known_reach = find_reach(foreign, bands, stride=request.stride, declared=request.reach)
    memory, known = foreign.memory(known_reach.stride)
    card_fields = dict(request.card_fields)
    halo = card_fields.pop("halo", None)
    fields = {
        "architecture": f"imported {kind}",
        "encoder": None,
        "task": "semantic",
        "training": {},
        "metrics": {},
        **card_fields,
        "network": NetworkFile(foreign.network_name, foreign.layout, output_type.kind),
        "stride": known_reach.stride,
        "reach": known_reach.reach,
        "reach_source": known_reach.source,
        "halo": halo if known_reach.reach is None else None,
        "memory_per_pixel": memory.per_pixel,
        "memory_per_pixel_squared": memory.per_pixel_squared,
    }

    def fill(staging: Path) -> Card:
        fill_bundle(staging, fields, foreign.save)
        return include_openvino(staging)

    card = replace_folder(request.output, fill, force=request.force)
    output_note = f"its output type is {output_type.kind.replace('_', ' ')}: {output_type.why}"
    return Imported(
        card, (*foreign.notes, *halves, output_note, *known_reach.notes, f"memory: {_taken(memory)}, {known}")
    )


def _open(kind: str, request: ImportRequest, bands: int) -> Foreign:
    if kind == ONNX:
        from terraseam.models.importing.onnx.network import open_onnx

        return open_onnx(request.file, bands, request.layout, request.stride)
    from terraseam.models.engines.quiet import import_tensorflow

    import_tensorflow()
    if kind == SAVED_MODEL:
        from terraseam.models.importing.saved_model import open_saved_model

        return open_saved_model(request.file, bands, request.layout)
    from terraseam.models.importing.keras_network import open_keras

    return open_keras(request.file, bands, request.layout)


def _half_notes(foreign: Foreign, scaling: Scaling) -> tuple[str, ...]:
    """Return notes on a float16 input: how large raw values may be.

    Raises:
        RefusedError: If scaled 8-bit values would overflow float16.
    """
    if foreign.dtype != "float16":
        return ()
    ends = [
        (LARGEST_HALF - np.sign(scale) * offset) / abs(scale)
        for scale, offset in zip(scaling.scale, scaling.offset, strict=True)
        if scale
    ]
    most = min([*ends, *(-1.0 for offset in scaling.offset if abs(offset) > LARGEST_HALF)], default=np.inf)
    if most < LARGEST_BYTE:
        raise NetworkRefusedError(
            f"the network takes float16, whose maximum is {LARGEST_HALF:,.0f}, but --scale and --offset map raw "
            f"values up to {LARGEST_BYTE} above it; give a smaller scale, or export it with a float32 input"
        )
    if most >= LARGEST_WORD:
        return ()
    return (
        f"it takes float16, whose maximum is {LARGEST_HALF:,.0f}: raw values above {most:,.0f} cannot be fed to it",
    )


def _taken(memory: CallMemory) -> str:
    squared = f", {memory.per_pixel_squared:g} bytes per pixel squared" if memory.per_pixel_squared else ""
    return f"{memory.per_pixel} bytes per pixel{squared}"


def _sample(foreign: Foreign, request: ImportRequest, bands: int) -> np.ndarray:
    """Return a network's output for a random chip of raw 8-bit values, scaled as requested."""
    scaling = request.card_fields["scaling"]
    step = foreign.stride_hint or request.stride or SAMPLE
    side = -(-SAMPLE // step) * step
    raw = np.random.default_rng(0).integers(0, 256, (1, side, 2 * side, bands))
    chips = (raw * np.asarray(scaling.scale) + np.asarray(scaling.offset)).astype(np.float32)
    try:
        return foreign.run(in_layout(chips, foreign.layout))
    except Exception as error:
        raise NetworkRefusedError(
            f"the network fails on a chip of {side} x {2 * side} px: {short(error)}; give --stride: its chip "
            "sides must be multiples of that many pixels"
        ) from error
