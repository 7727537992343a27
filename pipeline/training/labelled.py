"""Find, read and check rasters with their labels before a training starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import shapely

from terraseam.pipeline.errors import TrainError
from terraseam.pipeline.inputs.expand import VECTORS, expand, expand_files, label_files, raster_ids
from terraseam.pipeline.inputs.left_out import all_reasons
from terraseam.pipeline.inputs.remote_rasters import existing_files, inspect_with_sidecars
from terraseam.pipeline.options.train import Truths
from terraseam.pipeline.storage.errors import file_name
from terraseam.pipeline.storage.watched_files import WatchedFiles
from terraseam.pipeline.training.classes import TrainingClasses, classes_of_polygons, classes_of_rasters
from terraseam.pipeline.training.label_values import count_values
from terraseam.pipeline.units import count, listed
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.inspect import RasterError, RasterInfo, inspect_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource
from terraseam.tiles.truth.label_raster import LabelRasterError, RasterTruth
from terraseam.tiles.truth.pairs import Pairs, pair
from terraseam.tiles.truth.polygons import PolygonClasses, PolygonTruth
from terraseam.tiles.truth.scene import IGNORED
from terraseam.tiles.vectors.area import TrustedArea, area_of
from terraseam.tiles.vectors.placing import polygons_to_pixels
from terraseam.tiles.vectors.read import PolygonFile, VectorError, is_vector, read_bounds, read_polygons

T = TypeVar("T")
READ = 2048
"""Side of the windows in which a raster is read to check that it is complete, in pixels."""
FILE_ERRORS = (RasterError, VectorError, LabelRasterError, RasterReadError, OSError, ValueError)


@dataclass(frozen=True)
class Labelled:
    """A raster with its labels.

    Attributes:
        name: Its id.
        info: Its metadata.
        gsd: Its ground sample distance, in metres per pixel.
        truth: Its labels.
        area: Area in which the labels are valid; None for everywhere.
        watched: The files that pixels and labels are read from throughout the training.
        values: Number of pixels of each value of a label raster in the area; empty for polygons.
    """

    name: str
    info: RasterInfo
    gsd: float
    truth: PolygonTruth | RasterTruth
    area: TrustedArea | None = None
    watched: tuple[WatchedFiles, ...] = ()
    values: Mapping[float, int] = field(default_factory=dict)

    @cached_property
    def parts(self) -> np.ndarray | None:
        """The disjoint parts of the area on the raster, polygons in its pixels; None for the whole raster."""
        return None if self.area is None else self.area.parts_on(self.info.georef)

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width of the raster, or of the area's bounds on it, in metres."""
        if self.parts is None or not len(self.parts):
            return self.info.georef.height * self.gsd, self.info.georef.width * self.gsd
        left, top, right, bottom = shapely.total_bounds(self.parts)
        return (bottom - top) * self.gsd, (right - left) * self.gsd


@dataclass
class Findings:
    """The findings from reading files, reported at the start of the run and in the card.

    Attributes:
        reasons: Why the training cannot start, one sentence each.
        notes: Notes for the user, one sentence each.
        skipped: A sentence for each unreadable file that is skipped.
        skipped_names: Their names.
        mended: Number of invalid polygons that were made valid.
        others: Number of polygons of other classes than the named ones, by class.
        left_out: Number of features that are not usable polygons, by reason.
        unnamed: Number of polygons without a class.
        hidden: Addresses of sidecar files whose existence servers hide.
    """

    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    skipped_names: set[str] = field(default_factory=set)
    mended: int = 0
    others: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    unnamed: int = 0
    hidden: list[str] = field(default_factory=list)

    def broken(self, path: str, sentence: str, skip: bool) -> None:
        """Record an unreadable file, as skipped or as a reason."""
        if skip:
            self.skipped += [sentence] * (sentence not in self.skipped)
            self.skipped_names.add(file_name(path))
        else:
            self.reasons.append(f"{sentence}; fix or remove it, or pass --on-error skip")


class LabelReader:
    """A reader of label files that reads each file once."""

    def __init__(self, options: Truths, findings: Findings) -> None:
        self.options, self.findings = options, findings
        self.classes: TrainingClasses | None = None
        self._files: dict[str, PolygonFile] = {}
        self._areas: dict[str, PolygonFile | None] = {}
        self._kinds: set[bool] = set()

    def labelled(self, images: Sequence[str], labels: Sequence[str], what: str) -> list[Labelled]:
        """Read rasters with their labels; problems are added to the findings."""
        named = expand(images)
        image_paths, problems = named.paths, [*named.problems, *all_reasons(named.unread)]
        files, more = expand_files(label_files(labels), f"--{what}labels")
        self.findings.reasons += [*problems, *more]
        swapped = [path for path in image_paths if Path(path).suffix.lower() in VECTORS]
        if swapped:
            self.findings.reasons.append(
                f"--{what}images names {listed(swapped, 4)}, which holds polygons, not a raster; --{what}images "
                f"takes the rasters, and --{what}labels their labels"
            )
            return []
        if not image_paths or not files or not self._choose_classes(files):
            return []
        infos = self._inspect(image_paths)
        pairs = pair(list(infos), files)
        for path, sentence in pairs.broken:
            self.findings.broken(path, sentence, self._skip)
        broken = len(infos) < len(image_paths) or pairs.broken
        if pairs.pairs or not broken:
            self._report_pairs(pairs, what)
        names = dict(zip(image_paths, raster_ids(image_paths), strict=True))
        rasters = [
            self._read_labelled(names[image], infos[image], paths, what) for image, paths in pairs.pairs
        ]
        return [raster for raster in rasters if raster is not None]

    @property
    def _skip(self) -> bool:
        return self.options.on_error == "skip"

    def _choose_classes(self, files: Sequence[str]) -> bool:
        kinds = {is_vector(file) for file in files}
        self._kinds |= kinds
        if len(self._kinds) == 2:
            self.findings.reasons.append(
                "--labels names polygons and label rasters; train on one kind at a time"
                if len(kinds) == 2
                else "of --labels and --val-labels one names polygons, the other label rasters; give one kind for both"
            )
            return False
        try:
            self.classes = (classes_of_polygons if True in kinds else classes_of_rasters)(self.options)
        except TrainError as error:
            self.findings.reasons += error.reasons
            return False
        return True

    def _inspect(self, paths: Iterable[str]) -> dict[str, RasterInfo]:
        infos = {}
        for path in paths:
            info = self._tried(path, partial(_readable, path, whole=self._skip))
            if info is not None:
                infos[path] = info
                self.findings.hidden += info.hidden
        return infos

    def _tried(self, path: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except FILE_ERRORS as error:
            self.findings.broken(path, str(error), self._skip)
            return None

    def _report_pairs(self, pairs: Pairs, what: str) -> None:
        """Report rasters and label files without a partner."""
        empty = [path for path in pairs.labels if is_vector(path) and self._is_empty(path)]
        if not pairs.pairs and empty and len(empty) == len(pairs.labels):
            self.findings.reasons.append(
                f"{listed(empty, 4)} of --{what}labels holds no polygon, so there is nothing to learn from"
            )
            return
        if not pairs.pairs:
            self.findings.reasons.append(
                f"no file of --{what}labels matches any of --{what}images by name or by location; check the "
                "paths and the CRS of the labels"
            )
            return
        for kind, unpaired in (("raster", pairs.images), ("label file", pairs.labels)):
            if unpaired:
                self.findings.notes.append(
                    f"{count(len(unpaired), kind)} without a partner, skipped: {listed(unpaired)}"
                )

    def _is_empty(self, path: str) -> bool:
        """Return whether a file holds no polygon; an unreadable one is added to the findings."""
        bounds = self._tried(path, partial(read_bounds, path))
        return bounds is not None and bounds[1] is None

    def _read_labelled(self, name: str, info: RasterInfo, paths: Sequence[str], what: str) -> Labelled | None:
        aoi = self.options.val_aoi if what else self.options.aoi

        def read() -> Labelled:
            area = self._area_of(info, aoi)
            read_truth = self._polygons if is_vector(paths[0]) else self._raster
            truth = read_truth(info, paths, area)
            watched = [(info.path, info.files)]
            watched += [(truth.path, truth.files)] if isinstance(truth, RasterTruth) else []
            watched_files = tuple(WatchedFiles.now(*pair) for pair in watched)
            values = count_values(truth, area) if isinstance(truth, RasterTruth) else {}
            return Labelled(name, info, info.georef.gsd(), truth, area, watched_files, values)

        return self._tried(info.path, read)

    def _area_of(self, info: RasterInfo, path: str | None) -> TrustedArea | None:
        if path is None:
            return None
        if path not in self._areas:
            self._areas[path] = self._area_file(path)
        file = self._areas[path]
        return None if file is None else area_of(file, info.georef)

    def _area_file(self, path: str) -> PolygonFile | None:
        """Read the polygons of an area of interest, which are required and therefore never skipped."""
        try:
            return read_polygons(path)
        except (VectorError, OSError) as error:
            name = "--aoi" if path == self.options.aoi else "--val-aoi"
            self.findings.reasons.append(f"{name} cannot be used: {error}")
            return None

    def _raster(self, info: RasterInfo, paths: Sequence[str], area: TrustedArea | None) -> RasterTruth:
        if len(paths) > 1:
            raise RasterError(
                f"{info.path} has several label rasters, {listed(paths)}; give one, or a mosaic"
            )
        classes = self._classes()
        there = existing_files(paths[0])
        self.findings.hidden += there.hidden if there else ()
        known = there.files if there else None
        truth = RasterTruth(paths[0], info.georef, classes.values, classes.background, known=known, area=area)
        truth.counts()  # Reads the raster, so that damage is found now; the result is cached.
        return truth

    def _polygons(self, info: RasterInfo, paths: Sequence[str], area: TrustedArea | None) -> PolygonTruth:
        classes = self._classes()
        polygons, labels = [np.empty(0, object)], [np.empty(0, np.int64)]
        for path in paths:
            file = self._file(path)
            in_pixels = polygons_to_pixels(file, info.georef)
            known = self._labels_of(file)[in_pixels.numbers]
            polygons.append(in_pixels.polygons[known >= 0])
            labels.append(known[known >= 0])
        shape = (info.georef.height, info.georef.width)
        kinds = PolygonClasses(len(classes.names), classes.background or 0)
        return PolygonTruth(np.concatenate(polygons), np.concatenate(labels), kinds, shape, area)

    def _file(self, path: str) -> PolygonFile:
        if path not in self._files:
            file = read_polygons(path, self.options.class_property)
            labels = self._labels_of(file)
            self.findings.mended += file.mended
            self.findings.left_out.update(file.reasons)
            self.findings.unnamed += int(np.count_nonzero(labels == IGNORED))
            self.findings.others.update(
                str(value) for value, label in zip(file.values, labels, strict=True) if label < 0
            )
            self._files[path] = file
        return self._files[path]

    def _labels_of(self, file: PolygonFile) -> np.ndarray:
        return self._classes().labels_of(file, has_values=self.options.class_property is not None)

    def _classes(self) -> TrainingClasses:
        assert self.classes is not None
        return self.classes


def _readable(path: str, *, whole: bool) -> RasterInfo:
    """Inspect a raster, and read all of it, or a few pixels including the last, which truncated files lack."""
    info: RasterInfo = inspect_with_sidecars(path, inspect_raster)
    height, width = info.georef.height, info.georef.width
    bands = info.colour_bands if whole else info.colour_bands[:1]
    source = RasterSource(path, bands, (0.0,) * len(bands), files=info.files)
    for row in range(0, height, READ) if whole else sorted({0, height // 2, height - 1}):
        for col in range(0, width, READ) if whole else sorted({0, width // 2, width - 1}):
            size = (min(READ, height - row), min(READ, width - col)) if whole else (1, 1)
            source.read(Window(row, col, *size))
    return info
