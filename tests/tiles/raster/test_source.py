import logging
import pickle
import threading

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hole_masks import HOLE, hole_mask
from mosaics import mosaic
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.inspect import RasterError, inspect_raster
from terraseam.tiles.raster.source import RasterReadError, RasterSource, as_sample

FILL = (7.0, 8.0, 9.0)


def read_all(path, bands=(1, 2, 3), fill=FILL):
    with rasterio.open(path) as dataset:
        return RasterSource(str(path), bands, fill).read(Window(0, 0, dataset.height, dataset.width))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_pixels_are_the_rasters_in_its_own_type(make_raster, dtype):
    pixels = np.random.default_rng(1).integers(1, 200, (37, 53, 4)).astype(dtype)
    chip = read_all(make_raster(pixels=pixels), (4, 2), (0, 0))
    assert chip.pixels.dtype == dtype
    assert (chip.pixels == pixels[..., [3, 1]]).all()
    assert chip.valid.all()


@pytest.mark.parametrize("shape", [(37, 53), (1, 9), (2, 1), (1, 1), (5, 300)])
@pytest.mark.parametrize("window", [Window(-40, -33, 100, 150), Window(0, 0, 1, 1), Window(-7, 2, 9, 3)])
def test_beyond_the_edges_the_raster_is_mirrored(make_raster, shape, window):
    pixels = np.random.default_rng(2).integers(0, 255, (*shape, 3)).astype("uint8")
    chip = RasterSource(str(make_raster(pixels=pixels)), (1, 2, 3), FILL).read(window)
    big = np.pad(pixels, ((200, 200), (200, 200), (0, 0)), mode="reflect")
    rows = slice(window.row_off + 200, window.row_end + 200)
    cols = slice(window.col_off + 200, window.col_end + 200)
    assert (chip.pixels == big[rows, cols]).all()


def encodings(make_raster):
    """One scene with a hole, its nodata written in six ways."""
    base = np.random.default_rng(3).integers(1, 255, (37, 53, 3)).astype("uint8")
    valid = hole_mask()
    zeroed = np.where(valid[..., None], base, 0).astype("uint8")
    nan = np.where(valid[..., None], base, np.nan).astype("float32")
    yield base, make_raster(pixels=zeroed, nodata=0, name="value.tif")
    yield base, make_raster(pixels=base, mask=valid, name="mask.tif")
    yield base, make_raster(pixels=base, alpha=np.where(valid, 255, 0), name="alpha.tif")
    yield base, make_raster(pixels=nan, name="nan.tif")
    yield base, make_raster(pixels=nan, nodata=float("nan"), name="declared.tif")
    yield (
        base,
        make_raster(
            pixels=np.where(valid[..., None], base.astype("int16"), -999), nodata=-999, name="int16.tif"
        ),
    )


def test_six_encodings_of_nodata_give_one_valid_mask_and_the_fill_value(make_raster):
    for base, path in encodings(make_raster):
        chip = read_all(path)
        assert (chip.valid == hole_mask()).all(), path.name
        assert (chip.pixels[hole_mask()] == base[hole_mask()]).all(), path.name
        assert (chip.pixels[HOLE] == FILL).all(), path.name


def test_a_pixel_with_one_measured_band_is_valid_and_its_other_samples_are_filled(make_raster):
    pixels = np.full((4, 5, 3), 50, "uint8")
    pixels[1, 2] = (0, 50, 0)
    pixels[2, 3] = 0
    chip = read_all(make_raster(pixels=pixels, nodata=0))
    assert chip.valid.sum() == 19 and not chip.valid[2, 3]
    assert chip.pixels[1, 2].tolist() == [7, 50, 9]


def test_an_alpha_band_that_is_asked_for_is_data(make_raster):
    alpha = np.array([[0, 1, 255]])
    path = make_raster(pixels=np.full((1, 3, 3), 9, "uint8"), alpha=alpha)
    chip = read_all(path, (1, 4), (7, 8))
    assert chip.valid.all() and chip.pixels[0, :, 1].tolist() == [0, 1, 255]


def test_partly_transparent_pixels_are_valid(make_raster):
    alpha = np.array([[0, 1, 255]])
    chip = read_all(make_raster(pixels=np.full((1, 3, 3), 9, "uint8"), alpha=alpha))
    assert chip.valid.tolist() == [[False, True, True]]


def test_a_source_pickles_as_its_name_and_reads_in_threads(make_raster):
    path = make_raster()
    source = RasterSource(str(path), (1, 2, 3), FILL)
    want = source.read(Window(-3, -3, 60, 60)).pixels
    copy = pickle.loads(pickle.dumps(source))
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(copy.read(Window(-3, -3, 60, 60)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 4
    assert all((chip.pixels == want).all() for chip in results)


def test_one_dataset_stays_open_between_windows(make_raster):
    source = RasterSource(str(make_raster()), (1, 2, 3), FILL)
    source.read(Window(0, 0, 5, 5))
    dataset = source._local.dataset
    source.read(Window(5, 5, 5, 5))
    assert source._local.dataset is dataset and not dataset.closed


def test_a_truncated_raster_names_itself_and_the_window(make_raster):
    path = make_raster(600, 700, tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = RasterSource(str(path), (1, 2, 3), FILL)
    with pytest.raises(
        RasterReadError, match=r"scene\.tif\S* cannot be read at rows 0-599, columns 0-699 .*truncated"
    ):
        source.read(Window(0, 0, 600, 700))


def virtual_rasters(path):
    """A raster averaged to other pixels, and one warped to another CRS, both as a VRT."""
    averaged, warped = path.with_name("averaged.vrt"), path.with_name("warped.vrt")
    band = (
        f'<VRTRasterBand dataType="Byte" band="1"><ComplexSource resampling="average"><SourceFilename>{path}'
        '</SourceFilename><SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="900" ySize="700"/>'
        '<DstRect xOff="0" yOff="0" xSize="1233" ySize="959"/></ComplexSource></VRTRasterBand>'
    )
    averaged.write_text(
        f'<VRTDataset rasterXSize="1233" rasterYSize="959"><SRS>EPSG:32632</SRS><GeoTransform>500000, 0.5, 0, 5600000, 0, '
        f"-0.5</GeoTransform>{band}</VRTDataset>"
    )
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(dataset, crs="EPSG:3857", resampling=Resampling.cubic) as view,
    ):
        rasterio.shutil.copy(view, warped, driver="VRT")
    return averaged, warped


def test_windows_of_virtual_rasters_agree_although_gdals_do_not(make_raster):
    rng = np.random.default_rng(8)
    for path in virtual_rasters(make_raster(700, 900, bands=1, tiled=True)):
        differ = 0
        with rasterio.open(path) as dataset:
            shape, theirs = dataset.shape, dataset.read(1)
        whole = RasterSource(str(path), (1,), (0.0,)).read(Window(0, 0, *shape))
        for row, col in rng.integers(0, [shape[0] - 90, shape[1] - 90], (60, 2)).tolist():
            window = Window(row, col, *rng.integers(1, 90, 2).tolist())
            chip, where = RasterSource(str(path), (1,), (0.0,)).read(window), window.within(whole.window)
            assert (chip.pixels == whole.pixels[where]).all() and (chip.valid == whole.valid[where]).all()
            with rasterio.open(path) as dataset:
                inside = rasterio.windows.Window(col, row, window.width, window.height)
                differ += int((dataset.read(1, window=inside) != theirs[where]).sum())
        assert differ


def test_fill_values_are_rounded_and_clipped_to_the_type():
    assert as_sample(127.5, np.dtype("uint8")) == 128
    assert as_sample(-3, np.dtype("uint8")) == 0
    assert as_sample(1e6, np.dtype("int16")) == 32767
    assert as_sample(0.25, np.dtype("float32")) == np.float32(0.25)


def test_inspection_tells_what_is_known_without_pixels(make_raster):
    info = inspect_raster(str(make_raster(alpha=np.full((37, 53), 255))))
    assert (info.bands, info.colour_bands, info.dtype) == (4, (1, 2, 3), "uint8")
    assert (info.georef.height, info.georef.width) == (37, 53)
    assert info.georef.gsd() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crs": None}, "has no CRS; assign one"),
        ({"transform": rasterio.Affine.identity()}, "is not georeferenced"),
        (
            {"dtype": "complex64"},
            "samples of type complex64; supported types are uint8, uint16, int16, float32",
        ),
        ({"dtype": "float64"}, "samples of type float64"),
    ],
)
def test_rasters_that_cannot_be_segmented_are_refused(make_raster, changes, words):
    path = make_raster(**changes)
    with pytest.raises(RasterError, match=words) as caught:
        inspect_raster(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_no_rasters_are_refused(tmp_path):
    with pytest.raises(RasterError, match="does not exist"):
        inspect_raster(str(tmp_path / "gone.tif"))
    (tmp_path / "text.tif").write_text("hello, world, this is not a raster")
    with pytest.raises(RasterError, match="is not a raster that GDAL can open"):
        inspect_raster(str(tmp_path / "text.tif"))
    (tmp_path / "empty.tif").touch()
    with pytest.raises(RasterError, match="is empty: 0 bytes"):
        inspect_raster(str(tmp_path / "empty.tif"))


@pytest.mark.parametrize("through_vrt", [False, True])
@pytest.mark.parametrize("level", [logging.WARNING, logging.CRITICAL])
def test_a_damaged_jpeg_block_is_refused_however_often_it_is_read(
    make_raster, monkeypatch, capfd, level, through_vrt
):
    monkeypatch.setattr(logging.getLogger("rasterio"), "level", level)
    jpeg = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "jpeg", "photometric": "ycbcr"}
    scene = make_raster(512, 700, **jpeg)
    with rasterio.open(scene) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_1_0", "TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
        )
    with scene.open("r+b") as file:
        file.seek(offset + size // 2)
        file.write(b"\x5a\xa5\x00\xff" * 64)
    if through_vrt:
        with rasterio.open(scene) as dataset:
            rasterio.shutil.copy(dataset, scene.with_name("scene.tif.vrt"), driver="VRT")
        scene = scene.with_name("scene.tif.vrt")
    source = RasterSource(str(scene), (1, 2, 3), (0, 0, 0))
    for _ in range(3):
        with pytest.raises(
            RasterReadError,
            match=r"scene\.tif\S* cannot be read at rows 0-255, columns 200-299 .*Corrupt JPEG",
        ):
            source.read(Window(0, 200, 256, 100))
        assert source.read(Window(0, 512, 512, 188)).pixels.shape == (512, 188, 3)
    assert "Corrupt" not in "".join(capfd.readouterr())


def test_a_part_of_a_mosaic_that_is_gone_is_refused_however_often_it_is_read(make_raster, tmp_path):
    west = make_raster(100, 512, name="west.tif", seed=1)
    east = make_raster(100, 90, name="east.tif", seed=2)
    parts = [(west, (0, 0, 100, 512)), (east, (0, 512, 100, 90))]
    scene = mosaic(tmp_path / "scene.vrt", parts, (100, 602))
    whole = RasterSource(str(scene), (1, 2, 3), (0, 0, 0)).read(Window(0, 0, 100, 602)).pixels
    source = RasterSource(str(scene), (1, 2, 3), (0, 0, 0))
    kept = east.read_bytes()
    east.unlink()
    for _ in range(3):
        for window in (Window(0, 522, 50, 80), Window(20, 500, 80, 100)):
            with pytest.raises(RasterReadError, match=r"scene\.vrt cannot be read at rows .*east\.tif"):
                source.read(window)
        assert np.array_equal(source.read(Window(0, 0, 100, 512)).pixels, whole[:, :512])
    east.write_bytes(kept)
    assert np.array_equal(source.read(Window(0, 0, 100, 602)).pixels, whole)
