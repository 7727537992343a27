"""Rasters whose results an earlier run has published, and that nothing has changed since.

The record of a raster is written when its files have appeared, and removed before they are replaced. So it tells of
what is there, also when a run is killed between two rasters.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from terraseam.models.engines.profile import EngineError, Profile, execution_profile
from terraseam.pipeline.plan.plan import Plan, RasterPlan, SheetForecast
from terraseam.pipeline.plan.reasons import obstacles
from terraseam.pipeline.segment.content_keys import LABELS_VERSION, plan_recipe
from terraseam.pipeline.segment.known_sheets import KnownSheets
from terraseam.pipeline.segment.prediction_store import StoreError, prediction_store
from terraseam.pipeline.storage import files
from terraseam.pipeline.storage.fingerprint import fingerprint, look_at
from terraseam.pipeline.storage.run_paths import LABELS, POLYGONS, result_folder
from terraseam.pipeline.storage.servers import at_once
from terraseam.pipeline.version import version
from terraseam.tiles.raster.inspect import is_local

RESULTS_VERSION = 2
"""Raised by hand when the published files of unchanged labels can change."""


def foresee(plan: Plan) -> SheetForecast | None:
    """What a run would find done; None where other machines run it. TensorFlow is not asked."""
    profile = local_profile(plan, ask=False)
    if profile is None or not plan.options.runs_here:
        return None
    plan = with_fingerprints(plan, profile)
    known = changed = new = 0
    for number in range(len(plan.rasters)):
        sheets = sum(1 for _ in plan.sheets(number))
        found = sheets if number in plan.kept else min(sheets, _known(plan, number, profile))
        known += found
        if read_publish_record(plan, number) is None:
            new += sheets - found
        else:
            changed += sheets - found
    return SheetForecast(known, changed, new)


def _known(plan: Plan, raster: int, profile: Profile) -> int:
    """How many sheets of a raster need not be read, as an earlier run has left them in the store."""
    if plan.options.force:
        return 0
    store = prediction_store(plan)
    keys = KnownSheets(plan, raster, plan_recipe(plan, profile)).keys(set(plan.sheets(raster)))
    return sum(at_once(lambda key: files.exists(store.path(key)), keys, [plan.options.work_folder]))


def with_fingerprints(plan: Plan, profile: Profile | None) -> Plan:
    """The plan with what the files of its rasters are like now, and those that need no work.

    Args:
        plan: The run.
        profile: What it would be executed with; None where that is not known here, and what ran last counts.
    """

    def seen(raster: RasterPlan) -> RasterPlan:
        seen = look_at(raster.path, raster.files)
        return replace(raster, fingerprint=fingerprint(raster.path, raster.files), seen=seen)

    plan = replace(plan, rasters=tuple(at_once(seen, plan.rasters, [raster.path for raster in plan.rasters])))
    numbers = range(len(plan.rasters)) if not plan.options.force else ()
    return replace(
        plan, kept=frozenset(number for number in numbers if _is_published_as_planned(plan, number, profile))
    )


def fingerprints_now(plan: Plan, *, ask: bool = True) -> Plan:
    """The plan with what its rasters are like now, and those that need no work where it is run; see `local_profile`."""
    return with_fingerprints(plan, local_profile(plan, ask=ask) if plan.options.runs_here else None)


def is_to_do(plan: Plan) -> bool:
    """Whether anything is to be written, or removed, of a plan that was looked at."""
    return bool(plan.open_rasters() or (plan.options.prune and removed_rasters(plan)))


def obstacles_left(plan: Plan) -> list[str]:
    """Why what is to be done of a plan that was looked at cannot be written."""
    return obstacles(plan) if plan.obstacles and is_to_do(plan) else []


def local_profile(plan: Plan, *, ask: bool = True) -> Profile | None:
    """The execution profile of this machine; None where its engine is missing.

    Args:
        plan: The run.
        ask: Whether TensorFlow may be imported, to ask it about a GPU; else one that may be there counts.
    """
    options = plan.options
    try:
        return execution_profile(options.batch_size, plan.engine, options.precision, ask=ask)
    except EngineError:
        return None


def settings_digest(plan: Plan, raster: int) -> str | None:
    """A digest of all that the results of a raster hang on but the execution profile; None where that is not known."""
    planned = plan.rasters[raster]
    if planned.fingerprint is None:
        return None
    settings = {
        "versions": [LABELS_VERSION, RESULTS_VERSION, version()],
        "raster": [planned.id, planned.fingerprint, planned.bands, asdict(planned.georef), planned.area],
        "scores": plan.score_fields(),
        "tiling": [plan.core, plan.halo.sides, plan.stitch],
        "card": [plan.card.name, plan.card.version, plan.card.fill],
        "classes": [[info.name, info.color] for info in plan.card.classes],
        "polygons": [asdict(plan.options.polygons), plan.polygon_labels()],
        "compress": plan.options.compress,
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def write_publish_record(
    plan: Plan, raster: int, described: Mapping[str, Any], entry: Mapping[str, Any]
) -> None:
    """Record that a raster's results are published.

    Args:
        plan: The run.
        raster: Number of the raster in the plan.
        described: SHA-256 and size of each file, by name.
        entry: What the manifest says of the raster.
    """
    settings = settings_digest(plan, raster)
    if settings is not None:
        marks = _marks(plan.rasters[raster])
        record = {"settings": settings, "marks": marks, "files": described, "entry": entry}
        files.write_json(publish_record_path(plan, plan.rasters[raster].id), record)


def forget_publish_record(plan: Plan, raster: int) -> None:
    """Remove the record of a raster, whose files are about to be replaced."""
    files.remove(publish_record_path(plan, plan.rasters[raster].id))


def read_publish_record(plan: Plan, raster: int) -> dict[str, Any] | None:
    """The record of a raster; None where there is none that can be read."""
    return read_record(publish_record_path(plan, plan.rasters[raster].id))


def read_record(path: str) -> dict[str, Any] | None:
    """A record of a published raster; None where there is none that can be read."""
    try:
        return dict(orjson.loads(files.read_bytes(path))) if files.exists(path) else None
    except (orjson.JSONDecodeError, OSError):
        return None


def _is_published_as_planned(plan: Plan, raster: int, profile: Profile | None) -> bool:
    """Whether all that an earlier run published of a raster is there, and is what this one would publish."""
    record, settings = read_publish_record(plan, raster), settings_digest(plan, raster)
    if record is None or settings is None or record["settings"] != settings:
        return False
    # Records that are older than marks have none: such rasters are read once more.
    if record.get("marks") != _marks(plan.rasters[raster]):
        return False
    entry = record["entry"]
    ran = {json.dumps(sheet["profile"], sort_keys=True) for sheet in entry["sheets"]}
    same = profile is None or ran == {json.dumps(profile.to_json(), sort_keys=True)}
    folder = result_folder(plan.options.output, plan.rasters[raster].id)
    return same and entry["folder"] == folder and _published(folder, record["files"])


def _marks(planned: RasterPlan) -> list[str] | None:
    """What tells the files of a raster from others of the same sizes and times; None of those on servers."""
    return list(planned.seen.marks) if planned.seen is not None else None


def stands(plan: Plan, raster: int, described: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an earlier run has published just these files of a raster, by SHA-256 and size, and they are there."""
    record = read_publish_record(plan, raster)
    folder = result_folder(plan.options.output, plan.rasters[raster].id)
    if record is None or record["files"] != described or record["entry"]["folder"] != folder:
        return False
    return _published(folder, record["files"])


def removed_rasters(plan: Plan) -> dict[str, dict[str, Any]]:
    """Rasters of earlier runs that are not among those of this one: their records, by their ids."""
    present = {*(raster.id for raster in plan.rasters), *(raster.id for raster in plan.left_out)}
    names = (name.removesuffix(".json") for name in files.names(publish_record_folder(plan)))
    found = {
        name: read_record(files.join(publish_record_folder(plan), f"{name}.json"))
        for name in names
        if name not in {*present, "", ".", ".."}
    }
    return {name: record for name, record in found.items() if record is not None}


def prune(plan: Plan, gone: Mapping[str, Mapping[str, Any]]) -> None:
    """Remove the results of rasters; files that somebody else has put beside them, or into their records, stay."""
    for name, record in gone.items():
        folder = result_folder(plan.options.output, name)
        for file in sorted({LABELS, *POLYGONS.values()} & set(record.get("files", ()))):
            files.remove(files.join(folder, file))
        files.remove_empty(folder)
        files.remove(publish_record_path(plan, name))


def unchanged_entry(plan: Plan, raster: int) -> dict[str, Any]:
    """What the manifest says of a raster that a run leaves as it is.

    Raises:
        StoreError: If its record has gone since the run began.
    """
    record = read_publish_record(plan, raster)
    if record is None:
        raise StoreError(
            f"{publish_record_path(plan, plan.rasters[raster].id)} is missing; run the same command again"
        )
    entry = record["entry"]
    idle = {"fate": "reused", "tiles": 0, "attempts": 1}
    sheets = [{**sheet, **idle, "seconds": dict.fromkeys(sheet["seconds"], 0.0)} for sheet in entry["sheets"]]
    return {**entry, "sheets": sheets, "kept": True, "publish_seconds": 0.0}


def _published(folder: str, described: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether the files of a raster are those that were published: to the byte on this machine, else their sizes."""
    if not is_local(folder):
        sizes = files.sizes(folder)
        return all(sizes.get(name) == file["bytes"] for name, file in described.items())
    for name, file in described.items():
        path = Path(folder) / name
        if not path.is_file() or path.stat().st_size != file["bytes"]:
            return False
        with path.open("rb") as opened:
            if hashlib.file_digest(opened, "sha256").hexdigest() != file["sha256"]:
                return False
    return True


def publish_record_path(plan: Plan, raster_id: str) -> str:
    """The record of a raster whose results are published."""
    return files.join(publish_record_folder(plan), f"{raster_id}.json")


def publish_record_folder(plan: Plan) -> str:
    """Where the records of published rasters are: beside the results, since they tell of them."""
    return files.join(plan.options.output, ".done")
