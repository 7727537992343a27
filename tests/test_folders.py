"""Folders that results and intermediate files cannot go to: said before any work, with what to do."""

from __future__ import annotations

import pytest
from vectorize_cases import patches, vectorize, write_labels

from pipeline.reasons import folder_reason


def link(place, target):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


@pytest.mark.parametrize("below", ["", "a/b"])
def test_a_link_to_what_is_not_there_is_no_folder(tmp_path, below):
    lost = link(tmp_path / "out", "not/there")
    reason = folder_reason("--output", str(lost / below))
    assert reason == (
        f"--output {lost / below} cannot be a folder: {lost} is a link to not/there, which is not there; make that "
        "folder, or remove the link"
    )


def test_a_link_to_a_link_that_is_lost_and_links_in_a_circle_are_no_folders(tmp_path):
    link(tmp_path / "one", tmp_path / "two")
    assert "is a link to" in str(folder_reason("--work", str(tmp_path / "one" / "deep")))
    link(tmp_path / "two", tmp_path / "one")
    assert "is a link to" in str(folder_reason("--work", str(tmp_path / "one" / "deep")))


def test_a_link_to_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    place = link(tmp_path / "out", "file")
    assert str(folder_reason("--output", str(place))).endswith(
        f"cannot be a folder: {place} is a link to a file"
    )
    assert str(folder_reason("--output", str(place / "x"))).endswith(
        f"cannot be a folder: {place} is a link to a file"
    )


def test_a_link_to_a_folder_is_a_folder(tmp_path):
    (tmp_path / "there").mkdir()
    assert folder_reason("--output", str(link(tmp_path / "out", "there") / "deep")) is None


@pytest.mark.parametrize("option", ["--output", "--work"])
def test_the_command_says_so(tmp_path, capsys, option):
    labels = write_labels(tmp_path / "map.tif", patches(60, 70))
    lost = str(link(tmp_path / "lost", "not/there"))
    folders = (lost,) if option == "--output" else (str(tmp_path / "out"), "--work", lost)
    assert vectorize(labels, *folders) == 2
    assert f"- {option} {lost} cannot be a folder: {lost} is a link to not/there" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
