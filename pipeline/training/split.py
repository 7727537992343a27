"""Hold out rasters, or blocks of them, for validation; never neighbouring chips."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from terraseam.pipeline.errors import TrainError
from terraseam.pipeline.options.train import BLOCK_CHIPS, Chips
from terraseam.pipeline.training.chips import ValidationChips, middle_alone
from terraseam.pipeline.training.labelled import Labelled
from terraseam.pipeline.training.value_range import Values
from terraseam.tiles.raster.opening import is_local
from terraseam.tiles.raster.source import RasterSource
from terraseam.tiles.raster.view import View
from terraseam.tiles.truth.blocks import choose_blocks
from terraseam.tiles.truth.sampling import grid_views
from terraseam.tiles.truth.scene import IGNORED, Scene, Within
from terraseam.tiles.vectors.area import area_of
from terraseam.tiles.vectors.placing import footprint, parts_of, polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile

MARGIN = 64
"""Maximum context around the validated pixels, in pixels."""


@dataclass(frozen=True)
class Reading:
    """Settings for reading rasters.

    Attributes:
        bands: Bands to read, numbered from 1.
        values: Mapping of raster values to 0 to 255.
        instances: Whether chips have instances; then pixels outside the area are hidden, too.
    """

    bands: tuple[int, ...]
    values: Values
    instances: bool

    def scene(self, raster: Labelled) -> Scene:
        """Return a raster as a scene that chips are read from."""
        # Local sidecar files may appear and disappear during the days that a training takes.
        files = None if is_local(raster.info.path) else raster.info.files
        source = RasterSource(raster.info.path, self.bands, self.values.fill, files=files)
        return Scene(raster.name, source, raster.info.georef, raster.truth, raster.area, blind=self.instances)


@dataclass(frozen=True)
class Parts:
    """The training and validation parts of the data.

    Attributes:
        rasters: Training rasters.
        scenes: Their scenes.
        validation: Validation rasters, each with its scene.
    """

    rasters: list[Labelled]
    scenes: list[Scene]
    validation: list[tuple[Labelled, Scene]]


def set_apart(chips: Chips, rasters: list[Labelled], gsd: float, seed: int, reading: Reading) -> Parts:
    """Hold out a share of the rasters, or of the blocks of each.

    Raises:
        TrainError: If nothing can be held out.
    """
    whole = [(raster, reading.scene(raster)) for raster in rasters]
    if chips.split == "raster":
        return _by_raster(whole, chips.val_share, seed)
    return _by_block(whole, chips, seed, gsd)


def _by_raster(whole: list[tuple[Labelled, Scene]], share: float, seed: int) -> Parts:
    if len(whole) < 2:
        raise TrainError(["--split raster needs two rasters or more; pass --split block, or --val-images"])
    order = sorted(whole, key=lambda pair: hashlib.sha256(f"{seed}/{pair[0].name}".encode()).digest())
    count = min(len(whole) - 1, max(1, round(share * len(whole))))
    names = {raster.name for raster, _ in order[:count]}
    left = [pair for pair in whole if pair[0].name not in names]
    apart = [pair for pair in whole if pair[0].name in names]
    grounds = [footprint(raster.info.path, raster.info.georef) for raster, _ in apart]
    scenes = [_without(scene, grounds) for _, scene in left]
    return Parts([raster for raster, _ in left], scenes, apart)


def _by_block(whole: list[tuple[Labelled, Scene]], chips: Chips, seed: int, gsd: float) -> Parts:
    apart, small = [], []
    scenes, grounds = [scene for _, scene in whole], []
    for place, (raster, scene) in enumerate(whole):
        side = _block_side(raster, chips, gsd)
        try:
            blocks = choose_blocks(
                raster.info.georef,
                max(1, round(side / raster.gsd)),
                chips.val_share,
                seed,
                raster.name,
                raster.parts,
            )
        except ValueError:
            small.append(_too_small(raster, side))
            continue
        scenes[place] = scene.without(blocks)
        grounds.append(parts_of(raster.info.path, raster.info.georef, blocks.boxes()))
        area = blocks if raster.area is None else Within((raster.area, blocks))
        apart.append((raster, replace(scene, area=area)))
    if not apart:
        raise TrainError([f"nothing can be held out for validation: {small[0]}, or give --val-images"])
    return Parts([raster for raster, _ in whole], [_without(scene, grounds) for scene in scenes], apart)


def _block_side(raster: Labelled, chips: Chips, gsd: float) -> float:
    """Return the side of a raster's blocks, in metres: by default, halved until there is more than one block.

    The minimum is half a chip.
    """
    if chips.block_size is not None:
        return chips.block_size
    side = BLOCK_CHIPS * chips.chip * gsd
    longest = max(raster.extent)
    # Compare whole pixels: the GSD of chips is rounded, so that the side of a raster may be a fraction of one more.
    while longest <= round(side / raster.gsd) * raster.gsd and side > chips.chip * gsd / 2:
        side /= 2
    return side


def _too_small(raster: Labelled, side: float) -> str:
    height, width = raster.extent
    where = "" if raster.area is None else " inside --aoi"
    return (
        f"{raster.name} has {height:.4g} x {width:.4g} m{where}, no more than one block of {side:.4g} m; "
        f"pass --block-size {max(height, width) / 2:.2g} or --split raster"
    )


def _without(scene: Scene, grounds: Sequence[PolygonFile]) -> Scene:
    """Return a scene without the validation areas of other rasters that overlap it."""
    for ground in grounds:
        if ground.path != scene.source.path and len(polygons_to_pixels(ground, scene.georef).polygons):
            scene = scene.without(area_of(ground, scene.georef))
    return scene


def validation_chips(
    rasters: Sequence[tuple[Labelled, Scene]], gsd: float, stride: int, chip: int, reading: Reading
) -> ValidationChips:
    """Return chips that cover the validation data; those of detectors are larger, without a margin.

    Args:
        rasters: Validation rasters, each with its scene.
        gsd: Ground sample distance of the chips, in metres per pixel.
        stride: Stride of the network, in pixels.
        chip: Side of a training chip, in pixels.
        reading: Settings for reading rasters.

    Raises:
        TrainError: If no chip has a label.
    """
    margin = 0 if reading.instances else -(-min(chip // 4, MARGIN) // stride) * stride
    size = 2 * chip if reading.instances else chip
    views = [
        (number, view)
        for number, (raster, scene) in enumerate(rasters)
        for view in grid_views(raster.info.georef, gsd / raster.gsd, size, margin)
        if _has_label(scene, view, margin)
    ]
    if not views:
        raise TrainError(["no validation chip has a label; check --aoi and --val-labels"])
    return ValidationChips([scene for _, scene in rasters], views, margin, reading.values, reading.instances)


def _has_label(scene: Scene, view: View, margin: int) -> bool:
    return bool((middle_alone(scene.labels(view), margin) != IGNORED).any())
