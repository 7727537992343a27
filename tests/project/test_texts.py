"""What goes to terminals and programs has nothing in it that steers a terminal, and JSON keeps its texts."""

from __future__ import annotations

import ast
import io
import json
import sys

import pytest
from evaluate_scenes import boxes, drawn, georef, write_geojson, write_labels
from places import ROOT

from terraseam.models.texts import steering_characters
from terraseam.pipeline import terminal
from terraseam.pipeline.cli import main
from terraseam.pipeline.texts import printable

STEERS = "\x00\x07\x1b\x7f\x85\x9b\u061c\u200e\u2028\u202e\u2066\ud800"


def test_what_steers_is_written_out_and_the_rest_stays():
    assert (
        printable(f"a{STEERS}\nb é 漢 \U0001f600")
        == "a" + "".join(f"\\u{ord(one):04x}" for one in STEERS) + "\nb é 漢 \U0001f600"
    )
    assert steering_characters(STEERS) == [f"U+{ord(one):04X}" for one in STEERS]
    assert steering_characters("é 漢 \U0001f600") == []


def test_json_keeps_the_texts_that_it_has():
    assert json.loads(printable(json.dumps({"name": STEERS}, ensure_ascii=False))) == {"name": STEERS}


def test_the_line_of_progress_cannot_steer_either(monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    terminal.show("epoch of ro\x1b[31mof")
    assert screen.getvalue() == "\r\x1b[Kepoch of ro\\u001b[31mof"


@pytest.mark.parametrize("as_json", [False, True])
def test_names_of_classes_of_any_file_reach_no_terminal_as_they_are(tmp_path, capsys, as_json):
    place, name = georef(), "ro\x9b31mof\u202e"
    write_labels(tmp_path / "map.tif", drawn(boxes(1)), place, names=("ground", "roof"))
    write_geojson(tmp_path / "map.geojson", boxes(1), place, kind=name)
    truth = ["--truth", str(tmp_path / "map.geojson"), "--class-property", "kind"]
    assert main(["evaluate", "--predicted", str(tmp_path / "map.tif"), *truth]) == 2
    assert not set(STEERS) & set(capsys.readouterr().err)
    found = write_geojson(tmp_path / "found.geojson", boxes(1), place, **{"class": name})
    words = ["evaluate", "--predicted", str(found), *truth, *["--json"] * as_json]
    assert main(words) == 0
    said = capsys.readouterr()
    assert not set(STEERS) & set(said.out + said.err) and "ro\\u009b31mof\\u202e" in said.out
    if as_json:
        assert json.loads(said.out)["classes"] == ["background", name]


def test_nothing_is_printed_but_by_those_who_write_it_out():
    found = {}
    for folder in ("models", "tiles", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            calls = [
                node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)
            ]
            printed = sum(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls)
            if printed:
                found[path.relative_to(ROOT).as_posix()] = printed
    children = {
        "models/engines/convert.py": 1,
        "models/importing/measured_run.py": 1,
        "tiles/access/gate_process.py": 2,
    }
    assert found == {"pipeline/exit_status.py": 3, "pipeline/terminal.py": 1, **children}
