"""Check options, folders and resources of a run; every reason why it cannot succeed is one sentence."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from terraseam.models.bundle.card import Card
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.plan.memory import memory_reasons
from terraseam.pipeline.plan.polygons import (
    instance_reasons,
    sight_reasons,
    simplify_reasons,
    unknown_class_reasons,
)
from terraseam.pipeline.plan.storage_reasons import unfit, writing_reasons
from terraseam.pipeline.plan.workers import machine_reasons
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.disk_errors import nearest_existing
from terraseam.pipeline.units import format_bytes, format_gsd
from terraseam.tiles.labels.cog import BLOCK
from terraseam.tiles.raster.georef import Georef
from terraseam.tiles.raster.inspect import RasterInfo, is_local

if TYPE_CHECKING:
    from terraseam.pipeline.plan.plan import Plan

BYTE_RANGE = 255

NAME_ROOM = 39
"""Bytes that file names need beyond the name of their raster."""

PATH_ROOM = 300
"""Bytes that file paths need beyond the path of their folder."""


def border_reasons(options: SegmentOptions, rasters: Sequence[tuple[str, Georef]]) -> list[str]:
    """Return why sheets see too little of their neighbours for simplifying and regularizing borders."""
    side = options.core * options.sheet_cores
    return simplify_reasons(options.simplify, rasters, side) + sight_reasons(options, rasters, side)


def network_reasons(options: SegmentOptions, card: Card) -> list[str]:
    """Return which options do not fit the network."""
    reasons = unknown_class_reasons(options.classes, [info.name for info in card.classes], card.name)
    reasons += geometry_reasons(options, card)
    return reasons + (instance_reasons(options) if card.task == "instances" else [])


def geometry_reasons(options: SegmentOptions, card: Card) -> list[str]:
    """Return the reason if the core is not a multiple of both block and stride."""
    core = options.core
    step = math.lcm(BLOCK, card.stride)
    if core % step == 0:
        return []
    below, above = core // step * step, -(-core // step) * step
    choice = f"{below} or {above}" if below else f"{above}"
    return [
        f"--tile {core} is not a multiple of {step} px (blocks of {BLOCK} px, and a stride of {card.stride} px "
        f"of {card.name}); pass --tile {choice}"
    ]


def gsd_reasons(path: str, gsd: float, cards: Sequence[Card], resampled: bool) -> list[str]:
    """Return a reason for each network trained at a GSD other than the raster's, native or resampled."""
    remedy = (
        "--resample uses one GSD for all networks, but theirs differ too much"
        if resampled
        else "pass --resample to read it at that GSD, or --any-gsd to use it as it is"
    )
    has = "would have" if resampled else "has"
    return [
        f"{path} {has} a GSD of {format_gsd(gsd)}, but {card.name} {card.version} was trained at "
        f"{_trained_at(card)}; {remedy}"
        for card in cards
        if not card.gsd_matches(gsd)
    ]


def _trained_at(card: Card) -> str:
    return " to ".join(format_gsd(end) for end in _gsd_ends(card))


def _gsd_ends(card: Card) -> tuple[float, ...]:
    """Return the GSD on a card, or its minimum and maximum."""
    return tuple(map(float, card.gsd)) if isinstance(card.gsd, tuple) else (float(card.gsd),)


def place_reasons(options: SegmentOptions, results: Iterable[str]) -> list[str]:
    """Return a reason for each output, work or results folder that cannot exist at its path.

    Args:
        options: The options of the run.
        results: Folders of results.
    """
    reasons = [place_reason(option, folder) for option, folder in _named(options)]
    if not any(reasons):
        reasons += [_name_reason(folder) or _there(place_reason, folder) for folder in results]
    return [reason for reason in reasons if reason]


def unwritable_reasons(options: SegmentOptions, results: Iterable[str]) -> list[str]:
    """Return a reason for each local folder that is not writable; see `place_reasons`."""
    reasons = [unwritable_reason(option, folder) for option, folder in _named(options)]
    if not any(reasons):
        reasons += [_there(unwritable_reason, folder) for folder in results]
    return [reason for reason in reasons if reason]


def _named(options: SegmentOptions) -> list[tuple[str, str]]:
    """Return the folders that the user named, each with its option."""
    named = (("--output", options.output), ("--work", options.work))
    return [(option, folder) for option, folder in named if folder is not None]


def _there(reason: Callable[[str, str], str | None], folder: str) -> str | None:
    """Apply a check to a folder of results if it exists, even as a dangling link; else return None."""
    return reason("the results folder", folder) if os.path.lexists(folder) else None


def result_reasons(folders: Iterable[str]) -> list[str]:
    """Return a reason for each folder of results that cannot be created or written."""
    reasons = (_name_reason(folder) or _there(folder_reason, folder) for folder in folders)
    return [reason for reason in reasons if reason]


def _name_reason(folder: str) -> str | None:
    """Return the reason if the name of a folder of results is too long for its filesystem; else None."""
    if not is_local(folder):
        return None
    try:
        most = os.pathconf(nearest_existing(Path(folder).parent), "PC_NAME_MAX") - NAME_ROOM
    except (OSError, ValueError):
        return None
    name = os.fsencode(Path(folder).name)
    if len(name) <= most:
        return None
    return (
        f"the results folder {folder} cannot be created: its name has {len(name)} bytes, but the filesystem allows {most}; "
        "give the raster a shorter name"
    )


def folder_reason(what: str, folder: str) -> str | None:
    """Return why a folder cannot be created or written; None if it can."""
    return place_reason(what, folder) or unwritable_reason(what, folder)


def place_reason(what: str, folder: str) -> str | None:
    """Return why a folder cannot exist at its path; None if it can."""
    if not is_local(folder):
        return unfit(what, folder)
    path = Path(folder).absolute()
    try:
        lost = next((place for place in (path, *path.parents) if is_lost_link(place)), None)
        if lost is not None:
            return (
                f"{what} {folder} cannot be a folder: {lost} is a link to {lost.readlink()}, which does not "
                "exist; create that folder, or remove the link"
            )
        nearest = nearest_existing(path)
        length, most = len(os.fsencode(path)), os.pathconf(nearest, "PC_PATH_MAX")
    except OSError as error:
        return f"{what} {folder} cannot be a folder: {error.strerror}"
    if length + PATH_ROOM > most:
        return (
            f"{what} {folder} is too long for a path: it has {length} bytes, but at most {most - PATH_ROOM} can be used; "
            "choose a shorter one"
        )
    if not nearest.is_dir():
        kind = "a link to a file" if nearest.is_symlink() else "a file"
        return f"{what} {folder} cannot be a folder: {nearest} is {kind}"
    return None


def is_lost_link(path: Path) -> bool:
    """Return whether a path is a dangling or circular link."""
    return path.is_symlink() and not path.exists()


def unwritable_reason(what: str, folder: str) -> str | None:
    """Return why a local folder, which need not exist yet, is not writable; None if it is or its path is invalid."""
    if not is_local(folder) or place_reason(what, folder):
        return None
    nearest = nearest_existing(Path(folder))
    if not os.access(nearest, os.W_OK | os.X_OK):
        cause = (
            "no permission in" if not os.statvfs(nearest).f_flag & os.ST_RDONLY else "read-only filesystem at"
        )
        return f"{what} {folder} cannot be written: {cause} {nearest}"
    if os.statvfs(nearest).f_blocks == 0:
        return _refused(what, folder, nearest)
    return None


def _refused(what: str, folder: str, nearest: Path) -> str | None:
    """Return why a filesystem without size, such as ``/proc``, refuses a new folder; found by creating one."""
    try:
        Path(tempfile.mkdtemp(dir=nearest)).rmdir()
    except OSError as error:
        return f"{what} {folder} cannot be written: no folder can be created in {nearest} ({error.strerror})"
    return None


def resource_reasons(plan: Plan) -> list[str]:
    """Return a reason for each lack of memory, here or on the machines of workers."""
    return [*memory_reasons(plan), *machine_reasons(plan)]


def obstacles(plan: Plan) -> list[str]:
    """Return why results cannot be written: folders that are not writable, or too little disk space."""
    options = plan.options
    folders = [files.join(options.output, raster.id) for raster in plan.rasters]
    reasons = unwritable_reasons(options, folders) or writing_reasons(options.output, options.work)
    return reasons or disk_reasons(plan)


def disk_reasons(plan: Plan) -> list[str]:
    """Return a reason for each disk with too little free space; folders on one disk share it."""
    needs: dict[int, tuple[Path, int]] = {}
    for folder, need in (
        (plan.options.output, plan.output_disk()),
        (plan.options.work_folder, plan.work_disk()),
    ):
        if is_local(folder):
            nearest = nearest_existing(Path(folder))
            place, more = needs.get(nearest.stat().st_dev, (nearest, 0))
            needs[nearest.stat().st_dev] = place, more + need
    reasons = []
    for place, need in needs.values():
        total, _, free = shutil.disk_usage(place)
        if total and need > free:
            reasons.append(
                f"the run needs about {format_bytes(need)} of disk{_most_of_it(plan, need)}, and {format_bytes(free)} "
                f"are free at {place}; free some space, or choose other disks with --output and --work"
            )
    return reasons


def _most_of_it(plan: Plan, need: int) -> str:
    """Return a parenthesis on the raster that needs most of the disk, as a total would hide one of wrong size."""
    raster, share = plan.largest_share()
    grid = raster.georef
    size = f"{grid.height:,} x {grid.width:,} px"
    if raster.regrid is not None:
        size = f"{size} after resampling"
    takes = "" if len(plan.open_rasters()) == 1 else f" takes {format_bytes(share * need)} of it:"
    return f" ({raster.path}{takes} {size})"


def sample_notes(infos: Sequence[RasterInfo], cards: Iterable[Card]) -> list[str]:
    """Return notes on rasters whose samples may lie outside the range a network was trained on."""
    return [note for card in cards for note in _sample_notes(infos, card)]


def _sample_notes(infos: Iterable[RasterInfo], card: Card) -> list[str]:
    scaling = card.scaling
    ends = [
        (side - offset) / scale
        for scale, offset in zip(scaling.scale, scaling.offset, strict=True)
        if scale
        for side in (-1, 1)
    ]
    if not ends:
        return []
    low, high = min(ends), max(ends)
    by_type: dict[str, list[str]] = {}
    for info in infos:
        if info.dtype != "uint8" or high > 2 * BYTE_RANGE:
            by_type.setdefault(info.dtype, []).append(info.path)
    return [
        f"{paths[0]}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}: samples are {dtype}, but "
        f"{card.name} was trained on values of about {low:.4g} to {high:.4g}; if the raster's range differs, scale it first "
        "(gdal_translate -scale)"
        for dtype, paths in by_type.items()
    ]
