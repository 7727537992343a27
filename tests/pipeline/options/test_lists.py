"""Lists that are given several times add up, in every command."""

import pytest

from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.evaluate_arguments import parse_evaluate
from terraseam.pipeline.options.models_arguments import parse_models
from terraseam.pipeline.options.segment_arguments import parse
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize


def segment(*arguments):
    return parse(["segment", "a.tif", "--model", "m", "--output", "o", *arguments], "1")[1]


def test_lists_of_segment_add_up_in_order():
    found = segment("--classes", "a,b", "--tile", "512", "--classes=c", "--bands", "3", "--bands", "1,2",
                    "--format", "gpkg", "--format", "geojson")  # fmt: skip
    assert (found.classes, found.bands, found.formats) == (("a", "b", "c"), (3, 1, 2), ("geojson", "gpkg"))
    assert segment("--format", "gpkg").formats == ("gpkg",)
    with pytest.raises(ArgumentError, match="argument --bands: '1,x' is not a list of band numbers"):
        segment("--bands", "1", "--bands", "x")


def test_what_is_no_list_is_the_last_that_was_said():
    assert segment("--tile", "512", "--tile", "1024").tile == 1024


def test_names_of_labels_add_up_as_one_list_would():
    rest = ["a.tif", "--output", "o"]
    plain = parse_vectorize(
        [*rest, "--class-names", "a,b", "--class-names", "c", "--classes", "a", "--classes", "c"]
    )
    assert plain.class_names == ((0, "a"), (1, "b"), (2, "c")) and plain.classes == ("a", "c")
    numbered = parse_vectorize([*rest, "--class-names", "10=a", "--class-names", "20=b"])
    assert numbered.class_names == ((10, "a"), (20, "b"))


def test_lists_of_evaluate_add_up():
    found = parse_evaluate(["--predicted", "p", "--truth", "a", "--truth", "b", "c", "--images", "x", "--images", "y",
                            "--label-values", "0", "--label-values", "7", "--classes", "a", "--classes", "b"])  # fmt: skip
    assert (found.truth, found.images) == (("a", "b", "c"), ("x", "y"))
    assert (found.label_values, found.classes) == ((0, 7), ("a", "b"))


def test_lists_of_models_add_up_also_with_minus():
    found = parse_models(["import", "f", "--scale", "1", "--scale", "2", "--offset", "-1", "--offset", "-2.5",
                          "--bands", "red", "--bands", "green", "--classes", "a", "--classes", "b"])  # fmt: skip
    assert (found.scale, found.offset) == ((1, 2), (-1, -2.5))
    assert (found.bands, found.classes) == (("red", "green"), ("a", "b"))


def test_lists_of_train_add_up_and_come_before_those_of_its_job_file(tmp_path):
    job = tmp_path / "job.toml"
    job.write_text(
        'images = ["x.tif", "y.tif"]\nclasses = ["roof"]\nval_images = ["v.tif"]\nval_labels = ["v.fgb"]\n'
    )
    found = parse_train(["--images", "a", "--images", "b", "c", "--labels", "l", "--labels", "k", "--classes", "road",
                         "--classes", "wall", "--architecture", "unet", "--output", "o", "--config", str(job),
                         "--class-weights", "1", "--class-weights", "2,3"])  # fmt: skip
    truths = found.truths
    assert (truths.images, truths.labels) == (("a", "b", "c"), ("l", "k"))
    assert truths.classes == ("road", "wall") and truths.val_images == (str(tmp_path / "v.tif"),)
    assert found.recipe["class_weights"] == (1, 2, 3)
