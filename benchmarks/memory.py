"""Peak memory and rate of the main job against the size of the raster.

    TERRASEAM_DATA=... python benchmarks/memory.py [--sizes 4096,16384] [--json FILE]

Cuts square VRTs out of the 16384 x 16384 Blue Marble raster and segments each with `coast`, cold, in a process
of its own. Peak memory is what the operating system says of that process; it has no children in this mode.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import rasterio
import rasterio.shutil
from comparing import data_folder
from spawning import spent_by


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="4096,16384", help="sides of the rasters, in pixels")
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    arguments = parser.parse_args()
    raster = data_folder() / "bluemarble" / "bluemarble_16384.tif"
    rows = []
    for side in map(int, arguments.sizes.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(cut(raster, side, Path(folder)), Path(folder) / "out"))
        print(
            "{megapixels:6.1f} Mpx  {seconds:7.1f} s  {megapixels_per_second:5.2f} Mpx/s  "
            "cpu {cpu_seconds:7.1f} s  peak {peak_gb:5.3f} GB  {polygons} polygons".format(**rows[-1]),
            flush=True,
        )
    print(f"largest to smallest: peak memory {rows[-1]['peak_gb'] / rows[0]['peak_gb']:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


def cut(raster: Path, side: int, folder: Path) -> Path:
    """A VRT of the square of a raster that begins at an eighth of its height, where there are coasts."""
    path = folder / "cut.tif"
    if side >= 16384:
        return raster
    with rasterio.open(raster) as dataset:
        off = dataset.height // 4
        window = rasterio.windows.Window(off, off, side, side)
        profile = {**dataset.profile, "driver": "GTiff", "height": side, "width": side}
        profile |= {"transform": dataset.window_transform(window), "compress": "jpeg", "photometric": "ycbcr"}
        with rasterio.open(path, "w", **profile) as target:
            for row in range(0, side, 1024):
                part = rasterio.windows.Window(0, row, side, min(1024, side - row))
                source = rasterio.windows.Window(off, off + row, side, part.height)
                target.write(dataset.read(window=source), window=part)
    return path


def measure(raster: Path, output: Path) -> dict[str, float]:
    """Segment a raster in a process of its own."""
    spent = spent_by(["segment", str(raster), "--model", "coast", "--output", str(output)])
    manifest = json.loads((output / "manifest.json").read_text())
    (found,) = manifest["rasters"]
    megapixels = found["height"] * found["width"] / 1e6
    return {
        "megapixels": megapixels,
        "seconds": spent.seconds,
        "megapixels_per_second": megapixels / spent.seconds,
        "cpu_seconds": spent.cpu_seconds,
        "peak_gb": spent.peak_bytes / 1e9,
        "polygons": found["classes"]["water"]["polygons"],
        **{f"{stage}_seconds": value for stage, value in manifest["seconds"].items()},
        "publish_seconds": found["publish_seconds"],
    }


if __name__ == "__main__":
    main()
