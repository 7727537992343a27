"""Put a bundle's network, converted for OpenVINO, into the bundle, and compare its labels with the network's own."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from terraseam.models.bundle.card import Card, check_weights, network_sha256
from terraseam.models.bundle.values import OPENVINO_FILES, ConvertedNetwork
from terraseam.models.engines.choice import ONNX_FILE
from terraseam.models.engines.conversion import any_size, size_of
from terraseam.models.engines.convert import Network, convert_network
from terraseam.models.engines.outputs import labels_agree, logits_of
from terraseam.models.engines.profile import EngineError, execution_profile
from terraseam.models.engines.quiet import import_openvino, import_tensorflow
from terraseam.models.engines.scaling import in_layout, scale
from terraseam.models.engines.tensorflow import load_network
from terraseam.models.errors import short

SIDES = ((256, 192), (128, 320), (192, 192))
"""Heights and widths of the chips on which labels are compared, rounded up to the stride, in pixels."""


def include_openvino(bundle: Path, real_chips: Iterable[np.ndarray] = ()) -> Card:
    """Add the converted network to a new bundle as `convert_bundle` does, or leave the bundle as it is if that fails."""
    card = Card.read(bundle)
    if card.network.name == ONNX_FILE:
        return card
    try:
        return convert_bundle(bundle, real_chips)
    except EngineError:
        return card


def convert_bundle(bundle: Path, real_chips: Iterable[np.ndarray] = ()) -> Card:
    """Convert the network of a bundle for OpenVINO, compare its labels, and add the files to the bundle and its card.

    Args:
        bundle: Folder of the bundle.
        real_chips: Scaled chips on which labels are compared, float32, shape ``(height, width, bands)``, with sides that
            are multiples of the stride; noise if there are none.

    Returns:
        The card as written.

    Raises:
        CardError: If the bundle is not valid.
        EngineError: If the network cannot be converted; the bundle is unchanged then.
    """
    card = Card.read(bundle)
    if card.network.name == ONNX_FILE:
        raise EngineError(
            f"OpenVINO reads the {ONNX_FILE} of {card.name} itself; there is nothing to convert"
        )
    if importlib.util.find_spec("openvino") is None:
        raise EngineError("OpenVINO is not installed here; install it with pip install 'terraseam[openvino]'")
    check_weights(bundle, card)
    with tempfile.TemporaryDirectory(dir=bundle, prefix=".converted.") as scratch:
        draft = Path(scratch)
        try:
            network, file = load_network(bundle, card, import_tensorflow()), draft / OPENVINO_FILES[0]
            convert_network(network, size_of(bundle), "openvino", any_size(card), file)
            chips = list(real_chips) or _noise(card)
            same = card.task == "semantic" and _labels_agree(network, file, card, chips)
        except EngineError:
            raise
        except Exception as error:
            raise EngineError(
                f"the network of {card.name} cannot be converted for OpenVINO for chips of any size ({short(error)}); "
                "run it with --engine tensorflow"
            ) from error
        for name in OPENVINO_FILES:
            (draft / name).replace(bundle / name)
    profile = execution_profile(engine="openvino")
    xml, weights = (network_sha256(bundle / name) for name in OPENVINO_FILES)
    converted = ConvertedNetwork(
        profile.engine_version,
        profile.converter,
        profile.keras_version,
        card.source_sha256(),
        xml,
        weights,
        same,
    )
    card = replace(card, openvino=converted)
    card.write(bundle)
    return card


def _labels_agree(network: Network, converted: Path, card: Card, chips: Iterable[np.ndarray]) -> bool:
    """Return whether a converted network labels chips on OpenVINO as the network itself does on TensorFlow."""
    tf = import_tensorflow()
    for chip in chips:
        batch = in_layout(chip[None], card.network.layout)
        own = [tensor.numpy() for tensor in tf.nest.flatten(network(tf.constant(batch)))]
        others = _run_converted(converted, batch)
        expected, actual = (logits_of(outputs[0], card, *chip.shape[:2]) for outputs in (own, others))
        if not labels_agree(expected, actual):
            return False
    return True


def _run_converted(path: Path, batch: np.ndarray) -> list[np.ndarray]:
    """Run the converted network on a batch of chips, and return its outputs."""
    from terraseam.models.engines.openvino import shared_core

    model = shared_core().read_model(str(path))
    model.reshape(import_openvino().PartialShape(list(batch.shape)))
    request = (
        shared_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    )
    request.infer([batch])
    return [tensor.data.copy() for tensor in request.output_tensors]


def _noise(card: Card) -> list[np.ndarray]:
    """Return scaled chips of noise, from 0 to twice the card's fill value in each band."""
    generator = np.random.default_rng(0)
    fill = np.asarray(card.fill, np.float32)
    sides = [[-(-side // card.stride) * card.stride for side in pair] for pair in SIDES]
    return [
        scale(generator.uniform(0, 1, (*pair, len(fill))).astype(np.float32) * 2 * fill, card.scaling)
        for pair in sides
    ]
