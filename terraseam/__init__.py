"""Segment GeoTIFFs of any size, and write label maps and polygons without a visible seam.

`segment`, `plan`, `vectorize`, `train` and `evaluate` do what the commands of those names do, each in a process of its own;
they raise `TerraseamError`, of which `RefusedError` and `FailedError` are kinds. `terraseam.api` holds them. Three packages
lie beside this folder in the repository, which holds links to them: `terraseam.pipeline` composes `terraseam.tiles`
(rasters and geometry) and `terraseam.models` (networks) on Apache Beam.
"""

from typing import TYPE_CHECKING

from terraseam.lazy import exported

if TYPE_CHECKING:
    from terraseam.api.errors import FailedError, RefusedError, TerraseamError
    from terraseam.api.functions import evaluate, plan, segment, train, vectorize
    from terraseam.api.rasters import ClassResult, RasterResult
    from terraseam.api.results import EvaluateResult, PlanResult, SegmentResult, TrainResult, VectorizeResult

__all__ = [
    "ClassResult",
    "EvaluateResult",
    "FailedError",
    "PlanResult",
    "RasterResult",
    "RefusedError",
    "SegmentResult",
    "TerraseamError",
    "TrainResult",
    "VectorizeResult",
    "evaluate",
    "plan",
    "segment",
    "train",
    "vectorize",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = exported(
        __name__,
        {
            "api.errors": ("FailedError", "RefusedError", "TerraseamError"),
            "api.functions": ("evaluate", "plan", "segment", "train", "vectorize"),
            "api.rasters": ("ClassResult", "RasterResult"),
            "api.results": (
                "EvaluateResult",
                "PlanResult",
                "SegmentResult",
                "TrainResult",
                "VectorizeResult",
            ),
        },
    )
