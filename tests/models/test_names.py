"""Hints at what was meant by a name that is not known."""

import pytest

from terraseam.models.names import nearest_name
from terraseam.pipeline.cli import main
from terraseam.pipeline.options.beam import UnknownOptionError, beam_options, option_hint, split_arguments

OWN = ("--model", "--prune", "--augment", "--sieve", "--accelerator", "--halo", "--tile", "--batch-size", "--force",
       "--min-area", "--resample", "--stitch", "--sheet", "--workers", "--format", "--output", "--engine")  # fmt: skip


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("--modle", "--model"),
        ("--min_area", "--min-area"),
        ("--formats", "--format"),
        ("--batch-size", "--batch-size"),
        ("--output-dir", "--output"),
        ("--TILE", "--tile"),
        ("--no-augment", None),
        ("--quiet", None),
        ("--fp16-weights", None),
        ("--resume", None),
        ("--size", "--batch-size"),
        ("--gpu", None),
    ],
)
def test_names_are_near_by_a_slip_or_a_word_and_not_by_a_few_letters(said, meant):
    assert nearest_name(said, OWN) == meant


@pytest.mark.parametrize("said", ["--prun", "--prune-old", "--forced", "--overwrite"])
def test_no_option_that_removes_something_is_proposed(said):
    hint = option_hint(said, [*OWN, *beam_options(), "--remove", "--overwrite-all"])
    assert not any(word in hint for word in ("prune", "force", "remove", "overwrite"))


@pytest.mark.parametrize(("said", "meant"), [("--gpu", "--accelerator"), ("--device", "--accelerator"),
                                             ("--overlap", "--halo"), ("--tta", "--augment")])  # fmt: skip
def test_what_other_programs_call_an_option_leads_to_ours(said, meant):
    with pytest.raises(UnknownOptionError, match=meant):
        split_arguments([said], OWN)
    assert meant not in option_hint(said, ["--tile"])


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("models list --jsn", "unrecognized arguments: --jsn; did you mean --json?"),
        ("store list out --jsn=1", "did you mean --json?"),
        ("store prune out --older", "unrecognized arguments: --older (see terraseam store prune --help)"),
        ("evaluate --predicted a --truth b --clases c", "did you mean --classes?"),
        ("vectorize a.tif --output out --clases c", "did you mean --classes?"),
        ("train --images a --clases c", "did you mean --classes?"),
    ],
)
def test_every_command_hints_at_what_was_meant(command, words, capsys):
    assert main(command.split()) == 2
    assert words in capsys.readouterr().err
