"""An option is declared once: all that is made of it agrees, former names work on, and none that deletes is suggested."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest

from terraseam.pipeline.cli import main
from terraseam.pipeline.declarations.option import Option, dashed, declared, former_names
from terraseam.pipeline.declarations.values import number, path, share, whole
from terraseam.pipeline.deploy import flex_template
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.beam import beam_options, option_hint, removes
from terraseam.pipeline.options.evaluate_arguments import evaluate_parser
from terraseam.pipeline.options.job_schema import Command, unknown
from terraseam.pipeline.options.models_arguments import models_parsers
from terraseam.pipeline.options.parser import Parser, add_options, read_arguments, with_names_of_today
from terraseam.pipeline.options.segment_arguments import parse, parsers
from terraseam.pipeline.options.store_arguments import parse_store, store_parsers
from terraseam.pipeline.options.train_arguments import parse_train, train_parser
from terraseam.pipeline.options.vectorize_arguments import vectorize_parser


@dataclass(frozen=True)
class Lawn:
    """Options of a command that does not exist."""

    rasters: Annotated[tuple[str, ...], Option("meadows", path, "RASTER", positional=True, repeats="words")]
    height: Annotated[
        float, Option("height of the grass, in metres", number(0), "M", former=("tallness",))
    ] = 0.1
    seeds: Annotated[int | None, Option("seeds", whole(1), "N", group="sowing", default_help="many")] = None
    mowed: Annotated[bool, Option("leave it", group="mowing", name="no-mowing", former=("wild",))] = True
    burn: Annotated[bool, Option("burn it down", group="mowing", deletes=True, also=("fire",))] = False
    beam: tuple[str, ...] = ()


def lawn() -> Parser:
    parser = Parser(prog="lawn", allow_abbrev=False)
    add_options(parser, [*declared(Lawn), CONFIG], ("mowing", "sowing"))
    return parser


CONFIG = Option("job file", path, "FILE", name="config", field="config", in_jobs=False)

TRAIN = ["--images", "a", "--labels", "b", "--classes", "c", "--architecture", "unet", "--output", "o"]


def commands() -> dict[str, Parser]:
    """The parsers of all commands, by their name."""
    found = {"vectorize": vectorize_parser(), "evaluate": evaluate_parser(), "train": train_parser()}
    return found | parsers("0")[1] | models_parsers()[1] | store_parsers()[1]


def test_an_option_is_what_its_field_says():
    options = {option.field: option for option in declared(Lawn)}
    assert list(options) == ["rasters", "height", "seeds", "mowed", "burn"]
    assert [option.name for option in options.values()] == ["rasters", "height", "seeds", "no-mowing", "burn"]
    assert [name for name, option in options.items() if option.required] == ["rasters"]
    assert [name for name, option in options.items() if option.flag] == ["mowed", "burn"]
    assert options["height"].help_text == "height of the grass, in metres (default: 0.1)"
    assert options["seeds"].help_text == "seeds (default: many)"
    assert options["burn"].help_text == "burn it down"


def test_values_come_from_the_command_line_or_are_the_defaults_of_the_fields():
    assert read_arguments(lawn(), ["a", "b"], beam=False) == {
        "rasters": ("a", "b"), "height": 0.1, "seeds": None, "mowed": True, "burn": False, "config": None,
    }  # fmt: skip
    found = read_arguments(lawn(), ["a", "--no-mowing", "--fire", "--height", "2"], beam=False)
    assert (found["mowed"], found["burn"], found["height"]) == (False, True, 2.0)


def test_help_has_groups_in_their_order_and_no_former_name():
    told = lawn().format_help()
    places = [told.index(f"\n{name}:\n") for name in ("positional arguments", "options", "mowing", "sowing")]
    assert places == sorted(places)
    assert told.index("--height M") < told.index("\nmowing:\n") < told.index("--burn, --fire")
    assert "tallness" not in told and "--wild" not in told


@pytest.mark.parametrize("words", [["--tallness", "2", "--wild"], ["--tallness=1", "--wild", "--tallness=2"]])
def test_a_former_name_works_on_and_says_so_once(words, capsys):
    assert read_arguments(lawn(), ["a", *words]) == read_arguments(
        lawn(), ["a", "--height", "2", "--no-mowing"]
    )
    assert capsys.readouterr().err.splitlines() == [
        "terraseam: --tallness is now --height; the old name works on",
        "terraseam: --wild is now --no-mowing; the old name works on",
    ]


def test_a_former_name_works_on_in_job_files_and_says_so_once(tmp_path, capsys):
    file = tmp_path / "job.toml"
    file.write_text("tallness = 2\nwild = true")
    assert read_arguments(lawn(), ["a", "--config", str(file)])["height"] == 2
    assert capsys.readouterr().err.splitlines() == [
        "terraseam: tallness is now height; the old name works on",
        "terraseam: wild is now no_mowing; the old name works on",
    ]
    file.write_text("tallness = 2\nheight = 3")
    with pytest.raises(ArgumentError, match="tallness and height are the same option; give it once"):
        read_arguments(lawn(), ["a", "--config", str(file)])


def test_a_former_name_is_a_parameter_of_the_template_and_becomes_the_option(monkeypatch, capsys):
    monkeypatch.setattr(flex_template, "parsers", lambda _: (None, {"segment": lawn()}))
    told = {parameter["name"]: parameter for parameter in flex_template.metadata()["parameters"]}
    assert list(told) == ["rasters", "height", "tallness", "seeds", "no-mowing", "wild", "burn"]
    assert told["tallness"]["helpText"] == "Former name of height"
    assert told["tallness"]["regexes"] == told["height"]["regexes"] and told["tallness"]["isOptional"]
    words = flex_template.launch(["--rasters=a", "--tallness=2", "--wild=true"], {"TERRASEAM_IMAGE": "i"})
    found = read_arguments(lawn(), [word for word in words[1:] if "sdk" not in word])
    assert (found["height"], found["mowed"]) == (2, False)
    assert "--tallness is now --height" in capsys.readouterr().err


FORMER = [
    (name, old, new)
    for name, parser in commands().items()
    for old, new in former_names(parser.options).items()
]


def test_options_whose_names_were_not_the_fields_words_have_new_ones():
    assert {(old, new) for name, old, new in FORMER if name == "train"} >= {
        ("looks", "augmentation"), ("half", "fp16-weights"), ("average", "ema"), ("rate", "learning-rate"),
        ("start", "initial-bundle"), ("objects", "object-fraction"), ("chip", "chip-size"), ("batch", "batch-size"),
    }  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), FORMER)
def test_no_former_name_is_that_of_another_option(name, old, new):
    names = [dashed(one) for option in commands()[name].options for one in (option.name, *option.also)]
    assert old not in names and names.count(new) == 1


def test_training_with_former_names_is_training_with_those_of_today(capsys):
    said = [
        *["--looks", "2", "--half", "--average", "0.9", "--rate", "0.1", "--start", "b"],
        *["--objects", "0.2", "--chip", "64", "--batch", "2"],
    ]
    options = {option.name: option for option in train_parser().options}
    today, notes = with_names_of_today(options.values(), said)
    assert len(notes) == 8 and not set(today) & set(said) - {word for word in said if word[0] != "-"}
    assert parse_train([*TRAIN, *said]) == parse_train([*TRAIN, *today])
    assert capsys.readouterr().err.count("the old name works on") == 8
    assert parse_store(["prune", "d", "--down-to", "1kB"]).down_to == 1000


def test_test_time_augmentation_has_two_names():
    least = ["segment", "a.tif", "--model", "m", "--output", "o"]
    assert parse([*least, "--tta"], "0") == parse([*least, "--augment"], "0")


@pytest.mark.parametrize("name", commands())
def test_options_that_delete_are_those_whose_names_say_so(name):
    """Beam's options are told by their names alone, so ours are held to the same rule."""
    for option in commands()[name].options:
        assert option.deletes == removes(option.name), option.name


def mistyped(name: str) -> set[str]:
    """Names with a letter less, a letter twice, or two letters exchanged."""
    places = range(len(name))
    without = {name[:i] + name[i + 1 :] for i in places}
    twice = {name[: i + 1] + name[i:] for i in places}
    return without | twice | {name[:i] + name[i + 1 : i + 2] + name[i] + name[i + 2 :] for i in places}


OTHERS = (
    "gpu",
    "gpus",
    "purge",
    "trunc",
    "prone",
    "prunes",
    "rune",
    "forced",
    "enforce",
    "remote",
    "restarts",
    "clean",
)


def suggested(hint: str) -> str:
    """The option or field that a hint names, without dashes before it; empty for none."""
    return dashed(hint.partition("did you mean ")[2].partition("?")[0].strip("-"))


@pytest.mark.parametrize("name", commands())
def test_no_suggestion_ever_names_an_option_that_deletes(name):
    parser = commands()[name]
    for action in parser._actions:
        action.required = False
    deleting = {one for option in parser.options if option.deletes for one in (option.name, *option.former)}
    names = {one for option in parser.options for one in (option.name, *option.also, *option.former)}
    known = {f"--{one}" for one in names} | set(beam_options())
    found = set()
    words = {word for one in names for word in mistyped(one)} | set(OTHERS)
    for word in sorted(words - names):
        hints = [option_hint(f"--{word}", known), unknown(word, Command("x", parser.options), None)]
        with pytest.raises(ArgumentError, match="unrecognized arguments") as refused:
            parser.parse_args([f"--{word}"])
        found |= set(map(suggested, [*hints, str(refused.value)]))
    assert not found & deleting
    assert found - {""}, "nothing was suggested at all"


def test_gpu_is_not_taken_for_prune(capsys):
    assert main(["segment", "a.tif", "--model", "m", "--output", "o", "--gpu"]) == 2
    told = capsys.readouterr().err
    assert "--accelerator" in told and "prune" not in told


def test_help_of_segment_has_groups_and_two_examples(capsys):
    with pytest.raises(SystemExit):
        main(["segment", "--help"])
    told = capsys.readouterr().out
    groups = ["options", "input", "network", "polygons", "label map", "tiling", "run", "examples"]
    places = [told.index(f"\n{name}:\n") for name in groups]
    assert places == sorted(places)
    examples = told[places[-1] :].partition("\n\n")[0].replace("\\\n", "").splitlines()[2:]
    assert len(examples) == 2
    for example in examples:
        words = example.replace("'", "").split()
        assert words[:2] == ["terraseam", "segment"]
        parse(words[1:], "0")


def test_errors_and_suggestions_have_the_name_of_today():
    parser = Parser(prog="x")
    add_options(parser, [Option("share", share, "X", name="part", field="part", former=("fragment",))])
    with pytest.raises(ArgumentError, match="argument --part: '2' is not a number from 0 to 1"):
        parser.parse_args(["--fragment", "2"])
    with pytest.raises(ArgumentError, match=r"--fragmnt 2; did you mean --part\?"):
        parser.parse_args(["--fragmnt", "2"])
