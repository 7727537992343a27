"""Segment rasters with a damaged block: is its place reported, and is the rest unaffected?"""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from mosaics import mosaic
from scenes import write_scene
from telling import table

from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.source import RasterReadError, RasterSource

SHEET = 512
DAMAGED = 1, 2
"""Row and column of the damaged block of 256 px, which lies in sheet (0, 1)."""
JPEG = {"compress": "jpeg", "photometric": "ycbcr"}
TRIES = 40
LENGTH = 64
"""Bytes replaced at random by each of `TRIES` damages."""
HEAD = 256
"""Bytes left intact at the start of files that are not GeoTIFFs."""
COLUMNS = 512
"""Columns of the sample that are damaged repeatedly."""
NOISES = {"the sample": 0, "with noise": 32, "noise alone": 255}
"""Maximum of the noise added to the samples of a raster, modulo 256, by its name."""
NOISE = b"\x5a\xa5\x00\xff" * 64


def read_damaged(folder: Path) -> dict[str, Any]:
    """Segment damaged rasters in each encoding, and compare the results with those of undamaged ones."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import nets
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)  # required by engines, before a network is built
    bundle = nets.make_bundle(folder / "brightest", nets.brightest_band())
    rows = []
    for name, (options, damage) in CASES.items():
        place = folder / name.replace(" ", "_").replace(",", "")
        place.mkdir()
        rows.append({"encoding": name, **_damage_and_read(place, bundle, options, damage)})
        print(rows[-1], flush=True)
    return {"rows": rows, "codecs": damage_codecs(folder)}


def damage_codecs(folder: Path) -> list[dict[str, Any]]:
    """Count how often random damage to a file goes unnoticed, by compression.

    GDAL alone means reading with ``rasterio``. Pixels that are read unchanged do not count as damaged.
    """
    with rasterio.Env() as env:
        known = env.drivers()
    found = []
    for name, profile in CODECS.items():
        if profile.get("driver", "GTiff") not in known:
            continue
        place = folder / name.replace(" ", "_")
        place.mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            counts = {
                kind: _damage_again_and_again(_noisy(place / f"{noise}", noise, profile))
                for kind, noise in NOISES.items()
            }
        found.append({"codec": name, **counts})
        print(found[-1], flush=True)
    return found


def _noisy(path: Path, noise: int, profile: dict[str, Any]) -> Path:
    """Write columns of the sample with added noise, with a given profile."""
    plain = write_scene(path.with_suffix(".plain"), slice(0, COLUMNS), compress="none")
    with rasterio.open(plain) as dataset:
        pixels, whole = dataset.read(), {**dataset.profile, **profile}
    more = np.random.default_rng(2).integers(0, noise + 1, pixels.shape)
    with rasterio.open(path, "w", **whole) as dataset:
        dataset.write((pixels + more).astype(np.uint8))
    return path


def _damage_again_and_again(scene: Path) -> dict[str, int]:
    whole, spans, rng = scene.read_bytes(), _spans(scene), np.random.default_rng(1)
    before = _read_by_gdal(scene)
    counts = {"same": 0, "unseen_by_gdal": 0, "unseen": 0}
    for _ in range(TRIES):
        offset, size = spans[rng.integers(len(spans))]
        at = offset + int(rng.integers(size - LENGTH))
        scene.write_bytes(whole[:at] + rng.bytes(LENGTH) + whole[at + LENGTH :])
        by_gdal, by_us = _read_by_gdal(scene), _read_by_us(scene)
        same = by_gdal is not None and np.array_equal(by_gdal, before)
        counts["same"] += same
        counts["unseen_by_gdal"] += by_gdal is not None and not same
        counts["unseen"] += by_us is not None and not same
    scene.write_bytes(whole)
    return counts


def _read_by_gdal(scene: Path) -> np.ndarray | None:
    """Return all pixels; None if GDAL reports an error."""
    try:
        with rasterio.open(scene) as dataset:
            return dataset.read()
    except rasterio.errors.RasterioError:
        return None


def _read_by_us(scene: Path) -> np.ndarray | None:
    try:
        source = RasterSource(str(scene), (1, 2, 3), (0, 0, 0))
        with rasterio.open(scene) as dataset:
            shape = dataset.shape
        return source.read(Window(0, 0, *shape)).pixels
    except (RasterReadError, rasterio.errors.RasterioError):
        return None


def _spans(scene: Path) -> list[tuple[int, int]]:
    """Return offset and length of each block of a GeoTIFF, in bytes; of other files, of all after the head."""
    with rasterio.open(scene) as dataset:
        if dataset.driver != "GTiff":
            return [(HEAD, scene.stat().st_size - HEAD)]
        blocks = [at for at, _ in dataset.block_windows(1)]
    spans = [_block(scene, at) for at in blocks]
    return [(offset, size) for offset, size in spans if size > LENGTH]


def _damage_and_read(place: Path, bundle: Path, options: dict[str, Any], damage: Any) -> dict[str, Any]:
    scene = write_scene(place / "scene.tif", **options)
    before, _ = _segment(scene, bundle, place / "before")
    if damage is _lose_source:
        # The VRT has the same pixels; it was not read intact before, as GDAL would keep reading an open file.
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
    """Return the label map of a raster, and the exit status."""
    from terraseam.pipeline.cli import main

    size = str(SHEET)
    job = ["segment", scene, "--model", bundle, "--output", out, "--tile", size, "--sheet", size, "--any-gsd"]
    status = main([str(word) for word in job])
    with rasterio.open(out / "scene" / "labels.tif") as dataset:
        return dataset.read(1), status


def _block(scene: Path, place: tuple[int, int] = DAMAGED) -> tuple[int, int]:
    """Return offset and length of a block in its file, in bytes."""
    row, col = place
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
    """Truncate the file in the middle of the block; everything after it is lost, too."""
    offset, size = _block(scene)
    os.truncate(scene, offset + size // 2)


def _mosaic(place: Path) -> Path:
    """Write a VRT of two files side by side."""
    parts = []
    for name, columns in (("west", slice(0, SHEET)), ("east", slice(SHEET, None))):
        path = write_scene(place / f"{name}.tif", columns)
        with rasterio.open(path) as dataset:
            parts.append((path, (0, columns.start or 0, *dataset.shape)))
    with rasterio.open(place / "scene.tif") as dataset:
        return mosaic(place / "scene.vrt", parts, dataset.shape)


def _lose_source(scene: Path) -> None:
    """Delete a file that the VRT needs."""
    scene.with_name("east.tif").unlink()


CASES: dict[str, tuple[dict[str, Any], Any]] = {
    **{f"{name}, overwritten": ({"compress": name}, _overwrite) for name in ("deflate", "lzw", "zstd")},
    "jpeg, overwritten": (JPEG, _overwrite),
    **{f"{name}, cut off": ({"compress": name}, _cut) for name in ("deflate", "lzw", "zstd", "jpeg", "none")},
    "VRT without one of its files": ({}, _lose_source),
}
"""How each raster is written and damaged."""


CODECS: dict[str, dict[str, Any]] = {
    **{name: {"compress": name.lower()} for name in ("DEFLATE", "LZMA", "ZSTD", "LZW", "LERC")},
    "uncompressed": {"compress": "none"},
    "JPEG": JPEG,
    "PNG": {"driver": "PNG", "tiled": False, "blockxsize": None, "blockysize": None},
    "JPEG 2000": {"driver": "JP2OpenJPEG", "quality": 100, "reversible": "yes"},
}
"""Formats in which damage may go unnoticed."""


def blocks_words(found: dict[str, Any]) -> str:
    """Format the results in Markdown."""
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
    return (
        "The sample, 780 rows of 1200 pixels in blocks of 256 px, in sheets of 512 px, with a network that looks at one "
        "pixel. "
        f"Block {DAMAGED}, in the sheet at row 0, column 512, is damaged. Windows are rows and columns: "
        "first+number.\n\n"
        + table(
            ("raster", "status", "windows in quarantine", "all else as before", "cause (the first)"), cells
        )
        + "\n\n"
        + _codecs_words(found["codecs"])
    )


def _codecs_words(codecs: list[dict[str, Any]]) -> str:
    keys = ("unseen_by_gdal", "unseen")
    cells = [
        (
            row["codec"],
            *(f"{row[kind][key]} of {TRIES - row[kind]['same']}" for kind in NOISES for key in keys),
        )
        for row in codecs
    ]
    heads = ("compression", *(f"{kind}: {who}" for kind in NOISES for who in ("GDAL alone", "Terraseam")))
    return (
        f"{TRIES} times, {LENGTH} bytes somewhere in the blocks of {COLUMNS} columns of the sample were replaced by random "
        f"ones (in PNG and JPEG 2000 anywhere after the first {HEAD} bytes), and the raster was read; likewise with "
        "noise of 0 to 32 added to it, and with noise alone, which does not compress. How often wrong pixels were read "
        "without an error:\n\n"
        f"{table(heads, cells)}"
    )
