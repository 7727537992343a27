"""Every option of ``terraseam train`` changes what comes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from train_cases import HOME, card_of, planned
from train_town import POOLS, ROOFS, SIDE, make_town, words, write_polygons

from terraseam.models.bundle.archive import load_model
from terraseam.pipeline.cli import main
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.train_arguments import RECIPE, parse_train
from terraseam.pipeline.training.plan import TrainPlan
from terraseam.pipeline.training.run import training_data
from terraseam.tiles.truth.scene import IGNORED


@pytest.fixture
def site(tmp_path: Path, make_raster) -> Path:
    return make_town(tmp_path, make_raster)


def views(plan: TrainPlan, count: int = 60) -> list:
    return [plan.chips.sampler.draw(number).view for number in range(count)]


def drawn_labels(plan: TrainPlan, count: int = 60) -> np.ndarray:
    return np.stack([plan.chips.labels(number) for number in range(count)])


def test_chip_is_the_side_of_chips(site):
    assert planned(site).chips([0]).pixels.shape == (1, 32, 32, 3)
    assert planned(site, "--chip-size", 48).chips([0]).pixels.shape == (1, 48, 48, 3)


def test_gsd_is_the_mean_size_of_pixels_and_that_of_the_rasters_by_default(site):
    assert planned(site).gsd == 0.5
    for gsd in (0.25, 1.0):
        steps = [
            view.row_step * view.col_step for view in views(planned(site, "--gsd", gsd, "--scale-range", 1))
        ]
        assert np.allclose(steps, (gsd / 0.5) ** 2, rtol=0.002)


def test_scale_range_and_stretch_bound_the_size_of_pixels(site):
    exact = views(planned(site, "--scale-range", "1", "--stretch", 1))
    assert np.allclose([(view.row_step, view.col_step) for view in exact], 1, atol=0.001)
    scaled = [view.row_step for view in views(planned(site, "--scale-range", "0.5-2", "--stretch", 1))]
    assert 0.499 <= min(scaled) < 0.7 and 1.5 < max(scaled) <= 2.001
    stretched = views(planned(site, "--scale-range", "1", "--stretch", 1.5))
    ratios = [view.row_step / view.col_step for view in stretched]
    assert 0.666 <= min(ratios) < 0.8 and 1.25 < max(ratios) <= 1.501


def test_objects_is_the_share_of_chips_around_things(site):
    shares = [
        (drawn_labels(planned(site, "--object-fraction", share)) % IGNORED > 0).mean() for share in (0, 1)
    ]
    assert shares[1] > 1.3 * shares[0]


def test_bands_are_read_in_their_order(site):
    own, turned = planned(site), planned(site, "--bands", "3,2,1")
    assert np.array_equal(own.chips([5]).pixels[..., ::-1], turned.chips([5]).pixels)


def test_symmetries_turn_pixels_and_labels_alike(site):
    turned, straight = planned(site).chips(range(40)), planned(site, "--no-symmetries").chips(range(40))
    same = [np.array_equal(one, other) for one, other in zip(turned.pixels, straight.pixels, strict=True)]
    assert 0 < sum(same) < 15
    for batch in (turned, straight):
        roofs, pools = batch.pixels[batch.labels == 1], batch.pixels[batch.labels == 2]
        assert np.abs(roofs.mean(axis=0) - (200, 60, 50)).max() < 10
        assert np.abs(pools.mean(axis=0) - (40, 80, 210)).max() < 10


def test_looks_are_as_strong_as_asked_for(site):
    from terraseam.models.bundle.values import Scaling

    own = Scaling((1.0,) * 3, (0.0,) * 3)
    none, usual, strong = (
        training_data(planned(site, "--augmentation", x), own).augmentation for x in (0, 1, 2)
    )
    assert none.contrast == 0 < usual.contrast < strong.contrast


def test_an_area_hides_the_labels_outside_of_it(site):
    inside = planned(site, "--aoi", site / "west.geojson")
    for plan, hidden in ((inside, True), (planned(site), False)):
        scene = plan.chips.scenes[0]
        east = [scene.labels(view)[:, view.cols > 100] != IGNORED for view in views(plan)]
        assert any(part.any() for part in east) != hidden
    for site_number, view in inside.validation.views:
        known = inside.validation.scenes[site_number].labels(view) != IGNORED
        assert not known[:, view.cols > 100].any()


@pytest.mark.parametrize("share", [0, 1])
def test_all_chips_are_drawn_inside_a_small_area(site, share):
    boxes = [(36, 50, 44, 64), (176, 56, 186, 66)]
    write_polygons(site / "small.geojson", HOME, boxes, ["roof", "pool"])
    plan = planned(site, "--aoi", site / "small.geojson", "--object-fraction", share, "--chip-size", 16)
    for number in range(200):
        view = plan.chips.sampler.draw(number).view
        assert any(
            view.row < row1 and view.row_end > row0 and view.col < col1 and view.col_end > col0
            for row0, col0, row1, col1 in boxes
        )


def test_classes_are_those_that_the_property_names(site):
    assert planned(site).classes.names == ("background", "roof", "pool")
    one = planned(site, "--classes", "pool", "--background", "land")
    assert one.classes.names == ("land", "pool")
    assert one.findings.others == {"roof": 5}
    assert planned(site, "--classes", "pool,roof").classes.names == ("background", "pool", "roof")


def test_block_size_and_val_share_say_what_is_set_apart(site):
    def apart(plan: TrainPlan) -> float:
        return plan.chips.scenes[0].hidden.share

    assert apart(planned(site, "--val-fraction", 0.5)) > apart(planned(site)) > 0
    assert planned(site, "--block-size", 16).chips.scenes[0].hidden.chosen.shape == (6, 6)


def test_no_pixel_is_trained_on_and_validated_on(site):
    plan = planned(site, "--val-fraction", 0.4)
    whole = plan.validation.views[0][1]
    view = type(whole)(0, 0, 1, 1, 192, 192)
    trained, validated = (
        scene.labels(view) != IGNORED for scene in (plan.chips.scenes[0], plan.validation.scenes[0])
    )
    assert not (trained & validated).any()
    assert (trained | validated).all()


def test_every_field_of_the_recipe_arrives(site):
    said = {
        "epochs": 3, "steps": 7, "batch": 2, "learning_rate": 0.01, "schedule": "poly", "warm_up": 2, "optimizer": "sgd",
        "weight_decay": 0.1, "clip": 2.0, "loss": "focal", "class_weights": (1.0, 2.0, 3.0), "freeze_epochs": 0,
        "freeze_norm": False, "patience": 4, "ema": 0.9, "seed": 5,
    }  # fmt: skip
    assert set(said) == set(RECIPE)
    more = []
    for name, value in said.items():
        if value is not False:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            more += [f"--{name.replace('_', '-')}", text]
    recipe = planned(site, *more).recipe
    assert {name: getattr(recipe, name) for name in said} == said


def test_balanced_weights_are_the_median_frequency_by_that_of_each_class(site):
    plan = planned(site, "--class-weights", "balanced")
    chips = [labels[labels != IGNORED] for labels in drawn_labels(plan, 200)]
    shares = []
    for label in range(3):
        having = np.concatenate([labels for labels in chips if (labels == label).any()])
        shares.append((having == label).mean())
    assert np.allclose(plan.recipe.class_weights, np.median(shares) / shares, atol=1e-4)
    assert planned(site).recipe.class_weights is None


def test_borders_are_weighed_where_the_loss_wants_them(site):
    assert planned(site).chips([0]).weights is None
    weights = planned(site, "--loss", "cross_entropy:border", "--chip-size", 96).chips(range(4)).weights
    assert weights.shape == (4, 96, 96) and weights.max() > 0


def test_a_polygon_of_the_background_around_others_takes_no_border_weights(site):
    more = ["--loss", "cross_entropy:border", "--chip-size", 96, "--object-fraction", 0]
    weights = planned(site, *more).chips(range(4)).weights
    boxes, kinds = (
        [(0, 0, SIDE, SIDE), *ROOFS, *POOLS],
        ["background"] + ["roof"] * len(ROOFS) + ["pool"] * len(POOLS),
    )
    write_polygons(site / "town.geojson", HOME, boxes, kinds)
    assert np.array_equal(planned(site, *more).chips(range(4)).weights, weights)


def trained(site: Path, *more: object) -> dict:
    assert main(["train", *words(site, "--epochs", "1", *map(str, more))]) == 0
    return card_of(site / "bundle")


@pytest.mark.slow
def test_the_card_says_what_the_command_said(site):
    card = trained(
        site, "--name", "town-roofs", "--version", "2.1.0", "--license", "CC BY 4.0", "--band-names", "nir,red,green",
        "--bands", "1,2,3",
        "--gsd", "0.6", "--fp16-weights", "--work", site / "state", "--tensorboard", "--pictures", "3", "--seed", "3",
    )  # fmt: skip
    assert (card["name"], card["version"], card["license"]) == ("town-roofs", "2.1.0", "CC BY 4.0")
    assert (card["bands"], card["gsd"], card["encoder"]) == (["nir", "red", "green"], 0.6, None)
    assert [info["name"] for info in card["classes"]] == ["background", "roof", "pool"]
    assert card["classes"][0]["background"]
    assert card["reach"] == {"top": 94, "bottom": 94, "left": 94, "right": 94}
    assert "share of labels changed by rounding the weights" in card["metrics"]
    told = card["training"]
    assert told["data"]["things"] == {"roof": 5, "pool": 2}
    assert told["recipe"]["seed"] == 3
    assert set(told["versions"]) == {"terraseam", "keras", "tensorflow"}
    weights = np.concatenate([one.ravel() for one in load_model(site / "bundle").get_weights()])
    assert not (weights.astype(np.float32).view(np.uint32) & 0x1FFF).any()
    assert (site / "state" / "pictures" / "epoch-0001.png").is_file()
    assert list((site / "state").rglob("events.out.tfevents*"))


@pytest.mark.slow
def test_a_start_gives_its_weights(site, capsys):
    trained(site, "--learning-rate", "0.01")
    first = load_model(site / "bundle").get_weights()
    more = (
        "--output",
        site / "second",
        "--initial-bundle",
        site / "bundle",
        "--learning-rate",
        "1e-9",
        "--epochs",
        "1",
    )
    assert main(["train", *words(site, *map(str, more))]) == 0
    second = load_model(site / "second").get_weights()
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(first, second, strict=True))
    assert "come from" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(site, capsys):
    before = sorted(site.rglob("*"))
    assert main(["train", *words(site, "--dry-run")]) == 0
    assert "5 roof, 2 pool" in capsys.readouterr().out
    assert sorted(site.rglob("*")) == before


@pytest.mark.slow
def test_a_bundle_is_replaced_only_by_force_and_a_training_begun_anew_only_by_restart(site, capsys):
    trained(site)
    assert main(["train", *words(site, "--epochs", "1")]) == 2
    assert "--force" in capsys.readouterr().err
    trained(site, "--force")
    assert "\nepoch 1 of 1: loss" not in capsys.readouterr().out
    trained(site, "--force", "--restart", "--learning-rate", "0.01")
    assert "\nepoch 1 of 1: loss" in capsys.readouterr().out


def test_options_stand_in_a_file_and_the_command_line_goes_before_it(site, tmp_path):
    file = tmp_path / "train.toml"
    file.write_text('chip = 64\nbatch = 2\nscale_range = "0.5-2"\nno_symmetries = true\nclasses = ["roof", "pool"]\n'
        f'images = ["{site}/town.tif"]\nset = {{width = 8}}\nclass_weights = [1, 2, 3]\n')  # fmt: skip
    said = list(words(site))
    place = said.index("--images")
    del said[place : place + 2]
    for name in ("--chip-size", "--batch-size", "--set"):
        place = said.index(name)
        del said[place : place + 2]
    options = parse_train([*said, "--config", str(file), "--batch-size", "3"])
    assert options.truths.images == (f"{site}/town.tif",)
    assert (options.chips.chip, options.recipe["batch"]) == (64, 3)
    assert (options.chips.scale_range, options.chips.symmetries) == ((0.5, 2.0), False)
    assert (options.settings, options.recipe["class_weights"]) == ({"width": 8}, (1.0, 2.0, 3.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("chipp = 64", r"did you mean chip_size\?"),
        ("chip = true", "chip_size is true; it takes a whole number"),
        ("chip_size = 1\nchip = 2", "chip and chip_size are the same option; give it once"),
        ('half = "yes"', "fp16_weights is .yes.; it takes true or false"),
        ("chip = [", "is not TOML"),
        ("chip = -1", "whole number"),
        ("config = 'x'", "config is not an option of terraseam train"),
        ("classes = ['background', '', 'roof']", "'background,,roof' contains an empty name"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(site, tmp_path, text, said):
    file = tmp_path / "train.toml"
    file.write_text(text)
    with pytest.raises(ArgumentError, match=said):
        parse_train([*words(site), "--config", str(file)])


def test_help_begins_with_what_a_newcomer_needs(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    told = capsys.readouterr().out.partition("\noptions:\n")[2]
    places = [
        told.index(f"  --{name}")
        for name in ("images", "labels", "classes", "architecture", "encoder", "output")
    ]
    assert places == sorted(places)
    assert places[-1] < told.index("labels:\n")


def test_what_is_missing_is_asked_for_by_name():
    with pytest.raises(ArgumentError, match="give --images, --labels, --classes, --architecture, --output"):
        parse_train([])
