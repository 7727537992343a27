"""What cannot be trained is refused before anything is trained, every reason at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio
from train_cases import HOME, card_of, planned, reasons
from train_town import SIDE, make_town, words, write_polygons

from terraseam.pipeline.cli import main
from terraseam.pipeline.errors import TrainError


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


CASES = {
    "weights of a class are missing": (
        ("--class-weights", "1,2"),
        "2 factors for 3 classes; give one for each of background, roof, pool",
    ),
    "a band has no name": (("--band-names", "a,b"), "2 names for 3 bands"),
    "a name of a band comes twice": (("--band-names", "a,b,b"), "names a band twice"),
    "a GSD is a slip of the pen": (("--gsd", "0.001"), "out of range for these rasters: they have 0.5 m/px"),
    "a GSD is in other units": (("--gsd", "50"), "out of range for these rasters"),
    "nothing rests without an encoder": (("--freeze-epochs", "2"), "no pretrained encoder to freeze"),
    "no normalization rests either": (("--freeze-norm",), "no pretrained encoder to freeze"),
    "values of rasters for polygons": (("--label-values", "0,1,2"), "--label-values is for label rasters"),
    "weights are no file": (("--encoder-weights", "SITE"), "is not a file"),
    "a start is no bundle": (("--initial-bundle", "SITE"), "--initial-bundle"),
    "a start is nowhere": (("--initial-bundle", "nowhere"), "nowhere"),
    "a folder is a file": (("--work", "SITE/town.tif"), "is a file"),
    "a folder lies in a file": (("--output", "SITE/town.tif/bundle"), "is a file"),
    "an output is a file": (("--output", "SITE/town.tif"), "is a file"),
    "an output holds other things": (("--output", "SITE"), "holds files that are not a bundle"),
    "a share is none": (("--object-fraction", "2"), "--object-fraction 2 must be 0 to 1"),
    "a loss is unknown": (("--loss", "crossentropy"), "terms are cross_entropy, dice, focal"),
    "a network is unknown": (("--architecture", "unett"), "did you mean unet?"),
    "an encoder is unknown": (("--encoder", "vgg"), "choose one of none, vgg16"),
    "a chip does not fit the stride": (("--chip-size", "40"), "multiple of 16 px"),
    "no file matches": (("--images", "SITE/nothing/*.tif"), "no file matches"),
    "no label matches": (("--labels", "SITE/nothing/*.geojson"), "no file matches"),
    "a class does not occur": (("--classes", "roof,tree"), "no polygon of tree .* kind is also pool"),
    "a property does not occur": (("--class-property", "type"), "has no property 'type'"),
    "a band is missing": (("--bands", "1,2,4"), "--bands names band 4"),
    "there is one raster to split": (("--split", "raster"), "two rasters or more"),
    "a block is larger than the raster": (("--block-size", "50000"), "nothing can be held out"),
}


@pytest.mark.parametrize(("more", "said"), CASES.values(), ids=CASES)
def test_what_cannot_be_meant_is_refused_in_one_sentence(site, more, said):
    found = reasons(site, *(word.replace("SITE", str(site)) for word in more))
    assert len(found) == 1
    assert "\n" not in found[0]
    with pytest.raises(TrainError, match=said):
        raise TrainError(found)


def test_all_reasons_are_told_at_once(site, capsys):
    more = [
        "--architecture",
        "unett",
        "--object-fraction",
        "2",
        "--loss",
        "x",
        "--images",
        "no/*.tif",
        "--initial-bundle",
        "y",
    ]
    assert main(["train", *words(site, *more)]) == 2
    told = capsys.readouterr().err
    assert told.count("\n- ") == 5


def test_a_raster_that_is_trained_on_measures_nothing(site):
    same = ["--val-images", site / "town.tif", "--val-labels", site / "town.geojson"]
    assert "cannot validate" in reasons(site, *same)[0]
    link = site / "link"
    link.symlink_to(site / "town.tif")
    assert "cannot validate" in reasons(site, "--val-images", link, *same[2:])[0]
    shutil.copy(site / "west.geojson", site / "other.geojson")
    apart = planned(site, *same, "--aoi", site / "west.geojson", "--val-aoi", site / "other.geojson")
    assert len(apart.train) == 1


def test_ground_that_is_trained_on_and_validated_on_is_noted_within_the_areas(site):
    """Also on one raster; areas that share an edge, in degrees, have no common ground."""
    shutil.copy(site / "town.tif", site / "copy.tif")
    shutil.copy(site / "town.geojson", site / "copy.geojson")
    for name, left in (("east", 100), ("more", 98)):
        write_polygons(site / f"{name}.geojson", HOME, [(0, left, SIDE, SIDE)], ["area"])

    def noted(name: str, area: str) -> list[str]:
        val = ["--val-images", site / f"{name}.tif", "--val-labels", site / f"{name}.geojson"]
        plan = planned(site, *val, "--aoi", site / "west.geojson", "--val-aoi", site / f"{area}.geojson")
        return [note for note in plan.findings.notes if "validation figures will be too good" in note]

    for name, expected in (
        ("town", "--aoi and --val-aoi overlap on"),
        ("copy", "overlaps the validation raster"),
    ):
        assert not noted(name, "east")
        (note,) = noted(name, "more")
        assert expected in note


def test_a_raster_of_far_gsd_is_named(site):
    far = [
        [note for note in planned(site, "--gsd", gsd).findings.notes if "far" in note] for gsd in (0.2, 0.1)
    ]
    assert not far[0]
    assert "town.tif has a GSD of 0.5 m/px, far from the 0.1 m/px" in far[1][0]


def test_a_folder_that_may_not_be_written_is_refused(site):
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    closed = site / "closed"
    closed.mkdir(mode=0o500)
    assert "no permission" in reasons(site, "--output", closed / "bundle")[0]


def with_broken(site: Path, make_raster) -> list[str]:
    """A second raster with labels, cut off in the middle."""
    pixels = np.random.default_rng(1).integers(0, 255, (192, 192, 3)).astype(np.uint8)
    path = make_raster(
        pixels=pixels, name="village.tif", transform=rasterio.Affine(0.5, 0, 500_200, 0, -0.5, 5_600_000)
    )
    shutil.copy(site / "town.geojson", site / "village.geojson")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    both = ["--images", *map(str, (site / "town.tif", path))]
    return [*both, "--labels", str(site / "town.geojson"), str(site / "village.geojson")]


def test_a_broken_raster_is_named_or_skipped_and_counted(site, make_raster, capsys):
    more = with_broken(site, make_raster)
    (reason,) = reasons(site, *more)
    assert "village.tif" in reason and "--on-error skip" in reason
    assert main(["train", *words(site, *more, "--on-error", "skip", "--epochs", "1")]) == 0
    assert "skipped:" in capsys.readouterr().err
    card = card_of(site / "bundle")
    assert card["training"]["data"]["files skipped"] == 1
    assert card["training"]["data"]["rasters"] == ["town"]


def with_a_hole(path: Path) -> Path:
    """Damage a block of a raster where planning does not look: 4 by 4 blocks of 48 px, the sixth of them."""
    with rasterio.open(path) as dataset:
        pixels, profile = dataset.read(), dataset.profile
    blocks = {"tiled": True, "blockxsize": 48, "blockysize": 48, "compress": "deflate"}
    with rasterio.open(path, "w", **{**profile, **blocks}) as dataset:
        dataset.write(pixels)
    with rasterio.open(path) as dataset:
        start, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_1_1", dm="TIFF", bidx=1)) for what in ("OFFSET", "SIZE")
        )
    data = bytearray(path.read_bytes())
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


def test_a_raster_with_a_damaged_block_is_skipped_or_ends_the_training_with_advice(site, capsys):
    shutil.copy(site / "town.tif", site / "village.tif")
    shutil.copy(site / "town.geojson", site / "village.geojson")
    with_a_hole(site / "village.tif")
    both = [
        "--images",
        str(site / "*.tif"),
        "--labels",
        str(site / "town.geojson"),
        str(site / "village.geojson"),
    ]
    (skipped,) = planned(site, *both, "--on-error", "skip").findings.skipped
    assert "village.tif cannot be read at" in skipped
    assert main(["train", *words(site, *both, "--epochs", "1", "--steps-per-epoch", "40")]) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert "village.tif cannot be read at" in told
    assert f"kept in {site / 'bundle'}.training: run the same command again to continue from it" in told


def test_broken_labels_are_one_reason_and_not_two(site):
    (site / "town.geojson").write_text("{nonsense")
    assert len(reasons(site)) == 1
