"""A work folder keeps the engine and the tiling that it was begun with."""

import json

import pytest

from terraseam.pipeline.storage.choices import Choices
from terraseam.pipeline.storage.kept_choices import keep_choices, kept_choices

NETWORKS = {"cards": [{"weights_sha256": "1"}], "augment": False}
OTHERS = {"cards": [{"weights_sha256": "2"}], "augment": False}
CHOICES = Choices("openvino", 2048, 2, cuts=True)


@pytest.fixture
def folders(tmp_path):
    return str(tmp_path / "work"), str(tmp_path / "out")


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(values if isinstance(values, str) else json.dumps(values))


def stored(tmp_path):
    write(tmp_path / "work" / "store" / "ab" / "ab.sheet", "")


def test_the_first_run_decides_for_its_networks_alone(folders):
    assert kept_choices(*folders, NETWORKS) is None
    keep_choices(folders[0], NETWORKS, CHOICES)
    keep_choices(folders[0], NETWORKS, Choices("tensorflow", 512, 4, cuts=False))
    assert kept_choices(*folders, NETWORKS) == CHOICES
    assert kept_choices(*folders, OTHERS) is None


@pytest.mark.parametrize(
    ("manifest", "done", "engine"),
    [
        ({"inference": {"engine": "onnx"}}, None, "onnx"),
        ({"profiles": [{"engine": "openvino"}]}, None, "openvino"),
        (None, {"entry": {"sheets": [{"profile": {"engine": "openvino"}}]}}, "openvino"),
        ({"profiles": []}, {"entry": {"sheets": [{"profile": {"engine": "onnx"}}]}}, "onnx"),
        (None, None, "tensorflow"),
        ("{damaged", None, "tensorflow"),
    ],
)
def test_a_work_folder_without_records_goes_on_as_it_was_begun(folders, tmp_path, manifest, done, engine):
    stored(tmp_path)
    if manifest is not None:
        write(tmp_path / "out" / "manifest.json", manifest)
    if done is not None:
        write(tmp_path / "out" / ".done" / "scene.json", done)
    earlier = Choices(engine, 1024, 2, cuts=False)
    assert kept_choices(*folders, NETWORKS) == earlier
    keep_choices(folders[0], NETWORKS, earlier)
    assert kept_choices(*folders, NETWORKS) == earlier
    assert kept_choices(*folders, OTHERS) == earlier, "the store may hold predictions of every network"


def test_a_store_that_was_begun_with_records_decides_nothing_for_other_networks(folders, tmp_path):
    keep_choices(folders[0], NETWORKS, CHOICES)
    stored(tmp_path)
    assert kept_choices(*folders, OTHERS) is None


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"engine": 3}, {"core_px": "1024"}, {"cuts": 128}, {"engine": "torch"}, {"core_px": 0}],
)
def test_a_record_that_cannot_be_read_decides_nothing(folders, tmp_path, change):
    keep_choices(folders[0], NETWORKS, CHOICES)
    (record,) = (tmp_path / "work" / "choices").iterdir()
    write(record, {**CHOICES.to_json(), **change})
    assert kept_choices(*folders, NETWORKS) is None
