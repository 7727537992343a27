"""Define the classes of a training, and map polygons to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from terraseam.models.bundle.values import ClassInfo
from terraseam.pipeline.errors import TrainError, did_you_mean
from terraseam.pipeline.options.train import Truths
from terraseam.pipeline.palette import PALETTE
from terraseam.tiles.truth.polygons import IGNORED
from terraseam.tiles.vectors.read import PolygonFile

BACKGROUND = "background"
BACKGROUND_COLOR = "#d9d4c7"
COLORS = ("#d1495b", *(color for color in PALETTE if color not in ("#c9b48a", "#d1495b")))


@dataclass(frozen=True, slots=True)
class TrainingClasses:
    """The classes of a training, in the order of their labels.

    Attributes:
        names: Their names.
        background: Label of the background; None if there is none.
        values: Values of label rasters, in the order of the labels.
    """

    names: tuple[str, ...]
    background: int | None
    values: tuple[int, ...]

    @property
    def foreground(self) -> tuple[str, ...]:
        """Names of all classes except the background."""
        return tuple(name for label, name in enumerate(self.names) if label != self.background)

    def infos(self) -> tuple[ClassInfo, ...]:
        """Return the classes for a card, with their colours."""
        colors = [COLORS[number % len(COLORS)] for number in range(len(self.names))]
        if self.background is not None:
            colors = [*colors[: self.background], BACKGROUND_COLOR, *colors[self.background : -1]]
        return tuple(
            ClassInfo(name, color, label == self.background)
            for label, (name, color) in enumerate(zip(self.names, colors, strict=True))
        )

    def labels_of(self, file: PolygonFile, *, has_values: bool) -> np.ndarray:
        """Return the label of each polygon in a file: `IGNORED` if it has no class, -1 for other classes.

        Args:
            file: The polygons.
            has_values: Whether the file holds their classes; else all belong to the only one except the background.
        """
        if not has_values:
            return np.full(len(file.polygons), self.names.index(self.foreground[0]), np.int64)
        table: dict[str | None, int] = {name: label for label, name in enumerate(self.names)}
        return np.array([table.get(value, -1) if value else IGNORED for value in file.values], np.int64)


def classes_of_polygons(options: Truths) -> TrainingClasses:
    """Return the classes for polygon labels: the background, then the named ones.

    Raises:
        TrainError: If several are named without a class property, if none is named, or if options do not apply.
    """
    background = options.background or BACKGROUND
    if options.background == "none":
        raise TrainError(
            ["--background none is for label rasters: pixels outside polygons must have a class"]
        )
    if options.label_values is not None:
        raise TrainError(["--label-values is for label rasters, and --labels names polygons; leave it out"])
    foreground = [name for name in dict.fromkeys(options.classes) if name != background]
    if not foreground:
        raise TrainError(
            [f"--classes names only the background {background}; name the classes of the polygons"]
        )
    if len(foreground) > 1 and options.class_property is None:
        raise TrainError(
            [
                f"--classes names {', '.join(foreground)}, but not which polygon has which class; pass "
                "--class-property with the property that holds it"
            ]
        )
    names = (background, *foreground)
    return TrainingClasses(names, 0, tuple(range(len(names))))


def classes_of_rasters(options: Truths) -> TrainingClasses:
    """Return the classes for label rasters: the named ones, in the order of their values.

    Raises:
        TrainError: If there are fewer than two, values do not match, or the background is not among them.
    """
    names, reasons = options.classes, []
    values = options.label_values or tuple(range(len(names)))
    if len(set(names)) < max(2, len(names)):
        reasons.append(f"--classes {','.join(names)} must name two or more classes, each once")
    if len(values) != len(names):
        reasons.append(f"--label-values has {len(values)} values for {len(names)} classes; give one for each")
    background = options.background or (BACKGROUND if BACKGROUND in names else names[0])
    if background not in names and background != "none":
        hint = did_you_mean(background, names) or "or none"
        reasons.append(f"--background {background} is not one of the classes {', '.join(names)}; {hint}")
    if reasons:
        raise TrainError(reasons)
    return TrainingClasses(names, None if background == "none" else names.index(background), values)
