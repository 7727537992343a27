"""Where a run keeps what it needs between stages, and where results go."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from pipeline import files
from pipeline.plan import Plan


@dataclass(frozen=True)
class RunFolder:
    """Names of the intermediate files of one run; they are removed when it ends.

    Attributes:
        path: The folder.
    """

    path: str

    @classmethod
    def of(cls, plan: Plan) -> RunFolder:
        """The run folder of a plan: the same job always has the same."""
        job = json.dumps([plan.options.output, plan.options.model, [raster.path for raster in plan.rasters]])
        name = hashlib.sha256(job.encode()).hexdigest()[:12]
        return cls(files.join(plan.options.work_folder, "runs", name))

    def sheet_done(self, raster: int, row: int, col: int) -> str:
        """The record of a sheet that the first half has finished."""
        return files.join(self.path, "sheets", f"{raster}_{row}_{col}.json")

    def closed_features(self, raster: int, row: int, col: int) -> str:
        """Features of a sheet that touch no seam."""
        return files.join(self.path, "closed", f"{raster}_{row}_{col}.features")

    def fragments(self, raster: int, row: int, col: int) -> str:
        """Fragments of a sheet that touch a seam."""
        return files.join(self.path, "open", f"{raster}_{row}_{col}.fragments")

    def joined_features(self, raster: int, row: int, col: int) -> str:
        """Features across seams whose first pixel lies in a sheet."""
        return files.join(self.path, "joined", f"{raster}_{row}_{col}.features")


def result_folder(plan: Plan, raster: int) -> str:
    """Where the results of a raster go."""
    return files.join(plan.options.output, plan.rasters[raster].id)


def manifest_path(plan: Plan) -> str:
    """The record of the run."""
    return files.join(plan.options.output, "manifest.json")
