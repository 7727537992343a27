import pytest

from terraseam.pipeline.options.beam import UnknownOptionError, beam_options, split_arguments
from terraseam.pipeline.plan.memory import calls_at_once
from terraseam.pipeline.run.job import root_cause
from terraseam.pipeline.run.progress import progress_line
from terraseam.pipeline.units import count, format_area, format_bytes, format_gsd, format_pixels
from terraseam.tiles.raster.source import RasterReadError


def test_the_cause_of_a_failure_is_found_in_what_beam_makes_of_it():
    raised = RasterReadError("scene.tif cannot be read at rows 0-9; copy it again [while running 'Segment']")
    assert root_cause(raised)[1] == "scene.tif cannot be read at rows 0-9; copy it again"
    remote = RuntimeError(
        "Error received from SDK harness for instruction bundle_3: Traceback (most recent call last):\n"
        '  File "tiles/raster/source.py", line 80, in read\n'
        "terraseam.tiles.raster.source.RasterReadError: scene.tif cannot be read [while running 'Segment']\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n"
        '  File "x.py", line 1, in y\n'
        "terraseam.tiles.raster.source.RasterReadError: scene.tif cannot be read [while running 'Segment']\n"
    )
    assert root_cause(remote) == ("RasterReadError", "scene.tif cannot be read")
    assert root_cause(KeyError("lake"))[1] == "KeyError: 'lake'"


def test_progress_says_how_long_the_rest_takes():
    assert progress_line(0, 64, 5) == "segmenting: 0 of 64 sheets"
    assert progress_line(32, 64, 30) == "segmenting: 32 of 64 sheets, about 30 s left"
    assert progress_line(1, 64, 60) == "segmenting: 1 of 64 sheets, about 63 min left"
    assert progress_line(64, 64, 60) == "writing polygons and files of 64 sheets"


def test_beams_options_are_known_without_importing_it():
    known = beam_options()
    assert known["--runner"] and known["--direct_num_workers"] and known["--project"]
    assert not known["--streaming"]


def test_arguments_are_parted_wherever_they_stand():
    own = {"--model", "--tile"}
    mine, beams = split_arguments(
        ["--project", "p", "a.tif", "--streaming", "b.tif", "--tile=512", "--region=r"], own
    )
    assert mine == ["a.tif", "b.tif", "--tile=512"]
    assert beams == ["--project", "p", "--streaming", "--region=r"]
    assert split_arguments(["a.tif", "--model", "m"], own) == (["a.tif", "--model", "m"], [])
    with pytest.raises(UnknownOptionError, match=r"--projetc is not an option .*did you mean --project"):
        split_arguments(["--projetc", "p"], own)


def test_calls_at_once_are_bounded_by_memory_and_shared_by_workers():
    assert calls_at_once(1 << 60, 1, 1 << 30) == 1
    assert calls_at_once(1, 10_000, 1 << 30) == 1
    assert calls_at_once(1, 1, 1 << 30) >= calls_at_once(1, 2, 1 << 30)


def test_figures_are_said_in_units_that_suit_them():
    assert [format_area(a) for a in (12.4, 5e4, 8.87e12)] == ["12 m²", "5.0 ha", "8,870,000.0 km²"]
    assert [format_bytes(n) for n in (999, 2.5e6, 1e12)] == ["1 kB", "2.5 MB", "1,000.0 GB"]
    assert [format_gsd(m) for m in (0.0746455, 12.5, 6293.5)] == ["0.0746 m/px", "12.5 m/px", "6,294 m/px"]
    assert [format_pixels(n) for n in (35, 936_000)] == ["35 px", "0.9 Mpx"]
    assert [count(n, "sheet") for n in (0, 1, 1234)] == ["0 sheets", "1 sheet", "1,234 sheets"]
