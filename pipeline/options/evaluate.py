"""What ``terraseam evaluate`` was asked."""

from __future__ import annotations

from dataclasses import dataclass

from terraseam.pipeline.options.segment import ON_ERROR

DEFAULT_TOLERANCE = 3
DEFAULT_BLOCK = 1024
DEFAULT_PICTURE = 2048


@dataclass(frozen=True)
class EvaluateOptions:
    """The arguments of ``terraseam evaluate``.

    Attributes:
        predicted: Folder of results, label map or file of polygons.
        truth: Paths and globs of true polygons or label rasters.
        images: Paths and globs of the rasters that were segmented: grids for polygons, grounds for the picture.
        aoi: File of polygons outside which nothing is measured; None for everywhere.
        allow_sources: Patterns of servers that files may name, see `terraseam.tiles.access.places.is_allowed`.
        verify: Whether checksums of blocks are compared before pixels are read.
        classes: Names of the classes that are measured; None for all.
        background: Name of the class that is nothing, ``none`` where there is none; None for the default.
        class_property: Property of true polygons that names their class.
        on_error: What becomes of rasters that cannot be measured: ``quarantine``, or ``fail`` to measure none.
        label_values: Values of true label rasters, in the order of the classes.
        tolerance: Distance that is forgiven between boundaries, in pixels.
        max_detections: How many of the surest polygons of a class count on each raster; None for all.
        block: Side of the squares that are read at once, in pixels.
        picture: File of the picture of errors.
        picture_size: Its longest side, in pixels.
        json: Whether to print JSON.
    """

    predicted: str
    truth: tuple[str, ...]
    images: tuple[str, ...] = ()
    aoi: str | None = None
    allow_sources: tuple[str, ...] = ()
    verify: bool = True
    classes: tuple[str, ...] | None = None
    background: str | None = None
    class_property: str | None = None
    label_values: tuple[int, ...] | None = None
    on_error: str = ON_ERROR[0]
    tolerance: int = DEFAULT_TOLERANCE
    max_detections: int | None = None
    block: int = DEFAULT_BLOCK
    picture: str | None = None
    picture_size: int = DEFAULT_PICTURE
    json: bool = False
