"""Options of the functions: those of the command line by their long names, with underscores for dashes.

``terraseam segment --help`` and the README say what each does. Every option may be left out; so may those that a command
cannot do without, where a job file (`config`) has them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, TypedDict

from terraseam.models.names import nearest_name

FilePath = str | os.PathLike[str]
Paths = FilePath | Iterable[FilePath]
"""A path, a directory, a glob or an address, or several."""
Names = str | Sequence[str]
"""A name, names separated by commas, or a list of them."""
Numbers = str | int | Sequence[int]
Auto = int | Literal["auto"]
BeamOptions = Mapping[str, str | int | float | bool | Sequence[str]]
Format = Literal["geojson", "geojsonl", "fgb", "gpkg", "parquet", "pmtiles"]
OnError = Literal["quarantine", "fail"]


class SourceOptions(TypedDict, total=False):
    """How files are read."""

    aoi: FilePath
    allow_sources: Names
    no_verify: bool


class PolygonKeywords(SourceOptions, total=False):
    """Which polygons are made, and how: areas in square metres, lengths in metres, `max_region` in pixels."""

    classes: Names
    min_area: float
    fill_holes: float
    sieve: float
    simplify: float
    regularize: bool
    connectivity: Literal[4, 8]
    max_region: int
    format: Format | Sequence[Format]


class JobOptions(TypedDict, total=False):
    """Where a job works, and with what."""

    output: FilePath
    work: FilePath
    sheet: int
    on_error: OnError
    config: FilePath
    beam: BeamOptions


class SegmentKeywords(PolygonKeywords, JobOptions, total=False):
    """Options of `terraseam.segment` and `terraseam.plan`."""

    model: Paths
    engine: Literal["auto", "tensorflow", "openvino", "onnx"]
    precision: Literal["float32", "bfloat16", "float16"]
    augment: bool
    batch_size: Auto
    bands: Numbers
    min_score: float
    compress: Literal["deflate", "zstd", "lzw"]
    resample: bool
    any_gsd: bool
    tile: Auto
    halo: Auto
    stitch: Literal["crop", "blend"]
    prune: bool
    force: bool
    workers: int
    memory: str
    accelerator: str


class VectorizeKeywords(PolygonKeywords, JobOptions, total=False):
    """Options of `terraseam.vectorize`."""

    class_names: Names | Mapping[int, str]
    pixel_coordinates: bool


class EvaluateKeywords(SourceOptions, total=False):
    """Options of `terraseam.evaluate`."""

    predicted: FilePath
    truth: Paths
    images: Paths
    classes: Names
    background: str
    class_property: str
    label_values: Numbers
    on_error: OnError
    tolerance: int
    max_detections: int
    block_size: int
    picture: FilePath
    picture_size: int


class TruthOptions(SourceOptions, total=False):
    """What a training learns from, and what it is validated on."""

    images: Paths
    labels: Paths
    classes: Names
    class_property: str
    background: str
    label_values: Numbers
    bands: Numbers
    on_error: Literal["fail", "skip"]
    val_images: Paths
    val_labels: Paths
    val_aoi: FilePath
    split: Literal["block", "raster"]
    val_fraction: float
    block_size: float


class ChipOptions(TypedDict, total=False):
    """Which chips are drawn: `gsd` in metres, `chip` in pixels."""

    gsd: float
    chip_size: int
    object_fraction: float
    balance: float
    scale_range: str | float | tuple[float, float]
    stretch: float
    no_symmetries: bool
    augmentation: float


class RecipeOptions(TypedDict, total=False):
    """How weights are found."""

    epochs: int
    steps_per_epoch: int
    batch_size: int
    learning_rate: float
    schedule: Literal["constant", "cosine", "poly"]
    warmup_steps: int
    optimizer: Literal["adam", "adamw", "sgd"]
    weight_decay: float
    clip_norm: float
    loss: str
    class_weights: Literal["balanced"] | Sequence[float]
    freeze_epochs: int
    freeze_norm: bool
    patience: int
    ema: float
    seed: int


class TrainKeywords(TruthOptions, ChipOptions, RecipeOptions, total=False):
    """Options of `terraseam.train`."""

    architecture: str
    encoder: str
    output: FilePath
    encoder_weights: FilePath
    initial_bundle: FilePath
    set: Mapping[str, int | float | bool]
    fp16_weights: bool
    name: str
    version: str
    license: str
    band_names: Names
    work: FilePath
    restart: bool
    tensorboard: bool
    pictures: int
    force: bool
    dry_run: bool
    config: FilePath


COMMANDS: Mapping[str, type] = {
    "segment": SegmentKeywords,
    "plan": SegmentKeywords,
    "vectorize": VectorizeKeywords,
    "train": TrainKeywords,
    "evaluate": EvaluateKeywords,
}
"""The options of each function."""


def check_names(command: str, names: Sequence[str]) -> None:
    """Check that a function has some options.

    Raises:
        TypeError: If it does not have one of them; the text names the nearest that it has.
    """
    known = COMMANDS[command].__annotations__
    for name in names:
        if name not in known:
            near = nearest_name(name, known)
            hint = f"; did you mean {near}?" if near else ""
            raise TypeError(f"terraseam.{command}() got an unexpected keyword argument {name!r}{hint}")
