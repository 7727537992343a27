"""Summarize the results of a run as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.models.engines.profile import CPU_SAMPLES, GPU_SAMPLES
from terraseam.pipeline.plan.describe import SHOWN
from terraseam.pipeline.units import count, format_area
from terraseam.pipeline.vectorize.label_counts import MOST_LISTED
from terraseam.tiles.labels.cog import BLOCK


def describe_results(manifest: Mapping[str, Any]) -> str:
    """Return a short table of a run's results, and where they are."""
    table, *where = results_table(manifest)
    totals = manifest["counts"]
    work = (
        f"{count(totals['sheets'], 'sheet')}: {totals['sheets_inferred']} inferred, {totals['sheets_reused']} from the "
        f"store{_left_out(totals)}; {count(totals['tiles_inferred'], 'tile')}; {manifest['seconds']['total']:.1f} s"
        + _describe_unchanged(totals["rasters_kept"])
    )
    notes = [
        *off_earth_notes(manifest),
        *_full_notes(manifest),
        *_batch_notes(manifest),
        *_removed_notes(manifest),
    ]
    return "\n".join([table, *notes, "", work, *where])


def _left_out(totals: Mapping[str, int]) -> str:
    """Return the numbers of sheets that were neither inferred nor taken from the store, as text."""
    descriptions = {"skipped": "without valid pixels", "quarantined": "in quarantine"}
    return "".join(
        f", {totals[f'sheets_{fate}']} {description}"
        for fate, description in descriptions.items()
        if totals[f"sheets_{fate}"]
    )


def _describe_unchanged(unchanged: int) -> str:
    """Return the number of unchanged rasters, as text."""
    return f"; {count(unchanged, 'raster')} unchanged" if unchanged else ""


def results_table(manifest: Mapping[str, Any]) -> list[str]:
    """Return a table of the results of each raster, followed by lines that say where they are."""
    rows: list[Sequence[str]] = [("raster", "class", "share", "polygons", "area")]
    for raster in manifest["rasters"]:
        rows += [(raster["id"], *_class_cells(name, entry)) for name, entry in _classes_of(raster).items()]
        if raster["nodata_share"]:
            rows.append((raster["id"], "(not measured)", f"{raster['nodata_share']:.1%}", "-", "-"))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(_cell(row, i, widths) for i in range(len(row))).rstrip() for row in rows]
    shown = [raster for raster in manifest["rasters"] if raster["published"]]
    names = ", ".join(shown[0]["files"]) if shown else ""
    folders = [raster["folder"] for raster in shown]
    where = [f"  {folder}/{{{names}}}" for folder in folders[:SHOWN]]
    if len(folders) > SHOWN:
        where.append(f"  and {count(len(folders) - SHOWN, 'more folder')} beside them")
    return ["\n".join(table), *where]


def _classes_of(raster: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the classes of a raster, or one for all together if there are too many to list."""
    if raster["classes"] is not None:
        return raster["classes"]
    return {f"(more than {MOST_LISTED:,} labels)": {**raster, "share": 1 - raster["nodata_share"]}}


def _class_cells(name: str, entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """Return the cells of a table row: class, share, polygons and their area."""
    share = f"{entry['share']:.1%}"
    if entry["polygons"] is None:
        return name, share, "-", "-"
    in_pixels = entry.get("polygon_area_px")
    area = format_area(entry["polygon_area_m2"]) if in_pixels is None else f"{in_pixels:,.0f} px"
    return name, share, f"{entry['polygons']:,}", area


def off_earth_notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return a note for each raster with valid pixels off the Earth."""
    return [
        f"{raster['id']}: {count(pixels, 'valid pixel')} {'has' if pixels == 1 else 'have'} no place on the "
        f"Earth and count{'s' if pixels == 1 else ''} as nodata"
        for raster in manifest["rasters"]
        if (pixels := raster.get("off_earth_px", 0))  # missing in manifests of earlier versions
    ]


def _full_notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return a note for each raster in which a detector may have missed instances."""
    return [
        f"{raster['id']}: on {count(raster['full_tiles'], 'tile')} {manifest['model']['name']} reached its "
        f"limit of instances, so others may be missing; {_more_room(manifest)}"
        for raster in manifest["rasters"]
        if raster["full_tiles"]
    ]


def _batch_notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return a note for each profile whose batch size was reduced because memory ran out."""
    default = {"cpu": CPU_SAMPLES, "gpu": GPU_SAMPLES}
    notes = []
    for profile in manifest["profiles"]:
        batch_size = manifest["inference"]["batch_size"] or default[profile["device"]]
        if profile["samples"] < batch_size:
            notes.append(
                f"the {profile['device'].upper()} ran out of memory with {batch_size} tiles per call; some sheets were run "
                f"with {profile['samples']}: pass --batch-size {profile['samples']}, or a smaller --tile"
            )
    return notes


def _removed_notes(manifest: Mapping[str, Any]) -> list[str]:
    """Return a note about rasters of earlier runs that are not in the input list."""
    gone = manifest["gone"]
    if not gone:
        return []
    which = f"{', '.join(gone[:SHOWN])}{', ...' * (len(gone) > SHOWN)}"
    fate = "were deleted" if manifest["pruned"] else "are kept (--prune deletes them)"
    outside = ", or outside --aoi" if manifest["inputs"]["aoi"] else ""
    subject = f"{count(len(gone), 'raster')} of earlier runs not among the inputs{outside}"
    return [f"{subject}; results {fate}: {which}"]


def _more_room(manifest: Mapping[str, Any]) -> str:
    """Return advice on how to make room for more instances."""
    if manifest["tiling"]["core_px"] > BLOCK:
        return "pass a smaller --tile"
    return "recreate the bundle with a higher limit per tile"


def _cell(row: Sequence[str], column: int, widths: Sequence[int]) -> str:
    return row[column].ljust(widths[column]) if column < 2 else row[column].rjust(widths[column])
