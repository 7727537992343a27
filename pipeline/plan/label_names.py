"""Name the labels of label rasters, and find the reasons why their names cannot be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from terraseam.models.texts import steering_characters
from terraseam.pipeline.options.segment import DEFAULT_SHEET
from terraseam.pipeline.options.vectorize import VectorizeOptions
from terraseam.pipeline.units import listed
from terraseam.tiles.grid.window import Window
from terraseam.tiles.labels.label_raster import LabelRaster, LabelRasterInfo
from terraseam.tiles.raster.source import RasterReadError


def class_names(options: VectorizeOptions, infos: Sequence[LabelRasterInfo]) -> dict[int, str]:
    """Return the names of labels: from ``--class-names`` if given, else from the rasters."""
    if options.class_names:
        return dict(options.class_names)
    names = {label: name for info in reversed(infos) for label, name in info.names.items()}
    return dict(sorted(names.items()))


def undecoded_notes(infos: Sequence[LabelRasterInfo], names: Mapping[int, str]) -> list[str]:
    """Return notes on labels whose names are ignored because they are not UTF-8."""
    notes = []
    for info in infos:
        lost = [label for label in info.undecoded if label not in names]
        if lost:
            example = ",".join(f"{label}=NAME" for label in lost)
            notes.append(
                f"{info.path} names the labels {listed(map(str, lost))} in an encoding that is not UTF-8, which is not "
                f"read; name them with --class-names {example}"
            )
    return notes


def selected_labels(classes: Sequence[str] | None, names: Mapping[int, str]) -> dict[str, int | None]:
    """Return the label of each selected class, by name, or by number if unnamed; None if there is no such class."""
    by_name = {name: label for label, name in names.items()}
    labels = {}
    for name in classes or ():
        number = _number(name)
        labels[name] = by_name.get(name, None if number in names else number)
    return labels


def _number(name: str) -> int | None:
    """Return the label that a name spells as a number; None for other names."""
    return int(name) if re.fullmatch(r"0|-?[1-9][0-9]*", name) else None


def name_reasons(
    options: VectorizeOptions, names: Mapping[int, str], infos: Sequence[LabelRasterInfo]
) -> list[str]:
    """Return a reason for each label whose name is ambiguous or cannot be shown; may read rasters to find out.

    Args:
        options: The options of the run.
        names: Names of labels, as `class_names` returns them.
        infos: The label rasters.
    """
    reasons = [] if options.class_names else _conflict_reasons(infos)
    return reasons + (_twice_reasons(names) or _number_reasons(names, infos))


def _twice_reasons(names: Mapping[int, str]) -> list[str]:
    """Return a reason for each label that shares its name with another."""
    reasons, first = [], dict[str, int]()
    for label, name in names.items():
        twin = first.setdefault(name, label)
        if twin != label:
            reasons.append(
                f"the labels {twin} and {label} are both called {name}; give each a unique name with --class-names"
            )
    return reasons


def _number_reasons(names: Mapping[int, str], infos: Sequence[LabelRasterInfo]) -> list[str]:
    """Return a reason for each label named like another, unnamed label that occurs; reads rasters to find out."""
    numbers = {number: label for label, name in names.items() if (number := _number(name)) is not None}
    doubtful = [number for number, label in numbers.items() if number != label and number not in names]
    reasons = []
    for info in infos if doubtful else ():
        for number in _occurring(info, doubtful):
            doubtful.remove(number)
            label = numbers[number]
            reasons.append(
                f"the labels {number} and {label} are both called {number} in {info.path}; give each a unique name with "
                "--class-names"
            )
    return reasons


def _occurring(info: LabelRasterInfo, labels: Sequence[int]) -> list[int]:
    """Return which of some labels occur in a raster; none if it is unreadable, which the run itself reports."""
    raster, occurring = LabelRaster(info.path, info.files), set[int]()
    height, width = info.ground.height, info.ground.width
    try:
        for row in range(0, height, DEFAULT_SHEET):
            for col in range(0, width, DEFAULT_SHEET):
                coded = raster.read(Window(row, col, DEFAULT_SHEET, DEFAULT_SHEET))
                known = set(coded.table[np.unique(coded.codes)].tolist())
                occurring |= known.intersection(labels)
    except RasterReadError:
        return []
    return [label for label in labels if label in occurring]


def _conflict_reasons(infos: Sequence[LabelRasterInfo]) -> list[str]:
    """Return a reason for each label that rasters name differently, or whose name has control characters."""
    reasons, first = [], dict[int, tuple[str, str]]()
    for info in infos:
        for label, name in info.names.items():
            if steering := steering_characters(name):
                reasons.append(
                    f"{info.path} calls the label {label} {name!r}, which has {', '.join(steering)} in it; name the labels "
                    "with --class-names"
                )
            other, path = first.setdefault(label, (name, info.path))
            if other != name:
                reasons.append(
                    f"{info.path} calls the label {label} {name}, and {path} calls it {other}; vectorize them separately, "
                    "or name the labels with --class-names"
                )
    return reasons
