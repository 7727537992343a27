"""What the user asks a training for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_CHIP = 256
BLOCK_CHIPS = 4
"""Side of a validation block where none is said, in chips."""


@dataclass(frozen=True, slots=True)
class Truths:
    """What is true, and where.

    Attributes:
        images: Rasters: paths, directories and globs.
        labels: Polygons or label rasters: paths and globs.
        classes: Names of the classes.
        class_property: Property that says what a polygon is; None where all are of one class.
        background: Name of the class that is nothing; ``none`` for none, None for the usual one.
        label_values: Values of label rasters in the order of the classes; None for 0, 1, 2, ...
        aoi: Polygons on `images` outside which nothing is known; None for everywhere.
        allow_sources: Patterns of servers that files may name, see `terraseam.tiles.access.places.is_allowed`.
        verify: Whether checksums of blocks are compared before pixels are read.
        val_images: Rasters to validate on; empty where some are set apart.
        val_labels: What is true of them.
        val_aoi: Polygons on `val_images` outside which nothing is known; None for everywhere.
        bands: Bands to read, numbered from 1; None for all but alpha.
        on_error: What becomes of files that cannot be read: ``fail`` or ``skip``.
    """

    images: tuple[str, ...]
    labels: tuple[str, ...]
    classes: tuple[str, ...]
    class_property: str | None = None
    background: str | None = None
    label_values: tuple[int, ...] | None = None
    aoi: str | None = None
    allow_sources: tuple[str, ...] = ()
    verify: bool = True
    val_images: tuple[str, ...] = ()
    val_labels: tuple[str, ...] = ()
    val_aoi: str | None = None
    bands: tuple[int, ...] | None = None
    on_error: str = "fail"


@dataclass(frozen=True, slots=True)
class Chips:
    """Which chips are drawn.

    Attributes:
        gsd: Ground sample distance of the chips, in metres; None for the median of the rasters.
        chip: Side of a chip, in pixels.
        split: What is set apart for validation where no rasters are named: ``raster`` or ``block``.
        val_share: Share that is set apart.
        block_size: Side of a block, in metres; None for `BLOCK_CHIPS` chips.
        objects: Share of the chips that are drawn around a thing.
        balance: Power of a raster's ground to which it is drawn: 1 draws all ground, 0 all rasters as often.
        scale_range: Factors by which the ground is magnified.
        stretch: Factor up to which height and width of a pixel differ.
        symmetries: Whether chips are turned and mirrored.
        looks: Strength of photometric change; 0 for none, 1 for the usual.
    """

    gsd: float | None = None
    chip: int = DEFAULT_CHIP
    split: str = "block"
    val_share: float = 0.2
    block_size: float | None = None
    objects: float = 0.5
    balance: float = 0.5
    scale_range: tuple[float, float] = (0.75, 1.5)
    stretch: float = 1.1
    symmetries: bool = True
    looks: float = 1.0


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """Options of ``terraseam train``.

    Attributes:
        truths: What is true, and where.
        chips: Which chips are drawn.
        recipe: Fields of `terraseam.models.training.recipe.Recipe` that were said; ``class_weights`` may be ``balanced``.
        architecture: Name of the network.
        encoder: Name of its encoder; None where it has one alone.
        output: Folder of the bundle.
        encoder_weights: File of its weights, or ``imagenet``; None for random ones.
        settings: Further arguments of the network's builder.
        start: Bundle whose weights are taken where layers have the same name and shape.
        half: Whether weights are rounded to half precision.
        name: Name of the bundle; None for that of its folder.
        version: Version of the bundle.
        license: Licence of weights and data.
        band_names: Names of the bands; None for the usual ones.
        work: Folder of state and logs; None for ``OUTPUT.training``.
        restart: Whether to begin anew.
        tensorboard: Whether to write logs for TensorBoard.
        pictures: Validation chips on the picture of each epoch.
        force: Whether a bundle that is there is replaced.
        dry_run: Whether the plan is printed, and nothing done.
    """

    truths: Truths
    chips: Chips
    architecture: str
    output: str
    recipe: Mapping[str, object] = field(default_factory=dict)
    encoder: str | None = None
    encoder_weights: str | None = None
    settings: Mapping[str, int | float] = field(default_factory=dict)
    start: str | None = None
    half: bool = False
    name: str | None = None
    version: str = "1.0.0"
    license: str = "not stated"
    band_names: tuple[str, ...] | None = None
    work: str | None = None
    restart: bool = False
    tensorboard: bool = False
    pictures: int = 8
    force: bool = False
    dry_run: bool = False

    @property
    def work_folder(self) -> str:
        """Where state and logs are kept."""
        return self.work if self.work is not None else self.output.rstrip("/") + ".training"
