"""Find predictions: the results of a run, the files in a folder, or a single file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from terraseam.pipeline.errors import EvaluateError
from terraseam.pipeline.inputs.expand import VECTORS
from terraseam.pipeline.inputs.left_out import LeftOut
from terraseam.pipeline.units import listed
from terraseam.tiles.raster.inspect import SUFFIXES
from terraseam.tiles.vectors.read import is_vector

LABELS, POLYGONS, MANIFEST = "labels.tif", "polygons.geojson", "manifest.json"


@dataclass(frozen=True)
class Predicted:
    """The prediction of one raster.

    Attributes:
        name: Name of the raster, by which its ground truth is found.
        labels: Path of its label map; None if there is none.
        polygons: Path of its polygons; None if there are none.
    """

    name: str
    labels: str | None = None
    polygons: str | None = None

    @property
    def files(self) -> tuple[str, ...]:
        """Paths of its files."""
        return tuple(file for file in (self.labels, self.polygons) if file is not None)

    @property
    def path(self) -> str:
        """The first of its files, which identifies it in messages."""
        return self.files[0]


def find_predicted(path: str) -> tuple[list[Predicted], list[LeftOut]]:
    """Find predictions, and rasters of a run whose results are missing.

    Args:
        path: A folder that `terraseam segment` wrote, a folder of label maps and polygon files or of folders with
            labels.tif and polygons.geojson, or one file.

    Raises:
        EvaluateError: If there are no predictions, or several files for one.
    """
    place = Path(path)
    if not place.exists():
        raise EvaluateError([f"--predicted {path} does not exist"])
    if not place.is_dir():
        return [_prediction_in(place)], []
    if (place / MANIFEST).is_file():
        return _of_run(place)
    inner = sorted(folder for folder in place.iterdir() if folder.is_dir())
    predictions = [prediction for folder in inner if (prediction := _of_folder(folder)) is not None]
    if not predictions and (alone := _of_folder(place)) is not None:
        return [alone], []
    if not predictions:
        known = SUFFIXES | VECTORS
        predictions = _of_files([file for file in sorted(place.iterdir()) if file.suffix.lower() in known])
    if not predictions:
        raise EvaluateError(
            [f"--predicted {path} holds neither labels.tif nor polygons.geojson nor other maps"]
        )
    return predictions, []


def earlier_notes(path: str, named: Sequence[str]) -> list[str]:
    """Return a note on results of earlier runs in a folder, which its manifest does not list."""
    if not (Path(path) / MANIFEST).is_file():
        return []
    others = [
        folder.name for folder in sorted(Path(path).iterdir()) if folder.is_dir() and _of_folder(folder)
    ]
    earlier = listed(name for name in others if name not in named)
    return [
        f"{path} also holds {earlier} of earlier runs, which are skipped; name a folder in it to measure it"
    ] * bool(earlier)


def _prediction_in(file: Path) -> Predicted:
    name = file.parent.name if file.name in (LABELS, POLYGONS) else file.stem
    return Predicted(name, polygons=str(file)) if is_vector(str(file)) else Predicted(name, labels=str(file))


def _of_files(files: Sequence[Path]) -> list[Predicted]:
    """Return predictions by name: a label map and a polygon file of one name belong to one raster.

    Raises:
        EvaluateError: If two label maps or two polygon files have one name.
    """
    predictions: dict[str, Predicted] = {}
    for file in files:
        one = _prediction_in(file)
        other = predictions.get(one.name, Predicted(one.name))
        for own, first in ((one.labels, other.labels), (one.polygons, other.polygons)):
            if own is not None and first is not None:
                raise EvaluateError(
                    [
                        f"--predicted {file.parent} holds both {Path(first).name} and {file.name}, each of which would "
                        f"be the prediction of {one.name}; leave only one there"
                    ]
                )
        predictions[one.name] = Predicted(
            one.name, one.labels or other.labels, one.polygons or other.polygons
        )
    return list(predictions.values())


def _of_folder(folder: Path) -> Predicted | None:
    files = [str(folder / name) if (folder / name).is_file() else None for name in (LABELS, POLYGONS)]
    return Predicted(folder.resolve().name, *files) if any(files) else None


def _of_run(folder: Path) -> tuple[list[Predicted], list[LeftOut]]:
    try:
        names = [
            str(raster["id"]) for raster in json.loads((folder / MANIFEST).read_text("utf-8"))["rasters"]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluateError(
            [f"{folder / MANIFEST} is not a manifest of `terraseam segment`; remove it, or run again"]
        ) from error
    predictions = {name: _of_folder(folder / name) for name in names}
    missing = [
        LeftOut(
            str(folder / name),
            (
                f"{folder / name} holds neither {LABELS} nor {POLYGONS}, which {MANIFEST} lists; "
                "run `terraseam segment` again",
            ),
            id=name,
        )
        for name, prediction in predictions.items()
        if prediction is None
    ]
    return [prediction for prediction in predictions.values() if prediction is not None], missing
