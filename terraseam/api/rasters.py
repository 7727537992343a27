"""What a run has made of each raster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import geopandas
    import pyarrow

Status = Literal["segmented", "vectorized", "left out", "quarantined"]
"""What became of a raster: all of it was done, it could not be used, or some of its sheets could not be."""

LABELS = "labels.tif"
POLYGONS = "polygons."


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class on one raster.

    Attributes:
        name: Its name.
        label: Its label.
        pixels: Pixels that have it.
        share: The same as a share of the pixels that were looked at, 0 to 1.
        polygons: Number of its polygons; None where none were asked for.
        area: Their area, in square metres (in pixels with `pixel_coordinates`); None where none were asked for.
    """

    name: str
    label: int
    pixels: int
    share: float
    polygons: int | None
    area: float | None


@dataclass(frozen=True, slots=True)
class RasterResult:
    """What a run has made of one raster.

    Attributes:
        id: Name of the folder of its results.
        path: The raster, as it was given; of signed addresses without the signature.
        status: What became of it.
        reasons: Why it, or some of its sheets, could not be used, one sentence each.
        label_map: Path of the label map; None where there is none.
        polygon_files: Paths of the polygons by format.
        classes: The classes; empty where the raster was left out, or has too many labels to list.
        scored: Whether polygons have a score.
        regularized: Whether polygons say what `regularize` did to them.
        in_pixels: Whether polygons are in pixels.
    """

    id: str
    path: str
    status: Status
    reasons: tuple[str, ...] = ()
    label_map: str | None = None
    polygon_files: Mapping[str, str] | None = None
    classes: tuple[ClassResult, ...] = ()
    scored: bool = True
    regularized: bool = False
    in_pixels: bool = False

    def polygons(self) -> pyarrow.Table:
        """Read the polygons.

        Returns:
            A row for each polygon: `id`, `class`, `score` (0 to 1, of networks alone), `area_m2` and `perimeter_m` on the
            ellipsoid, `raster`, `touches_edge`, with `regularize` also `regularized` and `area_change`, and `geometry` as
            WKB, of the type ``geoarrow.wkb`` with its CRS: the raster's if GeoParquet was written (or GeoPackage or
            FlatGeobuf and no GeoJSON), else longitude and latitude.

        Raises:
            FileNotFoundError: If the raster has no polygons, or none in a format that holds them as they are.
        """
        from terraseam.tiles.features.arrow_table import polygon_schema, read_polygon_table

        attributes = polygon_schema(
            scored=self.scored, regularized=self.regularized, in_pixels=self.in_pixels
        )
        return read_polygon_table(self.polygon_files or {}, attributes, self.id)

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """Return the polygons as a GeoDataFrame.

        Raises:
            ImportError: If GeoPandas is not installed.
            FileNotFoundError: As `polygons` does.
        """
        try:
            import geopandas
        except ImportError as error:
            raise ImportError(
                "to_geopandas() needs GeoPandas: pip install 'terraseam[geopandas]'", name="geopandas"
            ) from error
        return geopandas.GeoDataFrame.from_arrow(self.polygons())


def raster_results(manifest: Mapping[str, Any], status: Status) -> tuple[RasterResult, ...]:
    """Return what a manifest says of each raster; those that were left out come last.

    Args:
        manifest: The manifest of a run.
        status: The status of rasters of which everything was done.
    """
    settings = manifest["polygons"]
    shared = {
        "scored": status == "segmented",
        "regularized": settings["regularize"],
        "in_pixels": "min_area_px" in settings,
    }
    left_out = [
        RasterResult(raster["id"], raster["path"], "left out", tuple(raster["reasons"]), **shared)
        for raster in manifest.get("left_out", ())
    ]
    return (*(_raster_result(raster, status, shared) for raster in manifest["rasters"]), *left_out)


def _raster_result(raster: Mapping[str, Any], status: Status, shared: Mapping[str, bool]) -> RasterResult:
    failed = [sheet for sheet in raster.get("sheets", ()) if sheet["fate"] == "quarantined"]
    paths = {name: f"{raster['folder'].rstrip('/')}/{name}" for name in raster["files"]}
    polygons = {
        name.removeprefix(POLYGONS): path for name, path in paths.items() if name.startswith(POLYGONS)
    }
    return RasterResult(
        raster["id"],
        raster["path"],
        "quarantined" if failed else status,
        tuple(dict.fromkeys(sheet["failure"] for sheet in failed)),
        paths.get(LABELS),
        polygons,
        tuple(_class_result(name, figures) for name, figures in (raster["classes"] or {}).items()),
        **shared,
    )


def _class_result(name: str, figures: Mapping[str, Any]) -> ClassResult:
    area = figures["polygon_area_px"] if "polygon_area_px" in figures else figures["polygon_area_m2"]
    return ClassResult(name, figures["label"], figures["pixels"], figures["share"], figures["polygons"], area)
