"""SavedModels are looked at before TensorFlow is there: what they would do is read from their file."""

import pytest
from saved_models import field, function, node, saved_model

from terraseam.models.errors import NetworkRefusedError
from terraseam.models.saved_models.facts import check_saved_model

ADD = node("sum", "AddV2")


def test_a_saved_model_that_computes_is_taken(tmp_path):
    saver = (node("save", "StatefulPartitionedCall", "traced_save"), node("restore", "NoOp"))
    functions = (function("traced_save", node("s", "SaveV2")), function("run", ADD))
    calls = node("calls", "Case", "run", branches=True)
    check_saved_model(saved_model(tmp_path / "net", ADD, calls, *saver, functions=functions))


@pytest.mark.parametrize(
    ("nodes", "functions"),
    [
        ((node("end", "Abort"),), ()),
        ((ADD,), (function("inner", ADD, node("end", "Abort")),)),
        ((node("end", "Abort"),), (function("Abort", ADD),)),
    ],
)
def test_operations_that_are_not_listed_are_refused(tmp_path, nodes, functions):
    folder = saved_model(tmp_path / "net", *nodes, functions=functions)
    with pytest.raises(
        NetworkRefusedError, match="has the operation Abort, and a SavedModel may only have operations"
    ):
        check_saved_model(folder)


@pytest.mark.parametrize("thief", [
    (node("other", "PartitionedCall", "traced_save"),),
    (node("other", "Case", "traced_save", branches=True),),
    (node("other", "traced_save"),),
])  # fmt: skip
def test_what_saves_may_be_called_by_the_saver_alone(tmp_path, thief):
    functions = (function("traced_save", node("s", "SaveV2")),)
    save = node("save", "StatefulPartitionedCall", "traced_save")
    with pytest.raises(NetworkRefusedError, match=r"has the operations? .*SaveV2"):
        check_saved_model(saved_model(tmp_path / "net", save, *thief, functions=functions))


def test_functions_that_may_be_called_from_outside_are_no_savers(tmp_path):
    functions = (function("traced_save", node("s", "SaveV2")),)
    save = node("save", "StatefulPartitionedCall", "traced_save")
    outside = field(7, field(2, field(1, "traced_save") + field(2, b"")))
    with pytest.raises(NetworkRefusedError, match="has the operation SaveV2"):
        check_saved_model(saved_model(tmp_path / "net", save, functions=functions, more=outside))


def test_a_graph_that_is_not_for_serving_is_refused(tmp_path):
    folder = saved_model(tmp_path / "net", ADD, signature="predict")
    with pytest.raises(
        NetworkRefusedError, match=r"has no signature 'serving_default' \(its signatures: predict\)"
    ):
        check_saved_model(folder)
    twice = (folder / "saved_model.pb").read_bytes() * 2
    (folder / "saved_model.pb").write_bytes(twice)
    with pytest.raises(NetworkRefusedError, match="has 2 graphs for serving; export it with one"):
        check_saved_model(folder)


def test_files_that_are_no_saved_models_are_refused_in_a_sentence(tmp_path):
    folder = saved_model(tmp_path / "net", ADD, functions=(function("run", ADD),))
    whole = (folder / "saved_model.pb").read_bytes()
    cut = [whole[:length] for length in range(len(whole))]
    others = [
        b"\xff" * 64,
        b"\x0b" * 8,
        field(2, b"\x0f"),
        b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
        b"\x0a" * 10**6,
    ]
    for data in (*cut, *others):
        (folder / "saved_model.pb").write_bytes(data)
        with pytest.raises(NetworkRefusedError, match=r"is not a SavedModel|has 0 graphs for serving"):
            check_saved_model(folder)
