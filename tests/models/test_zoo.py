"""The zoo: what the table says of each network is what is built."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import keras
import numpy as np
import pytest
from places import ROOT

from terraseam.models import zoo
from terraseam.models.bundle.values import Scaling
from terraseam.models.detection.measures import detector_measures
from terraseam.models.networks.encoders import ENCODERS
from terraseam.models.reach.network import network_reach

pytestmark = pytest.mark.usefixtures("no_weights")
SEMANTIC = [row for row in zoo.ZOO if row.task == "semantic"]


def names(row: zoo.Row) -> str:
    return f"{row.architecture}-{row.encoder}"


@pytest.mark.parametrize("row", SEMANTIC, ids=names)
def test_the_numbers_of_a_row_are_those_of_the_network(row):
    model = zoo.build(row.architecture, row.encoder, 3, zoo.SEMANTIC_CLASSES)
    assert model.count_params() == row.parameters
    assert network_reach(model) == (row.stride, row.reach)
    assert model.outputs[0].shape == (None, None, None, zoo.SEMANTIC_CLASSES)


@pytest.mark.parametrize("row", [row for row in zoo.ZOO if row.task == "instances"], ids=names)
def test_the_numbers_of_a_row_are_those_of_the_detector(row):
    model = zoo.build(row.architecture, row.encoder, 3, zoo.INSTANCE_CLASSES)
    assert model.count_params() == row.parameters
    assert (detector_measures(model)[0], None) == (row.stride, row.reach)
    assert "width" in zoo.option_names(row) and "settings" not in zoo.option_names(row)


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def test_fcn8s_on_vgg16_has_the_134_5_million_parameters_of_the_reference():
    """VGG16's convolutions, fc6 and fc7 as convolutions, three scores, three transposed convolutions."""
    vgg16 = 14_714_688
    head = 7 * 7 * 512 * 4096 + 4096 + 4096 * 4096 + 4096
    scores = sum((channels + 1) * 21 for channels in (4096, 512, 256))
    transposed = (4 * 4 + 4 * 4 + 16 * 16) * 21 * 21
    model = zoo.build("fcn8s", "vgg16", 3, 21)
    assert model.count_params() == vgg16 + head + scores + transposed
    assert round(model.count_params() / 1e6, 1) == 134.5


def test_segnet_on_vgg16_has_the_29_4_million_parameters_of_the_paper():
    """13 convolutions and their mirror image with the paper's 12 classes, scale and shift of 25 normalizations."""
    shapes = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512)]
    shapes += [(512, 512)] * 5
    encoder = sum(9 * read * made + made for read, made in shapes)
    decoder = sum(9 * made * read + read for read, made in shapes[1:]) + 9 * 64 * 12 + 12
    normalized = 2 * (sum(made for _, made in shapes) + sum(read for read, _ in shapes[1:]))
    model = zoo.build("segnet", "vgg16", 3, 12)
    assert trainable(model) == encoder + decoder + normalized == 29_449_932
    assert model.count_params() == trainable(model) + normalized


def test_the_unet_of_the_paper_has_31_0_million_parameters():
    """Ten convolutions down, eight up, four transposed ones of 2 x 2, and the scores."""
    widths = [64, 128, 256, 512, 1024]
    down = [(3, 64), (64, 64)] + [pair for a, b in pairwise(widths) for pair in ((a, b), (b, b))]
    up = [pair for width in widths[:-1] for pair in ((2 * width, width), (width, width))]
    convolutions = sum(9 * read * made + made for read, made in down + up)
    transposed = sum(4 * 2 * width * width + width for width in widths[:-1])
    model = zoo.build("unet", None, 3, 2)
    assert model.count_params() == convolutions + transposed + 64 * 2 + 2
    assert round(model.count_params() / 1e6, 1) == 31.0


def test_pspnet_on_resnet50_has_46_7_million_parameters():
    """ResNet50 of Keras (its convolutions have biases), four levels of 512 channels, a 3 x 3 convolution, the scores."""
    resnet50 = keras.applications.ResNet50(include_top=False, weights=None).count_params()
    levels = 4 * (2048 * 512 + 4 * 512)
    head = 9 * (2048 + 4 * 512) * 512 + 4 * 512 + 512 * 21 + 21
    model = zoo.build("pspnet", "resnet50", 3, 21)
    assert model.count_params() == resnet50 + levels + head
    assert round(model.count_params() / 1e6, 1) == 46.7


def test_every_row_is_one_of_its_kind_and_names_its_paper():
    assert len({(row.architecture, row.encoder) for row in zoo.ZOO}) == len(zoo.ZOO)
    for row in zoo.ZOO:
        assert row.paper.link.startswith("https://arxiv.org/abs/")
        assert row.task in ("semantic", "instances")
        assert row.encoder is None or row.encoder.removesuffix("_fpn") in ENCODERS


def test_the_table_is_read_without_keras():
    code = "import sys; from terraseam.models.zoo import ZOO; print(len(ZOO), *({'keras', 'numpy'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(zoo.ZOO))]


def test_the_encoder_none_is_the_papers_own_path():
    assert zoo.find("unet", "none") is zoo.find("unet") is zoo.find("unet", None)
    assert zoo.build("unet", "none", 1, 2, width=1).name == "plain_unet"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("unett", None), "no architecture is called 'unett'; choose one of fcn32s, .*unet, pspnet"),
        (
            ("unet", "vgg19"),
            "unet is not built on the encoder 'vgg19'; choose one of none, vgg16, resnet50, mobilenet",
        ),
        (
            ("segnet", None),
            "segnet is not built on the encoder 'none'; choose one of vgg16, resnet50, mobilenet",
        ),
    ],
)
def test_unknown_names_are_answered_with_those_there_are(names, words):
    with pytest.raises(zoo.ZooError, match=words):
        zoo.build(*names, 3, 2)


def test_options_are_those_of_the_builder_but_what_makes_the_architecture():
    assert zoo.option_names(zoo.find("fcn8s", "vgg16")) == (
        "head_width",
        "dropout",
        "encoder_weights",
        "encoder_width",
        "weight_decay",
    )
    assert zoo.option_names(zoo.find("unet")) == ("width", "dropout", "weight_decay")
    with pytest.raises(zoo.ZooError, match="fcn8s takes no option 'stride'; it takes head_width, dropout"):
        zoo.build("fcn8s", "vgg16", 3, 2, stride=16)


def test_scaling_is_that_of_the_encoder():
    assert zoo.input_scaling("mobilenet", 2) == Scaling((1 / 127.5,) * 2, (-1.0,) * 2)
    assert zoo.input_scaling("resnet50_fpn", 3) == Scaling((1.0,) * 3, (-123.68, -116.779, -103.939))
    assert zoo.input_scaling(None, 1) == Scaling((1 / 127.5,), (-1.0,))
