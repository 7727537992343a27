"""Plans and results in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.infer import calls_at_once
from pipeline.plan import Plan
from tiles.lattice import Halo, Lattice

BASE_MEMORY = 1.0e9
"""What TensorFlow, Beam and GDAL take before the first tile, in bytes; see benchmarks/README.md."""


SHOWN = 10
"""Rasters that are named before the rest is counted."""


def describe_plan(plan: Plan) -> str:
    """The plan for people to read."""
    lattice = plan.lattice(0)
    height, width = lattice.chip_shape
    at_once = calls_at_once(plan.chip_memory(), workers=1)
    lines = [
        f"{raster.id}: {_raster_line(plan, number)}" for number, raster in enumerate(plan.rasters[:SHOWN])
    ]
    if len(plan.rasters) > SHOWN:
        lines.append(f"and {count(len(plan.rasters) - SHOWN, 'more raster')}")
    lines += [
        "",
        f"network   {plan.card.name} {plan.card.version} ({_architecture(plan)}), "
        f"classes {', '.join(info.name for info in plan.card.classes)}",
        f"work      {plan.pixels() / 1e6:.1f} Mpx in {count(plan.sheet_count(), 'sheet')}, "
        f"{count(plan.tile_count(), 'tile')}",
        f"tiles     core {plan.core} px, halo {plan.halo}, read {height} x {width} px: "
        f"{lattice.computed_share():.2f} pixels computed for each of the raster's",
        f"exact     {exactness(plan)}",
    ]
    cheaper = _cheaper(plan, lattice)
    if cheaper:
        lines.append(f"cheaper   {cheaper}")
    lines += [
        f"memory    about {(BASE_MEMORY + at_once * plan.chip_memory()) / 1e9:.1f} GB on this machine, "
        f"with {count(at_once, 'tile')} of {plan.chip_memory() / 1e9:.1f} GB at once",
        f"disk      {plan.disk() / 1e9:.2f} GB or less, in {plan.options.work_folder} and {plan.options.output}",
    ]
    return "\n".join([*lines, *_notes(plan)])


def exactness(plan: Plan) -> str:
    """How the label map relates to inference on the whole raster, in a sentence."""
    if plan.exact:
        return "yes: labels equal inference on the whole mirrored raster, whatever tile and sheet size"
    if plan.card.reach is None:
        return "no: the network has no finite reach; labels depend on --tile and --halo, never on sheets or workers"
    return "no: labels depend on --tile and --halo, never on sheets or workers"


def plan_json(plan: Plan) -> dict[str, Any]:
    """The plan for programs to read."""
    lattice = plan.lattice(0)
    return {
        "model": {"name": plan.card.name, "version": plan.card.version, "bundle": plan.bundle},
        "rasters": [
            {
                "id": raster.id,
                "path": raster.path,
                "height": raster.georef.height,
                "width": raster.georef.width,
                "gsd_m": raster.georef.gsd(),
                "bands": raster.bands,
                "sheets": list(plan.lattice(number).sheet_shape),
                "tiles": list(plan.lattice(number).shape),
            }
            for number, raster in enumerate(plan.rasters)
        ],
        "pixels": plan.pixels(),
        "sheets": plan.sheet_count(),
        "tiles": plan.tile_count(),
        "core_px": plan.core,
        "halo_px": dict(zip(("top", "bottom", "left", "right"), plan.halo.sides, strict=True)),
        "sheet_px": plan.core * plan.sheet_cores,
        "stitch": plan.stitch,
        "exact": plan.exact,
        "exactness": exactness(plan),
        "computed_share": lattice.computed_share(),
        "tile_memory_bytes": plan.chip_memory(),
        "disk_bytes": plan.disk(),
        "notes": list(plan.notes),
    }


def _raster_line(plan: Plan, number: int) -> str:
    raster = plan.rasters[number]
    rows, cols = plan.lattice(number).sheet_shape
    bands = ", ".join(map(str, raster.bands))
    georef = raster.georef
    return (
        f"{georef.width} x {georef.height} px, {georef.gsd():.4g} m/px, bands {bands}, "
        f"{rows} x {cols} sheets ({raster.path})"
    )


def _architecture(plan: Plan) -> str:
    encoder = f" on {plan.card.encoder}" if plan.card.encoder else ""
    return f"{plan.card.architecture}{encoder}, stride {plan.card.stride}"


def _cheaper(plan: Plan, lattice: Lattice) -> str | None:
    """The cheaper inexact choice, where there is one."""
    if not plan.exact:
        return None
    side = max(plan.halo.sides) // 2 // plan.card.stride * plan.card.stride
    smaller = Lattice(
        lattice.height, lattice.width, lattice.core, Halo(side, side, side, side), lattice.sheet_cores
    )
    if smaller.computed_share() > 0.98 * lattice.computed_share():
        return None
    return (
        f"--halo {side} computes {smaller.computed_share():.2f} pixels for each, "
        "but labels near the lines between tiles may differ from the whole raster's"
    )


def _notes(plan: Plan) -> list[str]:
    return [""] * bool(plan.notes) + list(plan.notes)


def describe_results(manifest: Mapping[str, Any]) -> str:
    """What a run found and where it is, as a short table."""
    rows: list[Sequence[str]] = [("raster", "class", "share", "polygons", "area")]
    for raster in manifest["rasters"]:
        for name, found in raster["classes"].items():
            polygons = f"{found['polygons']:,}" if found["polygons"] is not None else "-"
            area = format_area(found["polygon_area_m2"]) if found["polygons"] is not None else "-"
            rows.append((raster["id"], name, f"{found['share']:.1%}", polygons, area))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    table = ["  ".join(_cell(row, i, widths) for i in range(len(row))).rstrip() for row in rows]
    totals = manifest["counts"]
    folders = [raster["folder"] for raster in manifest["rasters"]]
    where = [f"  {folder}/{{labels.tif, polygons.geojson}}" for folder in folders[:SHOWN]]
    if len(folders) > SHOWN:
        where.append(f"  and {count(len(folders) - SHOWN, 'more folder')} beside them")
    return "\n".join(
        [
            *table,
            "",
            f"{count(totals['sheets'], 'sheet')}: {totals['sheets_inferred']} inferred, {totals['sheets_reused']} from the "
            f"store; {count(totals['tiles_inferred'], 'tile')}; {manifest['seconds']['total']:.1f} s",
            *where,
        ]
    )


def _cell(row: Sequence[str], column: int, widths: Sequence[int]) -> str:
    return row[column].ljust(widths[column]) if column < 2 else row[column].rjust(widths[column])


def count(number: int, noun: str) -> str:
    """A number of things, such as ``1 sheet`` or ``64 sheets``."""
    return f"{number} {noun}" if number == 1 else f"{number:,} {noun}s"


def format_area(square_metres: float) -> str:
    """An area in the unit that suits it."""
    if square_metres >= 1e6:
        return f"{square_metres / 1e6:,.1f} km²"
    if square_metres >= 1e4:
        return f"{square_metres / 1e4:,.1f} ha"
    return f"{square_metres:,.0f} m²"
