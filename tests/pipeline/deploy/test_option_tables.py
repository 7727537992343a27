"""The page of options has each option of each command, and nothing else."""

from __future__ import annotations

import re

import pytest
from places import ROOT

from terraseam.pipeline.deploy import option_tables


def test_the_page_of_options_is_what_the_declarations_say():
    renew = "renew it: make options"
    assert (ROOT / "docs" / "options.md").read_text() == f"{option_tables.document().rstrip()}\n", renew


@pytest.mark.parametrize(("name", "parser"), option_tables.commands().items())
def test_the_page_of_options_has_a_row_for_each_option_of_the_command_line(name, parser):
    page = option_tables.document().partition(f"## terraseam {name}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| `([^`]+)`", page)
    assert len(rows) == len(parser._actions) - 1, "and --help has none"
    assert {row.split()[0] for row in rows if row.startswith("--")} == {
        action.option_strings[0] for action in parser._actions[1:] if action.option_strings
    }


def test_links_of_the_page_of_options_lead_somewhere():
    headings = re.findall(r"(?m)^#+ (.+)$", (ROOT / "README.md").read_text())
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for file, _, anchor in re.findall(r"\]\((\S+?)(#(\S+?))?\)", option_tables.document()):
        assert (ROOT / "docs" / file).resolve().is_file()
        assert not anchor or anchor in anchors, anchor
