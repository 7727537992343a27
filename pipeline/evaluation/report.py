"""Describe metrics as tables of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.pipeline.units import table

PIXEL_COLUMNS = {
    "IoU": "iou",
    "precision": "precision",
    "recall": "recall",
    "F1": "f1",
    "boundary F1": "boundary_f1",
}
POLYGON_COLUMNS = {
    "AP": "ap",
    "AP50": "ap50",
    "AP75": "ap75",
    "small": "ap_small",
    "medium": "ap_medium",
    "large": "ap_large",
    "AR": "ar",
    "F1": "f1",
    "precision": "precision",
    "recall": "recall",
}
COUNTS = ("true", "false", "missed")


def describe_evaluation(result: Mapping[str, Any]) -> str:
    """Return all metrics as text: pooled, and one line per raster if there are several."""
    parts = []
    if result["pixels"] is not None:
        parts.append(_describe_pixels(result))
    if result["polygons"] is not None:
        parts.append(_describe_polygons(result))
    if len(result["rasters"]) > 1:
        parts.append(_describe_raster(result["rasters"]))
    return "\n\n".join(parts)


def _describe_pixels(result: Mapping[str, Any]) -> str:
    pixels = result["pixels"]
    rows = [["class", "pixels", *PIXEL_COLUMNS]]
    for name, figures in pixels["classes"].items():
        rows.append([name, f"{figures['pixels']:,}", *_cells(figures, PIXEL_COLUMNS)])
    rows.append(
        [
            "mean",
            "",
            _cell(pixels["mean_iou"]),
            "",
            "",
            _cell(pixels["mean_f1"]),
            _cell(pixels["mean_boundary_f1"]),
        ]
    )
    names = result["classes"]
    matrix = [["true \\ predicted", *names]]
    matrix += [
        [name, *(f"{count:,}" for count in counts)]
        for name, counts in zip(names, pixels["confusion"], strict=True)
    ]
    head = (
        f"pixels: {pixels['pixels']:,} compared, accuracy {_cell(pixels['accuracy'])}; "
        f"ignored: {pixels['without_truth']:,} without truth, "
        f"{pixels['without_prediction']:,} without prediction"
    )
    foot = (
        f"mean over classes that occur in truth or prediction; boundaries within {result['tolerance_px']} px"
    )
    return "\n".join([head, "", _numbers(rows), foot, "", "confusion, in pixels", _numbers(matrix)])


def _describe_polygons(result: Mapping[str, Any]) -> str:
    polygons = result["polygons"]
    rows = [["class", *POLYGON_COLUMNS, *COUNTS]]
    lines = dict(polygons["classes"])
    if len(lines) > 1:
        lines["all"] = polygons
    for name, figures in lines.items():
        counts = (f"{figures[key]:,}" for key in COUNTS)
        rows.append([name, *_cells(figures, POLYGON_COLUMNS), *counts])
    most = result["max_detections"]
    foot = "AP over IoU 0.50 to 0.95" + (
        "" if most is None else f", the {most} highest-scoring polygons of each raster"
    )
    foot += "; F1, precision, recall and counts at IoU 0.5"
    if polygons["left_out"]:
        foot += f"; {polygons['left_out']:,} true polygons ignored, as they lie mostly where there is no prediction"
    return "\n".join(["polygons", "", _numbers(rows), foot])


def _describe_raster(rasters: Sequence[Mapping[str, Any]]) -> str:
    rows = [["raster", "accuracy", "mean IoU", "AP", "AP50", "F1"]]
    for raster in rasters:
        pixels, polygons = raster["pixels"] or {}, raster["polygons"] or {}
        rows.append(
            [
                raster["name"],
                *(_cell(pixels.get(key)) for key in ("accuracy", "mean_iou")),
                *(_cell(polygons.get(key)) for key in ("ap", "ap50", "f1")),
            ]
        )
    return _numbers(rows)


def _numbers(rows: Sequence[Sequence[str]]) -> str:
    return table(rows, right=set(range(1, len(rows[0]))))


def _cells(figures: Mapping[str, Any], columns: Mapping[str, str]) -> list[str]:
    return [_cell(figures[key]) for key in columns.values()]


def _cell(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"
