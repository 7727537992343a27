"""Find the rasters whose results an earlier run has published and that have not changed since.

The record of a raster is written when its files are published, and removed before they are replaced. So it is true
even if a run is killed between two rasters.
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
from terraseam.pipeline.storage.fingerprint import fingerprint, read_file_states
from terraseam.pipeline.storage.run_paths import LABELS, POLYGONS, PUBLISHED, result_folder
from terraseam.pipeline.storage.servers import at_once
from terraseam.pipeline.version import version
from terraseam.tiles.raster.inspect import is_local

RESULTS_VERSION = 2
"""Increased by hand when the published files of unchanged labels can change."""


def foresee(plan: Plan) -> SheetForecast | None:
    """Forecast which sheets a run would process, without TensorFlow; None if it runs on other machines."""
    profile = local_profile(plan, ask=False)
    if profile is None or not plan.options.runs_here:
        return None
    plan = with_fingerprints(plan, profile)
    known = changed = new = 0
    for number in range(len(plan.rasters)):
        sheets = sum(1 for _ in plan.sheets(number))
        known_sheets = sheets if number in plan.unchanged else min(sheets, _known(plan, number, profile))
        known += known_sheets
        if read_publish_record(plan, number) is None:
            new += sheets - known_sheets
        else:
            changed += sheets - known_sheets
    return SheetForecast(known, changed, new)


def _known(plan: Plan, raster: int, profile: Profile) -> int:
    """Return how many sheets of a raster need not be read because an earlier run left them in the store."""
    if plan.options.force:
        return 0
    store = prediction_store(plan)
    keys = KnownSheets(plan, raster, plan_recipe(plan, profile)).keys(set(plan.sheets(raster)))
    return sum(at_once(lambda key: files.exists(store.path(key)), keys, [plan.options.work_folder]))


def with_fingerprints(plan: Plan, profile: Profile | None) -> Plan:
    """Add to a plan the current state of its rasters' files, and the rasters that need no work.

    Args:
        plan: The run.
        profile: Its execution profile; None if unknown here, so that any profile of the last run is accepted.
    """

    def fingerprinted(raster: RasterPlan) -> RasterPlan:
        state = read_file_states(raster.path, raster.files)
        return replace(raster, fingerprint=fingerprint(raster.path, raster.files), file_states=state)

    plan = replace(
        plan, rasters=tuple(at_once(fingerprinted, plan.rasters, [raster.path for raster in plan.rasters]))
    )
    numbers = range(len(plan.rasters)) if not plan.options.force else ()
    return replace(
        plan,
        unchanged=frozenset(number for number in numbers if _is_published_as_planned(plan, number, profile)),
    )


def fingerprints_now(plan: Plan, *, ask: bool = True) -> Plan:
    """Add the state of its rasters to a plan as `with_fingerprints` does, with the profile of `local_profile`."""
    return with_fingerprints(plan, local_profile(plan, ask=ask) if plan.options.runs_here else None)


def is_to_do(plan: Plan) -> bool:
    """Return whether a plan with fingerprints has anything to write or remove."""
    return bool(plan.open_rasters() or (plan.options.prune and removed_rasters(plan)))


def obstacles_left(plan: Plan) -> list[str]:
    """Return why a plan with fingerprints cannot write what it has to do."""
    return obstacles(plan) if plan.obstacles and is_to_do(plan) else []


def local_profile(plan: Plan, *, ask: bool = True) -> Profile | None:
    """Return the execution profile of this machine; None if its engine is missing.

    Args:
        plan: The run.
        ask: Whether TensorFlow may be imported to look for a GPU; if not, a GPU that may be present is assumed.
    """
    options = plan.options
    try:
        return execution_profile(
            options.batch_size, plan.engine, options.precision, converted=plan.converted(), ask=ask
        )
    except EngineError:
        return None


def settings_digest(plan: Plan, raster: int) -> str | None:
    """Hash everything that determines a raster's results, except the execution profile; None if unknown."""
    planned = plan.rasters[raster]
    if planned.fingerprint is None:
        return None
    settings = {
        "versions": [LABELS_VERSION, RESULTS_VERSION, version()],
        "raster": [planned.id, planned.fingerprint, planned.bands, asdict(planned.georef), planned.area],
        "scores": plan.score_fields,
        "tiling": [plan.core, plan.halo.sides, plan.stitch, *([] if plan.cut is None else [plan.cut])],
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
        entry: The manifest entry of the raster.
    """
    settings = settings_digest(plan, raster)
    if settings is not None:
        marks = _marks(plan.rasters[raster])
        record = {"settings": settings, "marks": marks, "files": described, "entry": entry}
        files.write_json(publish_record_path(plan, plan.rasters[raster].id), record)


def forget_publish_record(plan: Plan, raster: int) -> None:
    """Delete the record of a raster whose files are about to be replaced."""
    files.remove(publish_record_path(plan, plan.rasters[raster].id))


def read_publish_record(plan: Plan, raster: int) -> dict[str, Any] | None:
    """Read the record of a raster; None if it is missing or damaged."""
    return read_record(publish_record_path(plan, plan.rasters[raster].id))


def read_record(path: str) -> dict[str, Any] | None:
    """Read a publish record; None if it is missing or damaged."""
    try:
        return dict(orjson.loads(files.read_bytes(path))) if files.exists(path) else None
    except (orjson.JSONDecodeError, OSError):
        return None


def _is_published_as_planned(plan: Plan, raster: int, profile: Profile | None) -> bool:
    """Return whether all results of a raster from an earlier run exist, and are those that this run would publish."""
    record = read_publish_record(plan, raster)
    settings = None if record is None else settings_digest(plan, raster)
    if record is None or settings is None or record["settings"] != settings:
        return False
    # Records of earlier versions have no marks: such rasters are read once more.
    if record.get("marks") != _marks(plan.rasters[raster]):
        return False
    entry = record["entry"]
    ran = {json.dumps(sheet["profile"], sort_keys=True) for sheet in entry["sheets"]}
    same = profile is None or ran == {json.dumps(profile.to_json(), sort_keys=True)}
    folder = result_folder(plan.options.output, plan.rasters[raster].id)
    return same and entry["folder"] == folder and _published(folder, record["files"])


def _marks(planned: RasterPlan) -> list[str] | None:
    """Return digests that distinguish a raster's files from others of the same sizes and times; None if remote."""
    return list(planned.file_states.marks) if planned.file_states is not None else None


def stands(plan: Plan, raster: int, described: Mapping[str, Mapping[str, Any]]) -> bool:
    """Return whether an earlier run published exactly these files (SHA-256 and size), and they still exist."""
    record = read_publish_record(plan, raster)
    folder = result_folder(plan.options.output, plan.rasters[raster].id)
    if record is None or record["files"] != described or record["entry"]["folder"] != folder:
        return False
    return _published(folder, record["files"])


def removed_rasters(plan: Plan) -> dict[str, dict[str, Any]]:
    """Return the records of rasters of earlier runs that are not in this one, by raster id."""
    present = {*(raster.id for raster in plan.rasters), *(raster.id for raster in plan.left_out)}
    names = (name.removesuffix(".json") for name in files.names(publish_record_folder(plan)))
    records = {
        name: read_record(files.join(publish_record_folder(plan), f"{name}.json"))
        for name in names
        if name not in {*present, "", ".", ".."}
    }
    return {name: record for name, record in records.items() if record is not None}


def prune(plan: Plan, gone: Mapping[str, Mapping[str, Any]]) -> None:
    """Delete the results of rasters, but no other files in their folders or named in their records."""
    for name, record in gone.items():
        folder = result_folder(plan.options.output, name)
        for file in sorted({LABELS, *POLYGONS.values()} & set(record.get("files", ()))):
            files.remove(files.join(folder, file))
        files.remove_empty(folder)
        files.remove(publish_record_path(plan, name))


def unchanged_entry(plan: Plan, raster: int) -> dict[str, Any]:
    """Return the manifest entry of a raster that a run leaves unchanged.

    Raises:
        StoreError: If its record has been deleted since the run began.
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
    """Return whether a raster's files are those published: by checksum on this machine, by size elsewhere."""
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
    """Return the file of the publish record of a raster."""
    return files.join(publish_record_folder(plan), f"{raster_id}.json")


def publish_record_folder(plan: Plan) -> str:
    """Return the folder of publish records, which is beside the results that they describe."""
    return files.join(plan.options.output, PUBLISHED)
