"""Rasters with a damaged block: is the place named, and is the rest as if nothing had been?"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from mosaics import mosaic
from scenes import write_scene
from telling import table

from tiles.source import RasterReadError, RasterSource
from tiles.window import Window

SHEET = 512
DAMAGED = 1, 2
"""Row and column of the block that is damaged, of 256 px: it lies in the sheet (0, 1)."""
JPEG = {"compress": "jpeg", "photometric": "ycbcr"}
TRIES = 40
NOISE = b"\x5a\xa5\x00\xff" * 64


def read_damaged(folder: Path) -> dict[str, Any]:
    """Segment damaged rasters in each encoding, and compare with the undamaged ones."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import nets
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # as engines want it, before a network is made
    bundle = nets.make_bundle(folder / "brightest", nets.brightest_band())
    rows = []
    for name, (options, damage) in CASES.items():
        place = folder / name.replace(" ", "_").replace(",", "")
        place.mkdir()
        rows.append({"encoding": name, **_damage_and_read(place, bundle, options, damage)})
        print(rows[-1], flush=True)
    return {"rows": rows, "jpeg": damage_jpeg(folder)}


def damage_jpeg(folder: Path) -> list[dict[str, int]]:
    """How often it is seen that some bytes of a JPEG block are others, at random places."""
    scene = write_scene(folder / "jpeg.tif", **JPEG)
    whole, (offset, size), rng = scene.read_bytes(), _block(scene), np.random.default_rng(1)
    window = Window(256 * DAMAGED[0], 256 * DAMAGED[1], 256, 256)
    found = []
    for length in (1, 8, 64, 256):
        seen = 0
        for _ in range(TRIES):
            changed = bytearray(whole)
            at = offset + int(rng.integers(20, size - length))
            changed[at : at + length] = rng.bytes(length)
            scene.write_bytes(changed)
            try:
                RasterSource(str(scene), (1, 2, 3), (0, 0, 0)).read(window)
            except RasterReadError:
                seen += 1
        found.append({"bytes": length, "seen": seen})
    return found


def _damage_and_read(place: Path, bundle: Path, options: dict[str, Any], damage: Any) -> dict[str, Any]:
    scene = write_scene(place / "scene.tif", **options)
    before, _ = _segment(scene, bundle, place / "before")
    if damage is _lose_source:
        # Of the same pixels; it was not read whole before, since GDAL would go on reading a file that it has open.
        scene = _mosaic(place)
    damage(scene)
    after, status = _segment(scene, bundle, place / "after")
    found = place / "after" / "quarantine.geojson"
    features = json.loads(found.read_text())["features"] if found.is_file() else []
    lost = np.zeros(before.shape, bool)
    for feature in features:
        at = feature["properties"]
        lost[at["row_off"] : at["row_off"] + at["height"], at["col_off"] : at["col_off"] + at["width"]] = True
    said = [feature["properties"] for feature in features]
    return {
        "status": status,
        "windows": [f"{at['row_off']}+{at['height']}, {at['col_off']}+{at['width']}" for at in said],
        "causes": sorted({at["cause"].replace(f"{place}/", "") for at in said}),
        "rest_is_the_same": bool(np.array_equal(before[~lost], after[~lost]) and (after[lost] == 255).all()),
    }


def _segment(scene: Path, bundle: Path, out: Path) -> tuple[np.ndarray, int]:
    """The label map of a raster, and the exit status."""
    from pipeline.cli import main

    size = str(SHEET)
    job = ["segment", scene, "--model", bundle, "--output", out, "--tile", size, "--sheet", size, "--any-gsd"]
    status = main([str(word) for word in job])
    with rasterio.open(out / "scene" / "labels.tif") as dataset:
        return dataset.read(1), status


def _block(scene: Path) -> tuple[int, int]:
    """Where the damaged block is in its file: offset and length, in bytes."""
    row, col = DAMAGED
    with rasterio.open(scene) as dataset:
        offset, size = (
            dataset.get_tag_item(f"BLOCK_{what}_{col}_{row}", "TIFF", bidx=1) for what in ("OFFSET", "SIZE")
        )
    return int(offset), int(size)


def _overwrite(scene: Path) -> None:
    """Overwrite 256 bytes in the middle of the block."""
    offset, size = _block(scene)
    with scene.open("r+b") as file:
        file.seek(offset + size // 2)
        file.write(NOISE)


def _cut(scene: Path) -> None:
    """Cut the file off in the middle of the block; all behind it is lost, too."""
    offset, size = _block(scene)
    os.truncate(scene, offset + size // 2)


def _mosaic(place: Path) -> Path:
    """A VRT of two files that lie side by side."""
    parts = []
    for name, columns in (("west", slice(0, SHEET)), ("east", slice(SHEET, None))):
        path = write_scene(place / f"{name}.tif", columns)
        with rasterio.open(path) as dataset:
            parts.append((path, (0, columns.start or 0, *dataset.shape)))
    with rasterio.open(place / "scene.tif") as dataset:
        return mosaic(place / "scene.vrt", parts, dataset.shape)


def _lose_source(scene: Path) -> None:
    """Remove a file that the VRT needs."""
    scene.with_name("east.tif").unlink()


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    **{f"{name}, overwritten": ({"compress": name}, _overwrite) for name in ("deflate", "lzw", "zstd")},
    "jpeg, overwritten": (JPEG, _overwrite),
    **{f"{name}, cut off": ({"compress": name}, _cut) for name in ("deflate", "lzw", "zstd", "jpeg", "none")},
    "VRT without one of its files": ({}, _lose_source),
}
"""How each raster is written, and damaged."""


def blocks_words(found: dict[str, Any]) -> str:
    """What came of it, in Markdown."""
    cells = [
        (
            row["encoding"],
            row["status"],
            "; ".join(row["windows"]) or "none",
            "yes" if row["rest_is_the_same"] else "no",
            " / ".join(row["causes"][:1]).replace("|", "\\|"),
        )
        for row in found["rows"]
    ]
    seen = ", ".join(f"{row['seen']} of {TRIES} times with {row['bytes']}" for row in found["jpeg"])
    return (
        "The sample, 780 rows of 1200 pixels in blocks of 256 px, in sheets of 512 px, with a network that looks at one "
        "pixel. "
        f"Block {DAMAGED} is damaged, which lies in the sheet at row 0, column 512. Windows are rows and columns: "
        "first+number.\n\n"
        + table(
            ("raster", "status", "windows in quarantine", "all else as before", "cause (the first)"), cells
        )
        + "\n\nJPEG has no checksum: where bytes of a block were replaced at random, that was seen "
        f"{seen} bytes. Bytes of uncompressed rasters that are changed are seen by nobody."
    )
