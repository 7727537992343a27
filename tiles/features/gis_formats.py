"""Write features as tables for GIS: FlatGeobuf, GeoPackage and GeoParquet, in the given order."""

from __future__ import annotations

import errno
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyogrio
import pyproj
import shapely
from pyarrow import parquet

from terraseam.tiles.features.arrow_table import polygon_schema
from terraseam.tiles.features.features import Feature
from terraseam.tiles.raster.ground import Ground, PixelPlane

BATCH = 4096
"""Number of features held at once."""

ROW_GROUP = 16 * BATCH
"""Number of features in a row group of a GeoParquet file."""

LAYER = "polygons"

_PINNED_DATE = "2000-01-01T00:00:00.000Z"
"""Date of last change in a GeoPackage, fixed so that equal features give equal bytes."""

_GEOPACKAGE = "1.3"
"""The newest version that GDAL 3.6 reads without a warning."""

_DATE_PINNED = threading.Lock()
"""GDAL has one date for all threads: while one thread writes, no other may reset it."""

WKB = pyarrow.field("geometry", pyarrow.binary(), metadata={"ARROW:extension:name": "geoarrow.wkb"})
_BBOX = pyarrow.struct([(side, pyarrow.float64()) for side in ("xmin", "ymin", "xmax", "ymax")])


@dataclass(frozen=True, slots=True)
class Table:
    """Properties common to all features of a table.

    Attributes:
        georef: The surface that their raster lies on; its CRS is that of their geometries.
        geometry_type: ``Polygon``, or ``MultiPolygon`` for all.
        regularized: Whether features have the properties of regularization.
        scored: Whether features have a score.
    """

    georef: Ground
    geometry_type: str
    regularized: bool = False
    scored: bool = True

    @property
    def attributes(self) -> pyarrow.Schema:
        """Its columns except the geometry."""
        return polygon_schema(
            scored=self.scored,
            regularized=self.regularized,
            in_pixels=isinstance(self.georef, PixelPlane),
        )

    @property
    def crs(self) -> pyproj.CRS:
        """The CRS of the geometries."""
        return pyproj.CRS.from_user_input(self.georef.crs)


def write_flatgeobuf(path: Path, features: Iterable[Feature], table: Table) -> None:
    """Write a FlatGeobuf file with a spatial index, for which features are sorted along a space-filling curve."""
    _write_table(path, features, table, "FlatGeobuf", {})


def write_geopackage(path: Path, features: Iterable[Feature], table: Table) -> None:
    """Write a GeoPackage with one layer and a spatial index.

    Raises:
        OSError: If the disk has no space for the index.
        RuntimeError: If GDAL uses an SQLite without R-tree, as when TensorFlow was loaded before pyogrio.
    """
    _write_table(path, features, table, "GPKG", {"VERSION": _GEOPACKAGE})
    if not pyogrio.read_info(path)["capabilities"]["fast_spatial_filter"]:
        if shutil.disk_usage(path.parent).free < path.stat().st_size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        raise RuntimeError(
            f"{path.name} got no spatial index: the SQLite in this process has no R-tree; import pyogrio before TensorFlow"
        )


def write_geoparquet(path: Path, features: Iterable[Feature], table: Table) -> None:
    """Write a GeoParquet 1.1 file (https://geoparquet.org/releases/v1.1.0/) with the bounds of each feature."""
    schema = table.attributes.append(pyarrow.field("geometry", pyarrow.binary())).append(
        pyarrow.field("bbox", _BBOX)
    )
    extent = np.array([np.inf, np.inf, -np.inf, -np.inf])
    # The total bounds are known last. Arrow's own copy of the schema would hide metadata added then.
    with parquet.ParquetWriter(path, schema, compression="zstd", store_schema=False) as writer:
        for batch in batches(features, ROW_GROUP):
            wkb, attributes = [feature.wkb for feature in batch], attribute_columns(batch, table)
            bounds = shapely.bounds(shapely.from_wkb(wkb))
            extent = np.concatenate(
                [np.minimum(extent[:2], bounds[:, :2].min(0)), np.maximum(extent[2:], bounds[:, 2:].max(0))]
            )
            sides = [pyarrow.array(side) for side in bounds.T]
            box = pyarrow.StructArray.from_arrays(sides, fields=list(_BBOX))
            writer.write_table(pyarrow.table([*attributes, pyarrow.array(wkb), box], schema=schema))
        writer.add_key_value_metadata({"geo": json.dumps(_geo(table, extent))})


def _geo(table: Table, extent: np.ndarray) -> dict[str, Any]:
    """Return the metadata of a GeoParquet file."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": [table.geometry_type],
        "crs": table.crs.to_json_dict(),
        "orientation": "counterclockwise",
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if np.isfinite(extent).all():
        column["bbox"] = extent.tolist()
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def batches(features: Iterable[Feature], size: int) -> Iterator[list[Feature]]:
    """Split features into lists of `size`, the last of which may be shorter."""
    rest = iter(features)
    while batch := list(islice(rest, size)):
        yield batch


def attribute_columns(some: list[Feature], table: Table) -> list[pyarrow.Array]:
    """Return the attributes of features as columns."""
    attributes: list[Mapping[str, Any]] = [{"id": feature.identity, **feature.properties} for feature in some]
    return [pyarrow.array([row[field.name] for row in attributes], field.type) for field in table.attributes]


def _write_table(
    path: Path, features: Iterable[Feature], table: Table, driver: str, options: Mapping[str, Any]
) -> None:
    schema = table.attributes.append(WKB)

    def written() -> Iterator[pyarrow.RecordBatch]:
        for batch in batches(features, BATCH):
            shapes = pyarrow.array([feature.wkb for feature in batch])
            yield pyarrow.record_batch([*attribute_columns(batch, table), shapes], schema=schema)

    reader = pyarrow.RecordBatchReader.from_batches(schema, written())
    write_with_gdal(path, reader, driver, table.geometry_type, table.crs.to_wkt(), options)


def write_with_gdal(
    path: Path,
    reader: pyarrow.RecordBatchReader,
    driver: str,
    geometry_type: str,
    crs: str,
    options: Mapping[str, Any],
) -> None:
    """Write Arrow data with one of GDAL's drivers, in the given order.

    Args:
        path: The file.
        reader: Columns and, as ``geometry``, WKB.
        driver: Name of the driver.
        geometry_type: Type of all geometries.
        crs: Their CRS.
        options: Options of the driver.
    """
    with _DATE_PINNED:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _PINNED_DATE})
        try:
            pyogrio.write_arrow(
                reader,
                path,
                layer=LAYER,
                driver=driver,
                geometry_name="geometry",
                geometry_type=geometry_type,
                crs=crs,
                **options,
            )
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


TABLES: Mapping[str, Callable[[Path, Iterable[Feature], Table], None]] = {
    "fgb": write_flatgeobuf,
    "gpkg": write_geopackage,
    "parquet": write_geoparquet,
}
"""Writers of tables, by file extension."""
