"""Define the classes of an evaluation, and map polygons and label rasters to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from terraseam.pipeline.errors import EvaluateError, did_you_mean
from terraseam.pipeline.options.evaluate import EvaluateOptions
from terraseam.pipeline.units import listed
from terraseam.tiles.truth.scene import IGNORED
from terraseam.tiles.vectors.read import PolygonFile

BACKGROUND = "background"
NO_CLASS = -1
"""Label of polygons of a class that is neither measured nor known to the prediction."""


@dataclass(frozen=True)
class ClassList:
    """The classes of an evaluation.

    Attributes:
        names: Their names, in the order of the labels.
        background: Label of the background; None if there is none.
        chosen: Labels to measure.
        restricted: Whether only some classes are measured, chosen by name.
    """

    names: tuple[str, ...]
    background: int | None
    chosen: tuple[int, ...]
    restricted: bool = False

    @property
    def foreground(self) -> tuple[int, ...]:
        """Labels of the measured classes except the background."""
        return tuple(label for label in self.chosen if label != self.background)

    def labels_of(self, file: PolygonFile, *, has_values: bool) -> np.ndarray:
        """Return the labels of the polygons in a file: `IGNORED` without a class, `NO_CLASS` for other classes.

        Args:
            file: The polygons.
            has_values: Whether the file holds their classes; else all belong to the only measured class.

        Raises:
            EvaluateError: If it names an unknown class, or names none although several are measured.
        """
        if not has_values:
            return np.full(len(file.polygons), self._only(file.path), np.int64)
        table: dict[str | None, int] = {name: label for label, name in enumerate(self.names)}
        table[None] = IGNORED
        unknown = sorted({value for value in file.values if value is not None} - set(self.names))
        if unknown and not self.restricted:
            raise EvaluateError(
                [
                    f"{file.path} has polygons of {listed(map(repr, unknown))}, but the classes are "
                    f"{', '.join(self.names)}; choose --class-property, or name the classes to measure with --classes"
                ]
            )
        return np.array([table.get(value, NO_CLASS) for value in file.values], np.int64)

    def _only(self, path: str) -> int:
        if len(self.foreground) != 1:
            names = ", ".join(self.names[label] for label in self.foreground) or "none"
            raise EvaluateError(
                [
                    f"{path} does not state the class of its polygons, and the classes are {names}; pass "
                    "--class-property with the property that holds it, or --classes with the one class that they all have"
                ]
            )
        return self.foreground[0]


def class_list(names: Sequence[str], options: EvaluateOptions) -> ClassList:
    """Return the classes of an evaluation, restricted to those chosen by the user.

    Raises:
        EvaluateError: If a chosen class or the background is not among them.
    """
    reasons = []
    for option, selected in (("--classes", options.classes or ()), ("--background", _background(options))):
        for name in selected:
            if name not in names:
                hint = did_you_mean(name, names, "; {}")
                reasons.append(f"{option} {name} is not one of the classes {', '.join(names)}{hint}")
    if reasons:
        raise EvaluateError(reasons)
    chosen = options.classes or names
    labels = tuple(label for label, name in enumerate(names) if name in chosen)
    restricted = options.classes is not None and len(labels) < len(names)
    return ClassList(tuple(names), background_of(names, options), labels, restricted)


def background_of(names: Sequence[str], options: EvaluateOptions) -> int | None:
    """Return the label of the background: the given class, else the class named background, else the first."""
    if options.background == "none" and "none" not in names:
        return None
    name = options.background or (BACKGROUND if BACKGROUND in names else names[0])
    return list(names).index(name)


def names_of_polygons(values: Iterable[str | None], options: EvaluateOptions) -> tuple[str, ...]:
    """Return the classes of an evaluation of polygons only: the background, then the classes of the polygons."""
    distinct = sorted({value for value in values if value is not None})
    names = [name for name in dict.fromkeys([*(options.classes or ()), *distinct]) if name != BACKGROUND]
    first = options.background if options.background not in (None, "none") else BACKGROUND
    return (str(first), *(name for name in names or ["polygon"] if name != first))


def are_values(names: Iterable[str]) -> bool:
    """Return whether all names are canonical decimal integers that label rasters may hold."""
    return all(
        name.isascii() and name.isdecimal() and str(int(name)) == name and int(name) < IGNORED
        for name in names
    )


def values_of(names: Sequence[str]) -> tuple[int, ...]:
    """Return the values of classes in label rasters: their names if these are integers, else 0, 1, ... in order."""
    return tuple(int(name) for name in names) if are_values(names) else tuple(range(len(names)))


def _background(options: EvaluateOptions) -> tuple[str, ...]:
    return () if options.background in (None, "none") else (str(options.background),)
