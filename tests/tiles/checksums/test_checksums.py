"""What is read of files is what was written, as far as their checksums tell."""

from __future__ import annotations

import lzma
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import rasterio.vrt
import zstandard
from damages import break_checksum, break_streams, flip, plain_pixels

from terraseam.tiles.checksums.dataset import verify_blocks
from terraseam.tiles.checksums.streams import deflate_fault, xz_fault, zstd_fault
from terraseam.tiles.checksums.tiff import FAULTS
from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.opening import open_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource

TILES = {"compress": "deflate", "zlevel": 1, "tiled": True, "blockxsize": 64, "blockysize": 64}
LAYOUTS = {
    "tiles": TILES,
    "strips": {"compress": "deflate", "zlevel": 1},
    "single rows": {"compress": "deflate", "zlevel": 1, "blockysize": 1},
    "one strip": {"compress": "deflate", "zlevel": 1, "blockysize": 150},
    "tiles by band": {**TILES, "interleave": "band"},
    "strips by band": {"compress": "deflate", "zlevel": 1, "interleave": "band"},
    "BigTIFF": {**TILES, "BIGTIFF": "YES"},
    "big endian": {**TILES, "ENDIANNESS": "BIG"},
    "big endian BigTIFF": {**TILES, "ENDIANNESS": "BIG", "BIGTIFF": "YES"},
    "predictor 2": {**TILES, "predictor": 2, "dtype": "uint16"},
    "predictor 3": {**TILES, "predictor": 3, "dtype": "float32"},
}


def source(path: Path, bands: tuple[int, ...] = (1, 2, 3)) -> RasterSource:
    return RasterSource(str(path), bands, (0.0,) * len(bands))


def is_damaged(path: Path, window: Window, bands: tuple[int, ...] = (1, 2, 3)) -> bool:
    try:
        source(path, bands).read(window)
    except RasterReadError as error:
        assert "pass --no-verify to read it as it is" in str(error), error
        return True
    return False


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_wrong_checksum_is_told_where_its_block_is_read_alone(make_raster, name):
    options = dict(LAYOUTS[name])
    path = make_raster(pixels=plain_pixels(150, 130).astype(options.pop("dtype", "uint8")), **options)
    assert not is_damaged(path, Window(0, 0, 150, 130))
    with rasterio.open(path) as dataset:
        height, width = dataset.block_shapes[1]
        row, col = dataset.height // height // 2, dataset.width // width // 2
    break_checksum(path, row, col, band=2)
    block = Window(row * height, col * width, min(height, 150 - row * height), min(width, 130 - col * width))
    assert is_damaged(path, block)
    assert is_damaged(path, Window(-20, -20, 190, 170))
    apart = "band" in name
    assert is_damaged(path, block, (1, 3)) == (not apart)
    for other in ((0, 0), (150 - height, 0), (0, 130 - width)):
        there = Window(*other, 1, 1)
        assert is_damaged(path, there) == (there.intersection(block) is not None)
    with open_raster(str(path)) as dataset:
        dataset.dataset.read()  # GDAL does not notice.


def test_the_old_number_of_deflate_is_known(make_raster):
    path = make_raster(pixels=plain_pixels(64, 64), **TILES)
    content = path.read_bytes()
    old = content.replace(struct.pack("<HHIHH", 259, 3, 1, 8, 0), struct.pack("<HHIHH", 259, 3, 1, 32946, 0))
    assert old != content
    path.write_bytes(old)
    assert not is_damaged(path, Window(0, 0, 64, 64))
    assert is_damaged(break_checksum(path), Window(0, 0, 64, 64))


def test_blocks_that_were_never_written_are_no_damage(make_raster):
    path = make_raster(pixels=np.zeros((200, 200, 3), np.uint8), SPARSE_OK=True, **TILES)
    assert not is_damaged(path, Window(0, 0, 200, 200))


def test_masks_are_verified_where_they_are_read(make_raster, tmp_path):
    mask = np.full((64, 64), 255, np.uint8)
    mask[5:50, 7:30] = 0
    path = make_raster(pixels=plain_pixels(64, 64), mask=mask, **TILES)
    assert not is_damaged(path, Window(0, 0, 64, 64))
    break_streams(path, 64, 64)
    assert is_damaged(path, Window(0, 0, 64, 64))

    beside = make_raster(pixels=plain_pixels(64, 64), name="beside.tif", **TILES)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(beside, "r+") as dataset:
        dataset.write_mask(mask)
    assert not is_damaged(beside, Window(0, 0, 64, 64))
    break_streams(tmp_path / "beside.tif.msk", 64, 64)
    assert is_damaged(beside, Window(0, 0, 64, 64))


def test_alpha_is_verified_where_other_bands_are_read(make_raster):
    path = make_raster(
        pixels=plain_pixels(64, 64), alpha=plain_pixels(64, 64, 1)[..., 0], interleave="band", **TILES
    )
    assert is_damaged(break_checksum(path, band=4), Window(0, 0, 64, 64))


@pytest.mark.parametrize("inner", ["source.tif", "inner.vrt", "INNER.VRT", "warped.vrt", "inner"])
def test_sources_of_virtual_rasters_are_verified_where_they_are_read(make_raster, tmp_path, inner):
    path = make_raster(pixels=plain_pixels(200, 200), name="source.tif", **TILES)
    if inner == "warped.vrt":
        with (
            rasterio.open(path) as dataset,
            rasterio.vrt.WarpedVRT(dataset, crs="EPSG:32633") as warped,
        ):
            rasterio.shutil.copy(warped, tmp_path / inner, driver="VRT")
    elif inner != "source.tif":
        rasterio.shutil.copy(path, tmp_path / inner, driver="VRT")
    rasterio.shutil.copy(tmp_path / inner, tmp_path / "outer.vrt", driver="VRT")
    with rasterio.open(tmp_path / "outer.vrt") as dataset:
        height, width = dataset.shape
    assert not is_damaged(tmp_path / "outer.vrt", Window(0, 0, height, width))
    break_checksum(path, 2, 2)
    assert is_damaged(tmp_path / "outer.vrt", Window(0, 0, height, width))
    if inner != "warped.vrt":
        assert not is_damaged(tmp_path / "outer.vrt", Window(0, 0, 128, 128)) or height <= 512
        with open_raster(str(tmp_path / "outer.vrt")) as dataset:
            dataset.read(1, window=rasterio.windows.Window(0, 0, 128, 128))
            with pytest.raises(rasterio.errors.RasterioIOError, match=r"row 128, column 128 .*source\.tif"):
                dataset.read(1, window=rasterio.windows.Window(100, 100, 40, 40))


def test_what_a_mosaic_draws_smaller_and_elsewhere_is_verified_there(make_raster, tmp_path):
    path = make_raster(pixels=plain_pixels(256, 256), name="source.tif", **TILES)
    rasterio.shutil.copy(path, tmp_path / "half.vrt", driver="VRT")
    text = (tmp_path / "half.vrt").read_text()
    text = text.replace('rasterXSize="256" rasterYSize="256"', 'rasterXSize="400" rasterYSize="400"', 1)
    text = text.replace(
        '<DstRect xOff="0" yOff="0" xSize="256" ySize="256"',
        '<DstRect xOff="200" yOff="100" xSize="128" ySize="128"',
    )
    (tmp_path / "half.vrt").write_text(text)
    break_checksum(path, 3, 0)
    with open_raster(str(tmp_path / "half.vrt")) as dataset:
        dataset.read(1, window=rasterio.windows.Window(0, 0, 190, 400))
        dataset.read(1, window=rasterio.windows.Window(200, 100, 128, 60))
        with pytest.raises(rasterio.errors.RasterioIOError, match="row 192, column 0"):
            dataset.read(1, window=rasterio.windows.Window(200, 200, 10, 20))


def test_overviews_are_verified_where_a_reduced_picture_is_read(make_raster):
    path = make_raster(pixels=plain_pixels(256, 256), **TILES)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4])
    content = path.read_bytes()
    with open_raster(str(path)) as dataset:
        dataset.read(1, out_shape=(64, 64))
    offsets = [
        at
        for at in range(len(content) - 2)
        if content[at : at + 2] in (b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
    ]
    ends = []
    for at in offsets:
        stream = zlib.decompressobj()
        try:
            stream.decompress(content[at:])
        except zlib.error:
            continue
        ends += [len(content) - len(stream.unused_data)] if stream.eof else []
    flip(path, max(ends) - 1)
    assert not is_damaged(path, Window(0, 0, 256, 256))
    with (
        open_raster(str(path)) as dataset,
        pytest.raises(rasterio.errors.RasterioIOError, match="its checksum is wrong"),
    ):
        dataset.read(1, out_shape=(64, 64))


@pytest.mark.parametrize(("kind", "told"), [(b"IDAT", True), (b"IEND", True), (b"tIME", False)])
def test_chunks_of_pngs_are_verified(tmp_path, kind, told):
    path = tmp_path / "scene.png"
    pixels = np.random.default_rng(1).integers(0, 255, (3, 50, 60)).astype(np.uint8)
    with rasterio.open(path, "w", driver="PNG", height=50, width=60, count=3, dtype="uint8") as dataset:
        dataset.write(pixels)
    content = path.read_bytes()
    chunk = struct.pack(">I", 7) + b"tIME" + bytes([7, 230, 1, 1, 1, 1, 1])
    end = content.index(b"IEND") - 4
    content = content[:end] + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + content[end:]
    at = content.index(kind) - 4
    size = struct.unpack(">I", content[at : at + 4])[0]
    path.write_bytes(content)
    assert not is_damaged(path, Window(0, 0, 50, 60))
    flip(path, at + 8 + size)
    with open_raster(str(path)) as dataset:
        if told:
            with pytest.raises(
                rasterio.errors.RasterioIOError,
                match=f"the chunk at byte {at} is corrupt: its checksum is wrong",
            ):
                dataset.read()
        else:
            assert np.array_equal(dataset.read(), pixels)


def test_the_switch_lets_damage_through(make_raster):
    path = break_checksum(make_raster(pixels=plain_pixels(64, 64), **TILES))
    try:
        verify_blocks(False)
        assert not is_damaged(path, Window(0, 0, 64, 64))
    finally:
        verify_blocks(True)
    assert is_damaged(path, Window(0, 0, 64, 64))


STREAMS = {
    "deflate": (deflate_fault, zlib.compress),
    "xz": (xz_fault, lambda data: lzma.compress(data, check=lzma.CHECK_CRC32)),
    "zstd": (
        zstd_fault,
        lambda data: zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(data),
    ),
    "zstd with a size": (zstd_fault, lambda data: zstandard.ZstdCompressor().compress(data)),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("size", [0, 1, 3000, (1 << 20) + 7])
def test_streams_are_whole_or_damaged(name, size):
    find_fault, pack = STREAMS[name]
    rng = np.random.default_rng(size)
    data = rng.integers(0, 40, size).astype(np.uint8).tobytes()
    packed = pack(data)
    pieces = [packed[at : at + 65_537] for at in range(0, len(packed), 65_537)]
    assert find_fault(pieces, size) is None
    assert find_fault([packed + b"behind"], size) is None
    assert find_fault([packed[:-1]], size) is not None
    for _ in range(10 if name != "zstd with a size" else 0):
        changed = bytearray(packed)
        at = int(rng.integers(6, len(changed)))  # Behind the flags of a ZSTD frame.
        changed[at : at + 64] = rng.bytes(len(changed[at : at + 64]))
        assert bytes(changed) == packed or find_fault([bytes(changed)], size) is not None


def test_frames_that_say_nothing_of_themselves_are_passed_over():
    data = b"terraseam" * 1000
    packed = bytearray(
        zstandard.ZstdCompressor(write_checksum=False, write_content_size=False).compress(data)
    )
    packed[-20:] = b"\0" * 20
    assert zstd_fault([bytes(packed)], len(data)) is None


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_unpack_to_far_more_than_pixels_are_stopped(name):
    find_fault, pack = STREAMS[name]
    assert "far more than its pixels" in (find_fault([pack(bytes(1 << 25))], 100) or "")


def zstd_tiff(path: Path, frame: bytes, side: int) -> Path:
    """A TIFF of one ZSTD block of a gray picture."""
    entries = [
        (256, 4, side), (257, 4, side), (258, 3, 8), (259, 3, 50000), (262, 3, 1), (273, 4, 8),
        (277, 3, 1), (278, 4, side), (279, 4, len(frame)),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<I", 8 + len(frame))
    tags = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    path.write_bytes(head + frame + struct.pack("<H", len(entries)) + tags + bytes(4))
    return path


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_zstd_blocks_with_checksums_are_verified(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 9, (90, 90)).astype(np.uint8)
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(pixels.tobytes())
    path = zstd_tiff(tmp_path / "scene.tif", packed, 90)
    assert np.array_equal(source(path, (1,)).read(Window(0, 0, 90, 90)).pixels[..., 0], pixels)
    flip(path, 8 + len(packed) - 1)
    assert is_damaged(path, Window(0, 0, 90, 90), (1,))


@pytest.mark.parametrize("behind", [b"", b"\xff" * 4, b"\xff" * 12, b"\x08\0\0\0\xff\xff"])
@pytest.mark.parametrize("start", [b"II*\0", b"MM\0+"])
def test_what_is_no_tiff_is_left_to_gdal(tmp_path, start, behind):
    path = tmp_path / "scene.tif"
    path.write_bytes(start + behind)
    with pytest.raises(RasterReadError, match="cannot be read"):
        source(path).read(Window(0, 0, 1, 1))


def test_compressions_with_checksums_are_those_of_the_documents():
    assert sorted(FAULTS) == [8, 32946, 34925, 50000]
