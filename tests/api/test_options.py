"""Options of the functions are those of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

import terraseam
from terraseam.api.options import COMMANDS
from terraseam.pipeline.child import PARSERS
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.evaluate_arguments import parse_evaluate
from terraseam.pipeline.options.job_schema import job_options
from terraseam.pipeline.options.keywords import command_arguments
from terraseam.pipeline.options.segment_arguments import parse
from terraseam.pipeline.options.train_arguments import parse_train
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize


@pytest.mark.parametrize("command", COMMANDS)
def test_functions_have_the_options_of_their_commands(command):
    named = set(job_options(PARSERS[command]().options)) - {"rasters"}
    of_files = {"config"} if command != "evaluate" else set()
    of_beam = {"beam"} if command in ("segment", "plan", "vectorize") else set()
    assert set(COMMANDS[command].__annotations__) == named | of_files | of_beam


def segment_options(**options):
    return parse(["segment", *command_arguments(PARSERS["segment"](), options)], "")[1]


def test_values_become_what_the_command_line_makes_of_them():
    options = segment_options(
        rasters=["a.tif", "-b.tif"],
        model=["coast", "other"],
        output="out",
        bands=[3, 2, 1],
        classes=["water", "land"],
        min_area=2.5,
        format=["parquet", "geojson"],
        tile="auto",
        halo=None,
        resample=True,
        any_gsd=False,
        no_verify=True,
        allow_sources=["gs://a/*", "https://b/*"],
        beam={"runner": "DirectRunner", "experiments": ["x", "y"], "streaming": False},
    )
    said = "a.tif ./-b.tif --model coast --model other --output out --bands 3,2,1 --classes water,land --min-area 2.5"
    said += " --format parquet,geojson --tile auto --resample --no-verify --allow-sources gs://a/*"
    said += " --allow-sources https://b/* --runner=DirectRunner --experiments=x --experiments=y"
    assert options == parse(["segment", *said.split()], "")[1]


def test_lists_and_tables_of_every_command_are_understood():
    words = command_arguments(
        PARSERS["train"](),
        {
            "images": ["a.tif", "b.tif"],
            "labels": "a.geojson",
            "classes": ["roof"],
            "architecture": "unet",
            "output": "bundle",
            "set": {"width": 4, "residual": True},
            "scale_range": [0.5, 2],
            "class_weights": [1, 2.5],
        },
    )
    options = parse_train(words)
    assert options.truths.images == ("a.tif", "b.tif")
    assert options.settings == {"width": 4, "residual": 1}
    assert options.chips.scale_range == (0.5, 2.0)
    assert options.recipe["class_weights"] == (1.0, 2.5)
    words = command_arguments(
        PARSERS["vectorize"](),
        {"rasters": "map.tif", "output": "out", "class_names": {10: "trees", 20: "shrubs"}},
    )
    assert parse_vectorize(words).class_names == ((10, "trees"), (20, "shrubs"))
    words = command_arguments(
        PARSERS["evaluate"](), {"predicted": "out", "truth": ["a", "b"], "label_values": [0, -1]}
    )
    assert parse_evaluate(words).truth == ("a", "b")
    assert parse_evaluate(words).label_values == (0, -1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prune": 1}, "prune is 1; it takes true or false"),
        ({"output": ["a", "b"]}, "output is a list; it takes one value"),
        ({"tile": {"a": 1}}, "tile is a table; it takes a whole number"),
        ({"classes": ["a,b", "c"]}, "classes: 'a,b' contains a ',', which separates"),
        ({"beam": "--runner=Flink"}, "it takes a table of Apache Beam's options"),
        ({"modle": "coast"}, "modle is not an option of terraseam segment; did you mean model?"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(options, words):
    with pytest.raises(ArgumentError) as refused:
        command_arguments(PARSERS["segment"](), options)
    assert words in str(refused.value)


def test_an_option_that_does_not_exist_is_a_type_error_with_the_nearest_one():
    with pytest.raises(
        TypeError, match=r"segment\(\) got an unexpected keyword argument 'modle'; did you mean model\?"
    ):
        terraseam.segment("scene.tif", modle="coast", output="out")  # type: ignore[call-arg]


def test_values_that_json_does_not_have_are_a_type_error():
    with pytest.raises(TypeError, match="is not a valid option value"):
        terraseam.plan(Path("scene.tif"), model=object(), output="out")  # type: ignore[arg-type]
