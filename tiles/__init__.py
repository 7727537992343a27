"""Rasters and geometry: windows, tiles, stitching, polygons. Independent of Beam and of networks.

The names that notebooks need most are exported, and imported on first use.
"""

if __name__ != "terraseam.tiles":
    raise ImportError(
        "import terraseam.tiles instead of tiles: importing both would create every class twice"
    )

from typing import TYPE_CHECKING

from terraseam.lazy import exported

if TYPE_CHECKING:
    from terraseam.tiles.features.features import Feature, FeatureOptions
    from terraseam.tiles.features.geojson import write_geojson
    from terraseam.tiles.grid.lattice import Halo, Lattice
    from terraseam.tiles.grid.window import Window
    from terraseam.tiles.labels.cog import write_label_cog
    from terraseam.tiles.labels.label_raster import LabelRaster, inspect_label_raster
    from terraseam.tiles.labels.stitch import BlendStitcher, CropStitcher, LabelMap, Stitcher
    from terraseam.tiles.measures.confusion import confusion, pixel_figures
    from terraseam.tiles.raster.georef import Georef
    from terraseam.tiles.raster.inspect import RasterError, RasterInfo, inspect_raster
    from terraseam.tiles.raster.regrid import Regrid
    from terraseam.tiles.raster.source import Chip, RasterReadError, RasterSource
    from terraseam.tiles.regions.close import close_regions
    from terraseam.tiles.regions.regions import Regions
    from terraseam.tiles.regions.seams import merge_seams
    from terraseam.tiles.regions.trace import trace_sheet
    from terraseam.tiles.vectors.read import PolygonFile, read_polygons

__all__ = [
    "BlendStitcher",
    "Chip",
    "CropStitcher",
    "Feature",
    "FeatureOptions",
    "Georef",
    "Halo",
    "LabelMap",
    "LabelRaster",
    "Lattice",
    "PolygonFile",
    "RasterError",
    "RasterInfo",
    "RasterReadError",
    "RasterSource",
    "Regions",
    "Regrid",
    "Stitcher",
    "Window",
    "close_regions",
    "confusion",
    "inspect_label_raster",
    "inspect_raster",
    "merge_seams",
    "pixel_figures",
    "read_polygons",
    "trace_sheet",
    "write_geojson",
    "write_label_cog",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = exported(
        __name__,
        {
            "features.features": ("Feature", "FeatureOptions"),
            "features.geojson": ("write_geojson",),
            "grid.lattice": ("Halo", "Lattice"),
            "grid.window": ("Window",),
            "labels.cog": ("write_label_cog",),
            "labels.label_raster": ("LabelRaster", "inspect_label_raster"),
            "labels.stitch": ("BlendStitcher", "CropStitcher", "LabelMap", "Stitcher"),
            "measures.confusion": ("confusion", "pixel_figures"),
            "raster.georef": ("Georef",),
            "raster.inspect": ("RasterError", "RasterInfo", "inspect_raster"),
            "raster.regrid": ("Regrid",),
            "raster.source": ("Chip", "RasterReadError", "RasterSource"),
            "regions.close": ("close_regions",),
            "regions.regions": ("Regions",),
            "regions.seams": ("merge_seams",),
            "regions.trace": ("trace_sheet",),
            "vectors.read": ("PolygonFile", "read_polygons"),
        },
    )
