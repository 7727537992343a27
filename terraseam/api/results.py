"""What functions return: values that notebooks show as tables, and that print as the command line does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any

from terraseam.api.rasters import RasterResult
from terraseam.api.tables import figure, html_table


@dataclass(frozen=True)
class Result:
    """What every command leaves.

    Attributes:
        text: What the command line prints; ``print(result)`` shows it.
        notes: What is good to know beside it, a sentence each.
    """

    text: str = field(repr=False)
    notes: tuple[str, ...]

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<pre>{escape(self.text)}</pre>"


@dataclass(frozen=True)
class RunResult(Result):
    """What a run has written, see `SegmentResult` and `VectorizeResult`.

    Attributes:
        complete: Whether nothing is missing: no raster was left out, no sheet is in quarantine.
        rasters: What became of each raster; those that were left out come last. Empty where another machine goes on with
            the job.
        manifest: The record of the run, as ``manifest.json`` in the output; None where another machine goes on with it.
    """

    complete: bool
    rasters: tuple[RasterResult, ...]
    manifest: Mapping[str, Any] | None = field(repr=False)

    def _repr_html_(self) -> str:
        if not self.rasters:
            return super()._repr_html_()
        head = (
            "raster",
            "status",
            "class",
            "share",
            "polygons",
            "area in px" if self._in_pixels else "area in m²",
        )
        return html_table(head, [row for raster in self.rasters for row in _raster_rows(raster)])

    @property
    def _in_pixels(self) -> bool:
        return any(raster.in_pixels for raster in self.rasters)


@dataclass(frozen=True)
class SegmentResult(RunResult):
    """Label maps and polygons that `terraseam.segment` has written."""


@dataclass(frozen=True)
class VectorizeResult(RunResult):
    """Polygons that `terraseam.vectorize` has written."""


@dataclass(frozen=True)
class PlanResult(Result):
    """What `terraseam.segment` would do with the same options.

    Attributes:
        figures: All of it, as ``terraseam plan --json`` prints it.
    """

    figures: Mapping[str, Any] = field(repr=False)

    @property
    def rasters(self) -> tuple[Mapping[str, Any], ...]:
        """Return the rasters: `id`, `path`, `height`, `width`, `gsd_m`, `bands`, rows and columns of `sheets`, `tiles`."""
        return tuple(self.figures["rasters"])

    @property
    def exact(self) -> bool:
        """Return whether label maps will equal inference on whole rasters."""
        return self.figures["exact"]

    @property
    def memory_bytes(self) -> int:
        """Return the memory that each process of the run takes, in bytes."""
        return self.figures["memory_bytes"]

    @property
    def disk_bytes(self) -> int:
        """Return the room that the run takes on the disk, in bytes."""
        return self.figures["disk_bytes"]

    def _repr_html_(self) -> str:
        rows = [
            (
                raster["id"],
                f"{raster['height']:,} x {raster['width']:,}",
                figure(raster["gsd_m"], ".4g"),
                _product(raster["sheets"]),
            )
            for raster in self.rasters
        ]
        head = ("raster", "height x width in px", "GSD in m", "sheets")
        return html_table(head, rows, f"exact: {self.figures['exactness']}")


@dataclass(frozen=True)
class TrainResult(Result):
    """What `terraseam.train` has made.

    Attributes:
        bundle: Folder of the bundle; None of a dry run.
        work: Folder of state, logs and pictures; None of a dry run.
        card: The card of the bundle, as ``card.json`` holds it; empty of a dry run.
    """

    bundle: str | None
    work: str | None
    card: Mapping[str, Any] = field(repr=False)

    @property
    def metrics(self) -> Mapping[str, float]:
        """Return what the network reached on the validation chips, such as `mean_iou`; empty of a dry run."""
        return self.card.get("metrics", {}).get("validation", {})

    def _repr_html_(self) -> str:
        rows = [
            (name, figure(value) if isinstance(value, float) else str(value))
            for name, value in self.metrics.items()
        ]
        return html_table(("measure", "validation"), rows, self.bundle or "nothing was trained")


@dataclass(frozen=True)
class EvaluateResult(Result):
    """What `terraseam.evaluate` has measured.

    Attributes:
        complete: Whether no raster was left out.
        figures: All figures, as ``terraseam evaluate --json`` prints them.
    """

    complete: bool
    figures: Mapping[str, Any] = field(repr=False)

    @property
    def pixels(self) -> Mapping[str, Any] | None:
        """Return figures of label maps, such as `accuracy`, `mean_iou`, over all rasters and by `classes`; None for none."""
        return self.figures["pixels"]

    @property
    def polygons(self) -> Mapping[str, Any] | None:
        """Return figures of polygons, such as `ap`, `ap50` and `f1`, over all rasters and by `classes`; None for none."""
        return self.figures["polygons"]

    def _repr_html_(self) -> str:
        parts = {"pixels": self.pixels, "polygons": self.polygons}
        rows = [
            (
                name,
                part,
                *(
                    figure(measures.get(column))
                    for column in ("iou", "ap", "ap50", "f1", "precision", "recall")
                ),
            )
            for part, figures in parts.items()
            if figures is not None
            for name, measures in figures["classes"].items()
        ]
        return html_table(("class", "of", "IoU", "AP", "AP50", "F1", "precision", "recall"), rows)


def _raster_rows(raster: RasterResult) -> list[tuple[str, ...]]:
    """Return a row for each class of a raster, or one for the whole where no class is known of it."""
    if not raster.classes:
        return [(raster.id or raster.path, raster.status, "; ".join(raster.reasons) or "-", "-", "-", "-")]
    return [
        (
            raster.id,
            raster.status,
            class_result.name,
            f"{class_result.share:.1%}",
            figure(class_result.polygons, ",d"),
            figure(class_result.area, ",.1f"),
        )
        for class_result in raster.classes
    ]


def _product(shape: tuple[int, int]) -> str:
    return f"{shape[0] * shape[1]:,}"
