"""File formats of polygons, one row each; how each is written stands in `terraseam.pipeline.publish.polygons`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PolygonFormat:
    """A file format of polygons.

    Attributes:
        title: What documents call it.
        lonlat: Whether it has the geometry of GeoJSON, in longitude and latitude; else that of the raster's CRS.
        disk: Bytes of disk for each pixel of the polygons of a dense town while they are written.
        is_text: Whether it is text from which a later run reads what changed.
        in_pixels: Whether it can hold columns and rows in place of coordinates on the Earth.
    """

    title: str
    lonlat: bool
    disk: float
    is_text: bool = False
    in_pixels: bool = True


FORMATS: Mapping[str, PolygonFormat] = MappingProxyType(
    {
        "geojson": PolygonFormat("GeoJSON", lonlat=True, disk=0.95, is_text=True),
        "geojsonl": PolygonFormat("GeoJSON, one feature per line", lonlat=True, disk=0.95, is_text=True),
        "fgb": PolygonFormat("FlatGeobuf", lonlat=False, disk=0.75),
        "gpkg": PolygonFormat("GeoPackage", lonlat=False, disk=0.75),
        "parquet": PolygonFormat("GeoParquet 1.1", lonlat=False, disk=0.15),
        "pmtiles": PolygonFormat("vector tiles", lonlat=True, disk=0.75, in_pixels=False),
    }
)
"""Formats by the ending of their files, in the order in which they are listed."""
