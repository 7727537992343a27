"""Bands in another order than a network wants, by what files say of them."""

import nets
import numpy as np
import pytest
import rasterio
from plan_cases import edited_card, planner, reasons
from rasterio.enums import ColorInterp
from train_cases import planned
from train_cases import reasons as train_reasons
from train_town import make_town

from terraseam.tiles.grid.window import Window
from terraseam.tiles.raster.band_order import BandDescription, colour_of, colours_of_bands, order_bands
from terraseam.tiles.raster.source import RasterSource

RGB = ("red", "green", "blue")


@pytest.fixture
def plan_of(make_raster, bundle, tmp_path):
    return planner(make_raster, bundle, tmp_path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return nets.make_bundle(tmp_path_factory.mktemp("bundles") / "tiny", nets.small_unet())


def words(*interpretations, descriptions=()):
    texts = [*descriptions, *[""] * len(interpretations)]
    return [BandDescription(text, kind) for text, kind in zip(texts, interpretations, strict=False)]


def described(*texts):
    return [
        BandDescription(text, "gray" if number == 0 else "undefined") for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("Red", "red"),
        ("B", "blue"),
        ("B 1", None),
        ("Band 1 - Green", "green"),
        ("sr_blue", "blue"),
        ("Near Infrared", "nir"),
        ("infra-red", "nir"),
        ("NIR (842 nm)", "nir"),
        ("red edge 1", "rededge"),
        ("short-wave infrared", "swir"),
        ("thermal infrared", "tir"),
        ("NDVI of nir and red", None),
        ("scored", None),
        ("", None),
    ],
)
def test_descriptions_name_one_colour_or_none(text, colour):
    assert colour_of(text) == colour


@pytest.mark.parametrize(
    ("file", "wanted", "bands"),
    [
        (words("red", "green", "blue"), RGB, (1, 2, 3)),
        (words("blue", "green", "red"), RGB, (3, 2, 1)),
        (words("alpha", "blue", "green", "red"), RGB, (4, 3, 2)),
        (words("red", "alpha", "green", "blue"), RGB, (1, 3, 4)),
        (words("gray", "undefined", "undefined"), RGB, (1, 2, 3)),
        (words("nir", "red", "green", "blue"), RGB, (2, 3, 4)),
        (words("nir", "red", "green", "blue"), (*RGB, "infrared"), (2, 3, 4, 1)),
        (described("nir", "red", "green", "blue"), ("R", "G", "B", "NIR"), (2, 3, 4, 1)),
        # Colours of descriptions are what a band is, those of interpretations how it is shown.
        (words("red", "green", "blue", descriptions=("blue", "green", "red")), RGB, (3, 2, 1)),
        (
            words("red", "green", "blue", "alpha", descriptions=("r", "g", "b", "nir")),
            (*RGB, "nir"),
            (1, 2, 3, 4),
        ),
        (described("B02", "B03", "B04"), RGB, (3, 2, 1)),
        (described("B2", "B3", "B4", "B8"), RGB, (3, 2, 1)),
        (described("B4", "B3", "B2"), RGB, (1, 2, 3)),
        (described("B3", "B2", "B1"), RGB, (1, 2, 3)),
        (described("SR_B5", "SR_B4", "SR_B3", "SR_B2", "ndvi"), RGB, (2, 3, 4)),
        (described("vh", "vv"), ("vv", "vh"), (2, 1)),
        (described("Band 1", "Band 2", "Band 3"), RGB, (1, 2, 3)),
        (words("red", "green", "blue"), ("band 1", "band 2", "band 3"), (1, 2, 3)),
        (words("gray"), ("grey",), (1,)),
    ],
)
def test_bands_are_put_in_the_order_that_is_wanted(file, wanted, bands):
    order = order_bands(file, wanted)
    assert order.bands == bands and not order.wrong
    plain = tuple(number for number, word in enumerate(file, 1) if word.interpretation != "alpha")
    assert bool(order.descriptions) == (bands != plain)


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        (words("nir", "red", "green"), RGB),
        (words("blue", "undefined", "red"), RGB),
        (words("hue", "lightness", "saturation"), RGB),
        (words("Y", "Cb", "Cr"), RGB),
        (words("red", "green", "blue"), ("nir", "red", "green")),
        (words("red", "red", "blue"), RGB),
        (described("B5", "B4", "B3"), RGB),
        (words("palette"), ("grey",)),
    ],
)
def test_bands_that_contradict_what_is_wanted_are_never_taken_as_they_lie(file, wanted):
    assert order_bands(file, wanted).wrong


def test_colours_are_known_where_they_are_sure():
    assert colours_of_bands(words("red", "green", "alpha")) == ("red", "green", None)
    assert colours_of_bands(described("B4", "B3")) == (None, None)


def coloured(path, *interpretations):
    with rasterio.open(path, "r+") as dataset:
        dataset.colorinterp = [ColorInterp[name] for name in interpretations]
    return path


def test_a_plan_reads_bands_in_the_order_of_the_card_and_says_so(plan_of, make_raster):
    path = coloured(make_raster(name="bgr.tif"), "blue", "green", "red")
    plan = plan_of(path)
    assert plan.rasters[0].bands == (3, 2, 1)
    assert (
        "bgr.tif: bands 3, 2, 1 are read as red, green, blue, by their colour interpretation" in plan.notes[0]
    )
    assert plan_of(path, bands=(1, 2, 3)).rasters[0].bands == (1, 2, 3)
    assert not plan_of(path, bands=(1, 2, 3)).notes
    assert plan_of(coloured(make_raster(name="rgb.tif"), *RGB)).notes == ()


def test_a_virtual_raster_is_read_by_what_it_says_itself(plan_of, make_raster, tmp_path):
    source = make_raster(name="nrgb.tif", bands=4)
    with rasterio.open(source) as dataset:
        transform, wkt = ", ".join(map(str, dataset.transform.to_gdal())), dataset.crs.to_wkt()
    bands = "".join(
        f'<VRTRasterBand dataType="Byte" band="{n}"><Description>{name}</Description><SimpleSource><SourceFilename '
        f'relativeToVRT="1">nrgb.tif</SourceFilename><SourceBand>{n}</SourceBand></SimpleSource></VRTRasterBand>'
        for n, name in enumerate(("nir", *RGB), 1)
    )
    virtual = tmp_path / "nrgb.vrt"
    virtual.write_text(
        f'<VRTDataset rasterXSize="53" rasterYSize="37"><SRS>{wkt}</SRS><GeoTransform>{transform}</GeoTransform>'
        f"{bands}</VRTDataset>"
    )
    planned_raster = plan_of(virtual).rasters[0]
    assert planned_raster.bands == (2, 3, 4)
    chip = RasterSource(str(virtual), planned_raster.bands, (0.0,) * 3).read(Window(0, 0, 37, 53))
    with rasterio.open(source) as dataset:
        assert np.array_equal(np.moveaxis(chip.pixels, -1, 0), dataset.read((2, 3, 4)))


def test_bands_that_are_others_are_refused_with_what_the_file_says(plan_of, make_raster):
    path = coloured(make_raster(name="cir.tif"), "nir", "red", "green")
    (said,) = reasons(plan_of, path)
    assert (
        "the bands of" in said
        and "cir.tif are nir, red, green, by their colour interpretation, and tiny expects" in said
    )
    assert "choose them with --bands, such as --bands 1,2,3" in said
    assert plan_of(path, bands=(1, 2, 3)).rasters[0].bands == (1, 2, 3)


def test_a_picture_with_a_table_of_colours_is_to_be_expanded(plan_of, make_raster):
    path = make_raster(name="table.tif", bands=1)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {i: (i, 255 - i, 0, 255) for i in range(256)})
    assert (
        "and " in reasons(plan_of, path)[0]
        and "expand it with gdal_translate -expand rgb" in reasons(plan_of, path)[0]
    )


def test_networks_that_want_other_colours_are_not_averaged(plan_of, bundle, tmp_path):
    other = edited_card(bundle, tmp_path / "other", bands=["blue", "green", "red"])
    (said,) = reasons(plan_of, model=(bundle, other))
    assert "cannot be averaged: one expects the bands red, green, blue, the other blue, green, red" in said


def test_training_takes_bands_by_their_names_and_refuses_rasters_that_differ(make_raster, tmp_path):
    site = make_town(tmp_path, make_raster)
    coloured(site / "town.tif", "blue", "green", "red")
    assert planned(site).bands == (1, 2, 3) and planned(site).band_names == ("blue", "green", "red")
    named = planned(site, "--band-names", "red,green,blue")
    assert named.bands == (3, 2, 1) and named.band_names == RGB
    chosen = planned(site, "--bands", "3,2,1")
    assert chosen.bands == (3, 2, 1) and chosen.band_names == RGB
    other = make_raster(
        192, 192, name="other.tif", transform=rasterio.Affine(0.5, 0, 501_000, 0, -0.5, 5_600_000)
    )
    (site / "other.geojson").write_text((site / "town.geojson").read_text())
    both = ["--images", str(site / "town.tif"), "--images", str(other),
            "--labels", str(site / "town.geojson"), "--labels", str(site / "other.geojson")]  # fmt: skip
    said = train_reasons(site, *both)[0]
    assert (
        "other.tif are red, green, blue, and those of" in said
        and "town.tif blue, green, red, according to the files" in said
    )
