"""Job files: every option is a field and every field an option, and all that is wrong is said at once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import nets
import pytest
from places import ROOT

from terraseam.pipeline.cli import main
from terraseam.pipeline.errors import ArgumentError
from terraseam.pipeline.options.beam import beam_options
from terraseam.pipeline.options.job_schema import job_schema
from terraseam.pipeline.options.placeholders import PlaceholderError, Surroundings
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.options.segment_arguments import parse, parsers
from terraseam.pipeline.options.train_arguments import parse_train, train_parser
from terraseam.pipeline.options.vectorize import VectorizeOptions
from terraseam.pipeline.options.vectorize_arguments import parse_vectorize, vectorize_parser


@dataclass(frozen=True)
class Command:
    """A command that reads job files: its parser, what parses its words, and the least that it wants."""

    name: str
    parser: Callable[[], argparse.ArgumentParser]
    parse: Callable[[Sequence[str]], Any]
    least: tuple[str, ...]


SEGMENT = ("a.tif", "--model", "coast", "--output", "out")
TRAIN = (
    "--images",
    "a.tif",
    "--labels",
    "a.gpkg",
    "--classes",
    "roof",
    "--architecture",
    "unet",
    "--output",
    "out",
)
COMMANDS = [
    Command(
        "segment", lambda: parsers("0")[1]["segment"], lambda said: parse(["segment", *said], "0")[1], SEGMENT
    ),
    Command("plan", lambda: parsers("0")[1]["plan"], lambda said: parse(["plan", *said], "0")[1], SEGMENT),
    Command("vectorize", vectorize_parser, parse_vectorize, ("a.tif", "--output", "out")),
    Command("train", train_parser, parse_train, TRAIN),
]
SAMPLES = ("512", "0.5", "3", "8GB", "fgb,gpkg", "2,1", "0.5-2", "width=3", "other")
"""One of them is understood by every option that takes a value."""


def declared(command: Command) -> dict[str, argparse.Action]:
    """Fields that a job file of a command must have: its options by name, RASTER... by `rasters`."""
    found = {}
    for action in command.parser()._actions[1:]:
        name = action.option_strings[0].removeprefix("--") if action.option_strings else action.dest
        found[name.replace("-", "_")] = action
    return {name: action for name, action in found.items() if name not in {"config", "json"}}


OPTIONS = [(command, name) for command in COMMANDS for name in declared(command)]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_option_is_a_field_and_every_field_an_option(command):
    properties = job_schema(command.parser().options).json_schema()["properties"]
    assert set(properties) == set(declared(command))
    assert all(properties.values()), "a field of no type would take anything"


@pytest.mark.parametrize(
    ("command", "options"), [(COMMANDS[0], SegmentOptions), (COMMANDS[2], VectorizeOptions)], ids=("segment", "vectorize")
)  # fmt: skip
def test_every_field_arrives_where_options_are_kept(command, options):
    kept = {field.name for field in fields(options)} - {"beam", "config"}
    unscored = {"min_score"} if command.name == "vectorize" else set()
    assert {action.dest for action in declared(command).values()} == kept - unscored


def sample(action: argparse.Action) -> list[str]:
    """Words that say something else than the default."""
    if action.nargs == 0:
        return []
    if action.choices is not None:
        return [str([choice for choice in action.choices if choice != action.default][-1])]
    for text in SAMPLES:
        try:
            if action.type(text) != action.default:
                return [text]
        except (ArgumentTypeError, ValueError):
            continue
    raise AssertionError(f"{action.dest} understands none of the samples; add one")


@pytest.mark.parametrize(
    ("command", "name"), OPTIONS, ids=lambda part: part if isinstance(part, str) else part.name
)
def test_a_field_means_what_the_option_means(command, name, tmp_path):
    action = declared(command)[name]
    option, words = [*action.option_strings, None][0], sample(action)
    file = tmp_path / "job.toml"
    # On the command line paths stay as they are, so they are given as absolute ones here.
    words = [f"{tmp_path}/{words[0]}"] if words and action.type.place else words
    rest = list(command.least)
    if option in rest:
        place = rest.index(option)
        del rest[place : place + 2]
    rest = rest if option else rest[1:]
    file.write_text(f"{name} = {json.dumps(words[0]) if words else 'true'}\n")

    def outcome(said):
        try:
            options = command.parse(said)
        except ArgumentError as error:
            return str(error)
        return str(options).replace(f"config={str(file)!r}", "config=None")

    want = outcome([*([option] if option else []), *words, *rest])
    assert outcome([*rest, "--config", str(file)]) == want
    if action.option_strings and not action.required:
        assert outcome(rest) != want, "the sample is the default, or the option does nothing"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_options_that_are_files_are_known_to_be_places(command):
    for name, action in declared(command).items():
        says_path = bool(
            {"FILE", "DIR", "GLOB", "RASTER", "LABELS", "BUNDLE"} & set(str(action.metavar).split("|"))
        )
        place = action.type.place if action.type else None
        assert (place is not None) == says_path, name


def options_of(file: Path, text: str, *more: str) -> SegmentOptions:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return parse(["segment", "--config", str(file), *more], "0")[1]


def reasons_of(file: Path, text: str, *more: str) -> str:
    with pytest.raises(ArgumentError) as caught:
        options_of(file, text, *more)
    return str(caught.value).replace(f"{file}: ", "")


WHOLE = 'rasters = ["scenes/*.tif", "/far/b.tif"]\nmodel = "coast"\noutput = "out"\n'


def test_a_job_file_alone_is_enough(tmp_path):
    options = options_of(tmp_path / "job.toml", WHOLE)
    assert options.rasters == (f"{tmp_path}/scenes/*.tif", "/far/b.tif")
    assert (options.models, options.output) == (("coast",), f"{tmp_path}/out")
    assert options.config == f"{tmp_path}/job.toml"


def test_natural_values_and_texts_of_the_command_line_mean_the_same(tmp_path):
    file = tmp_path / "job.toml"
    natural = 'bands = [3, 2, 1]\nclasses = ["a", "b"]\nformat = ["gpkg", "fgb"]\ntile = 512\nmin_area = 2\nsieve = 1.5\n'
    text = (
        'bands = "3,2,1"\nclasses = "a,b"\nformat = "fgb,gpkg"\ntile = "512"\nmin-area = "2"\nsieve = "1.5"\n'
    )
    options = options_of(file, WHOLE + natural)
    assert options == options_of(file, WHOLE + text)
    assert (options.bands, options.classes, options.formats) == ((3, 2, 1), ("a", "b"), ("fgb", "gpkg"))
    assert (options.tile, options.min_area, options.sieve, options.force) == (512, 2.0, 1.5, False)
    assert options_of(file, WHOLE + "force = true").force
    assert not options_of(file, WHOLE + "force = false").force
    assert options_of(file, WHOLE + 'halo = "auto"\nbands = 2').halo is None


def test_the_command_line_goes_before_the_file(tmp_path):
    text = (
        WHOLE
        + 'tile = 512\nsheet = 512\nclasses = "water"\n[beam]\nrunner = "DirectRunner"\ndirect_num_workers = 2'
    )
    said = ("c.tif", "--model", "one", "--model", "two", "--tile", "1024", "--direct_num_workers", "1")
    options = options_of(tmp_path / "job.toml", text, *said)
    assert (options.rasters, options.models) == (("c.tif",), ("one", "two"))
    assert (options.tile, options.sheet, options.classes) == (1024, 512, ("water",))
    assert options.beam.arguments[-2:] == ("--direct_num_workers", "1")
    # Also where it says the default again.
    assert options_of(tmp_path / "job.toml", text, "--tile", "auto").tile is None


def test_what_excludes_each_other_does_so_in_a_file_too(tmp_path):
    file = tmp_path / "job.toml"
    told = reasons_of(file, WHOLE + "resample = true\nany_gsd = true")
    assert told == "--resample and --any-gsd are mutually exclusive; choose one for the job file"
    options = options_of(file, WHOLE + "resample = true\nany_gsd = false", "--any-gsd")
    assert (options.resample, options.any_gsd) == (False, True)
    options = options_of(file, WHOLE + "resample = true\nany_gsd = false")
    assert (options.resample, options.any_gsd) == (True, False)


def test_paths_are_relative_to_the_file_and_names_stay_names(tmp_path, monkeypatch):
    (tmp_path / "jobs" / "mine").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    text = 'rasters = ["a.tif", "gs://b/c.tif", "/vsicurl/http://h/d.tif", "~/e.tif"]\noutput = "../out"\nwork = "s3://b/w"\n'
    options = options_of(Path("jobs/night.toml"), text + 'model = ["mine", "coast", "./coast"]', "f.tif")
    assert options.rasters == ("f.tif",)
    assert (options.output, options.work) == ("jobs/../out", "s3://b/w")
    assert options.models == ("jobs/mine", "coast", "jobs/./coast")
    options = options_of(Path("jobs/night.toml"), text + 'model = "coast"')
    assert options.rasters == (
        "jobs/a.tif",
        "gs://b/c.tif",
        "/vsicurl/http://h/d.tif",
        f"{Path.home()}/e.tif",
    )
    assert options_of(Path("here.toml"), text + 'model = "coast"').rasters[0] == "a.tif"


def test_options_of_beam_become_its_arguments(tmp_path):
    text = 'runner = "DataflowRunner"\nstreaming = true\nexperiments = ["a", "b"]\ndirect-num-workers = 2\nno_auth = false'
    options = options_of(tmp_path / "job.toml", f"{WHOLE}[beam]\n{text}")
    said = [
        "--direct_num_workers=2",
        "--experiments=a",
        "--experiments=b",
        "--runner=DataflowRunner",
        "--streaming",
    ]
    assert sorted(options.beam.arguments) == said
    assert not options.runs_here


def test_every_option_of_beam_is_a_field_of_its_table():
    known = beam_options()
    schema = job_schema(parsers("0")[1]["segment"].options, known).json_schema()
    assert set(schema["$defs"]["Beam"]["properties"]) == {name[2:].replace("-", "_") for name in known}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("til = 512", "til is not an option of terraseam segment; did you mean tile?"),
        ("Tile = 512", "Tile is not an option of terraseam segment; did you mean tile?"),
        ("zzz = 1", "zzz is not an option of terraseam segment"),
        ("json = true", "json is not an option of terraseam segment"),
        ("config = 'x'", "config is not an option of terraseam segment"),
        ("models = 'x'", "models is not an option of terraseam segment; did you mean model?"),
        ("runner = 'x'", "runner is an option of Apache Beam; write it below a line [beam]"),
        ("[beam]\nrunnr = 'x'", "beam.runnr is not an option of Apache Beam; did you mean runner?"),
        ("[beam]\ntile = 512", "beam.tile is an option of terraseam segment, not of Apache Beam; write it above"),
        ("[beam]\nrunner = ['x']", "beam.runner is ['x']; it takes one value"),
        ("[beam]\nstreaming = 'yes'", "beam.streaming is 'yes'; it takes true or false"),
        ("[beam.runner]\nx = 1", "beam.runner is a table; it takes one value"),
        ("beam = 3", "beam is 3; it takes a table: a line [beam], and options of Apache Beam below it"),
        ("tile = 1.5", "tile is 1.5; it takes a whole number"),
        ("tile = true", "tile is true; it takes a whole number"),
        ("tile = 0", "tile: '0' is not a whole number of 1 or more"),
        ("tile = [512]", "tile is [512]; it takes a whole number"),
        ("min_area = nan", "min_area: 'nan' is not a number of 0 or more"),
        ("min_area = '2 m'", "min_area: '2 m' is not a number of 0 or more"),
        ("min_score = 2", "min_score: '2' is not a number from 0 to 1"),
        ("force = 1", "force is 1; it takes true or false"),
        ("work = 5", "work is 5; it takes a quoted string"),
        ("work = ''", "work: it is empty"),
        ('work = "/a\\u0000b"', "work: '/a\\x00b' contains a null byte"),
        ("work = 2024-05-01", "work is the date 2024-05-01; it takes a quoted string"),
        ("classes = []", "classes is an empty list; leave it out, or fill it"),
        ("classes = [1]", "classes is [1]; it takes a quoted string, or a list of them"),
        ("classes = ['a', 'b,c']", "classes: 'b,c' contains a ',', which separates the values of a list"),
        ("bands = [1, 'x']", "bands: '1,x' is not a list of band numbers such as 1,2,3"),
        ("bands = [1, 2.0]", "bands is [1, 2.0]; it takes a whole number, or a list of them"),
        ("stitch = 'blent'", "stitch: 'blent' is not one of crop, blend; did you mean blend?"),
        ("format = ['gpgk']", "format: 'gpgk' is not one of geojson"),
        ("min-area = 1\nmin_area = 2", "min_area is given twice, once with dashes and once with underscores; give it once"),
        ("work = '${NOT_SET_ANYWHERE}/x'", "work: the environment variable NOT_SET_ANYWHERE is not set"),
        ("work = '{tomorrow}'", "work: {tomorrow} is not one of {today}, {yesterday}, {now}"),
        ("work = 'a{b'", "work: an unpaired {; write {{ for a literal brace"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_field_is_one_sentence_that_names_it(tmp_path, text, said):
    told = reasons_of(tmp_path / "job.toml", WHOLE + text)
    assert told.startswith(said) and "\n" not in told


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    told = reasons_of(
        tmp_path / "job.toml", 'til = 1\ntile = "x"\nmodel = 5\nforce = "no"\n[beam]\nrunnr = 1\nregion = []'
    )
    assert told.splitlines()[0] == "cannot run this command:"
    names = ["til", "tile", "model", "force", "beam.runnr", "beam.region"]
    assert sorted(line.split()[1].rstrip(":") for line in told.splitlines()[1:-1]) == sorted(names)
    # What is wrong in the file is not told as missing, too.
    assert told.splitlines()[-1].startswith("- give RASTER, --output, on the command line or in a job file")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"tile = \n", "is not TOML: Invalid value (at line 1, column 8)"),
        (b"a = 1\na = 2\n", "is not TOML: Cannot overwrite a value (at line 2"),
        (b"a = '\xff'", "is not TOML: it is not UTF-8 text"),
        (b"a = " + b"[" * 5000, "is nested too deeply"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_is_no_toml_is_told_with_the_line(tmp_path, content, said, capsys):
    file = tmp_path / "job.toml"
    if content is not None:
        file.write_bytes(content)
    for command in ("segment", "plan", "vectorize", "train"):
        assert main([command, "--config", str(file)]) == 2
        told = capsys.readouterr().err
        assert told.startswith(f"terraseam: --config {file}") and said in told and told.count("\n") == 1
    assert main(["plan", "--config", str(tmp_path)]) == 2
    assert "Is a directory" in capsys.readouterr().err
    assert main(["plan", "--config", "gs://bucket/job.toml"]) == 2
    assert "is not on this machine" in capsys.readouterr().err


def test_a_file_of_windows_is_read(tmp_path):
    file = tmp_path / "job.toml"
    file.write_bytes(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode())
    assert parse(["plan", "--config", str(file)], "0")[1].models == ("coast",)


NOW = datetime(2026, 3, 1, 0, 30, 5)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{today}", "2026-03-01"),
        ("{yesterday}", "2026-02-28"),
        ("{now}", "2026-03-01T00-30-05"),
        ("out/{now:%Y/%m/%d}/{yesterday:%j}", "out/2026/03/01/059"),
        ("${SCENES}/a-{today}.tif", "/data/a-2026-03-01.tif"),
        ("${ODD}", "${SCENES}{today}"),
        ("a{{b}}c", "a{b}c"),
        ("${{SCENES}}", "${SCENES}"),
        ("$SCENES $ 5$", "$SCENES $ 5$"),
    ],
)
def test_placeholders_stand_for_days_times_and_variables(text, meant):
    around = Surroundings(NOW, {"SCENES": "/data", "ODD": "${SCENES}{today}"})
    assert around.expand(text) == meant
    assert around.expand([text, 3, {"a": text}]) == [meant, 3, {"a": meant}]


@pytest.mark.parametrize(
    "text", ["${}", "${NO}", "{}", "{now:}", "{to day}", "{today", "today}", "${A", "{{today}"]
)
def test_a_placeholder_that_means_nothing_is_refused(text):
    with pytest.raises(PlaceholderError):
        Surroundings(NOW, {"A": "a"}).expand(text)


def test_placeholders_work_in_every_kind_of_field(tmp_path, monkeypatch):
    monkeypatch.setenv("SCENES", "/data/scenes")
    monkeypatch.setenv("TILE", "512")
    text = (
        WHOLE.replace("scenes/*.tif", "${SCENES}/{today:%Y}.tif")
        + 'tile = "${TILE}"\n[beam]\njob_name = "n-{yesterday}"'
    )
    before = datetime.now()
    options = options_of(tmp_path / "job.toml", text)
    if datetime.now().date() == before.date():
        assert options.rasters[0] == f"/data/scenes/{before:%Y}.tif"
        assert options.beam.arguments == (f"--job_name=n-{(before - timedelta(1)):%Y-%m-%d}",)
    assert options.tile == 512
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    far = options_of(tmp_path / "job.toml", text.replace("{yesterday}", "{now:%H}")).beam.arguments
    monkeypatch.setenv("TZ", "Pacific/Pago_Pago")
    time.tzset()
    near = options_of(tmp_path / "job.toml", text.replace("{yesterday}", "{now:%H}")).beam.arguments
    monkeypatch.undo()
    time.tzset()
    assert far != near, "times are those of the machine's time zone"


def test_planning_with_a_file_imports_neither_tensorflow_nor_beam(tmp_path, make_raster):
    make_raster()
    nets.make_bundle(tmp_path / "tiny", nets.brightest_band())
    file = tmp_path / "job.toml"
    file.write_text('rasters = "scene.tif"\nmodel = "tiny"\noutput = "out"\n[beam]\ndirect_num_workers = 2')
    code = (
        "import sys; from terraseam.pipeline.cli import main; status = main(sys.argv[1:]);"
        "print(status, *sorted({m.split('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", "--config", str(file)], cwd=ROOT, capture_output=True, text=True, check=True
    )  # fmt: skip
    status, *imported = done.stdout.splitlines()[-1].split()
    assert status == "0" and "pydantic" in imported
    assert not {"tensorflow", "keras", "apache_beam"} & set(imported)


def test_without_a_file_pydantic_is_not_imported():
    code = "import sys; from terraseam.pipeline.cli import main; main(sys.argv[1:]); print(*sys.modules)"
    said = [sys.executable, "-c", code, "plan", "x.tif", "--model", "y", "--output", "z"]
    done = subprocess.run(said, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "pydantic" not in done.stdout.split()


def test_a_job_runs_from_any_folder_and_the_manifest_says_what_ran(tmp_path, make_raster, monkeypatch):
    make_raster()
    nets.make_bundle(tmp_path / "tiny", nets.brightest_band())
    secret = '[beam]\ns3_secret_access_key = "hush"\njob_name = "night"'
    text = 'rasters = "scene.tif"\nmodel = "tiny"\noutput = "out-{today:%Y}"\ntile = 512\nmin_area = 3\n'
    (tmp_path / "job.toml").write_text(text + secret)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert (
        main(["segment", "--config", "../job.toml", "--sheet", "512", "--azure_connection_string", "hush"])
        == 0
    )
    (manifest,) = tmp_path.glob("out-20??/manifest.json")
    record = json.loads(manifest.read_text())["options"]
    assert record["config"] == "../job.toml"
    assert (record["rasters"], record["models"]) == (["../scene.tif"], ["../tiny"])
    assert (record["tile"], record["sheet"], record["min_area"]) == (512, 512, 3.0)
    hidden = ["--s3_secret_access_key=(hidden)", "--job_name=night", "--azure_connection_string", "(hidden)"]
    assert record["beam"] == hidden
    assert "hush" not in manifest.read_text()
