"""Make chips for training and validation, as `terraseam.models.training` takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from terraseam.models.detection.instances import ChipInstance
from terraseam.pipeline.activity import ACTIVITY
from terraseam.pipeline.training.value_range import Values
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.borders import border_weights
from terraseam.tiles.truth.polygons import PolygonTruth
from terraseam.tiles.truth.sampling import Draw, Sampler
from terraseam.tiles.truth.scene import IGNORED, Scene, turned, turned_corner

if TYPE_CHECKING:
    from terraseam.models.training.batches import ChipBatch

TRIES = 8
"""Number of draws after which a chip without labels is accepted."""
LEAST_PIXELS = 16
"""Minimum size of an instance for training a detector, in pixels."""
MOST_INSTANCES = 100
"""Maximum number of instances in a chip for a detector; the largest are kept."""
REDRAWN = 2**40
"""Difference between the draw numbers of repeated draws for one chip."""


@dataclass(frozen=True)
class ChipMaker:
    """A thread-safe source of training chips by number.

    Attributes:
        scenes: The rasters, in the order of the sampler's sites.
        sampler: Draws the place of each chip.
        values: Mapping of raster values to 0 to 255.
        symmetries: Whether chips are rotated and mirrored.
        borders: Whether to compute border weights.
        instances: Whether chips have instances instead of labels.
    """

    scenes: Sequence[Scene]
    sampler: Sampler
    values: Values
    symmetries: bool = True
    borders: bool = False
    instances: bool = False

    def __call__(self, numbers: Sequence[int]) -> ChipBatch:
        """Return a batch of the chips with the given numbers."""
        from terraseam.models.detection.truth import pad_truth
        from terraseam.models.training.batches import ChipBatch

        with ACTIVITY.operation():
            chips = [self._chip(number) for number in numbers]
        pixels = self.values.to_bytes(np.stack([pixels for pixels, *_ in chips]))
        if self.instances:
            return ChipBatch(pixels, truth=pad_truth([instances for *_, instances in chips], MOST_INSTANCES))
        weights = np.stack([weights for *_, weights, _ in chips]) if self.borders else None
        return ChipBatch(pixels, np.stack([labels for _, labels, *_ in chips]), weights)

    def labels(self, number: int) -> np.ndarray:
        """Return the labels of a chip without reading its pixels."""
        return self._draw(number)[1]

    def _draw(self, number: int) -> tuple[Draw, np.ndarray]:
        """Return the first draw of a chip that has a label, and its labels."""
        for attempt in range(TRIES):
            draw = self.sampler.draw(number + attempt * REDRAWN)
            labels = self.scenes[draw.site].labels(draw.view)
            if (labels != IGNORED).any():
                break
        return draw if self.symmetries else replace(draw, symmetry=0), labels

    def _chip(self, number: int) -> tuple[np.ndarray, np.ndarray, Any, list[ChipInstance]]:
        """Return the pixels, labels, border weights and instances of a chip."""
        draw, labels = self._draw(number)
        chip, truth = self.scenes[draw.site].chip(draw.view, labels), self.scenes[draw.site].truth
        weights = border_weights(_ids(truth, draw.view, chip.labels)) if self.borders else chip.labels
        pixels, labels, weights = turned((chip.pixels, chip.labels, weights), draw.symmetry)
        instances = instances_in(truth, draw.view, chip.labels, draw.symmetry) if self.instances else []
        return pixels, labels, weights, instances


def _ids(truth: Any, view: View, labels: np.ndarray) -> np.ndarray:
    """Return the instance id of each pixel; for label rasters, instances are connected pixels of one label."""
    if isinstance(truth, PolygonTruth):
        ids = truth.ids(view)
        return np.where(np.append(False, truth.of_background)[ids], 0, ids)
    ids = np.zeros(labels.shape, np.int32)
    for label in set(np.unique(labels)) - {truth.background, IGNORED}:
        parts, _ = ndimage.label(labels == label)
        ids[parts > 0] = parts[parts > 0] + ids.max()
    return ids


def instances_in(truth: Any, view: View, labels: np.ndarray, symmetry: int = 0) -> list[ChipInstance]:
    """Return the instances in a chip, largest first, without those that are mostly ignored.

    Args:
        truth: Polygons.
        view: View of the chip.
        labels: Labels of the chip, before `symmetry` is applied.
        symmetry: Rotation and reflection of the chip.
    """
    instances = []
    for instance in truth.instances(view, LEAST_PIXELS):
        height, width = instance.mask.shape
        known = labels[instance.row : instance.row + height, instance.col : instance.col + width] != IGNORED
        if 2 * np.count_nonzero(instance.mask & known) < np.count_nonzero(instance.mask):
            continue
        row, col = turned_corner(instance.row, instance.col, instance.mask.shape, view.height, symmetry)
        (mask,) = turned((instance.mask,), symmetry)
        instances.append(ChipInstance(row, col, mask, instance.label, 1.0))
    instances.sort(key=lambda instance: -np.count_nonzero(instance.mask))
    return instances[:MOST_INSTANCES]


@dataclass(frozen=True)
class ValidationChips:
    """The chips that cover the validation data, read again in every pass.

    Attributes:
        scenes: The rasters.
        views: Index of a scene, and a view of it.
        margin: Context on each side of a view, in pixels; its labels are ignored.
        values: Mapping of raster values to 0 to 255.
        instances: Whether chips have instances instead of labels.
    """

    scenes: Sequence[Scene]
    views: Sequence[tuple[int, View]]
    margin: int
    values: Values
    instances: bool = False

    def by_raster(self) -> dict[str, ValidationChips]:
        """Return the chips of each raster, by its name."""
        names = [self.scenes[site].name for site, _ in self.views]
        return {
            name: replace(
                self, views=[view for view, of in zip(self.views, names, strict=True) if of == name]
            )
            for name in dict.fromkeys(names)
        }

    def __iter__(self) -> Iterator[tuple[np.ndarray, Any]]:
        for number in range(len(self.views)):
            pixels, labels, instances = self.chip(number)
            yield pixels[None], [instances] if self.instances else labels[None]

    def chip(self, number: int) -> tuple[np.ndarray, np.ndarray, list[ChipInstance]]:
        """Return the pixels (0 to 255), labels and, for detectors, instances of one chip."""
        site, view = self.views[number]
        with ACTIVITY.operation():
            chip = self.scenes[site].chip(view)
        labels = middle_alone(chip.labels, self.margin)
        instances = instances_in(self.scenes[site].truth, view, labels) if self.instances else []
        return self.values.to_bytes(chip.pixels), labels, instances


def middle_alone(labels: np.ndarray, margin: int) -> np.ndarray:
    """Return the labels of a chip with those of its margin set to `IGNORED`."""
    inner = (slice(margin, -margin or None),) * 2
    alone = np.full_like(labels, IGNORED)
    alone[inner] = labels[inner]
    return alone
