"""The process that converts a network of TensorFlow for another engine; `models.engines.conversion` starts it.

    python -m models.engines.convert '{"bundle": ..., "engine": ..., "shape": [...], "target": ...}'

Chips have a whole shape: a run has one, Keras' bilinear upsampling has no graph for chips of unknown size, and
engines choose faster kernels for sizes that they know.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.card import Card, CardError
from models.engines.profile import EngineError
from models.engines.tensorflow import import_tensorflow, load_network

OPSET = 18


def convert(bundle: Path, engine: str, shape: Sequence[int], target: Path) -> None:
    """Convert the network of a bundle.

    Args:
        bundle: Folder of the bundle; its network is a Keras file or a SavedModel.
        engine: ``openvino`` or ``onnx``.
        shape: Shape of what a call takes.
        target: The file to write; OpenVINO puts its weights beside it.
    """
    tf = import_tensorflow()
    from models.detection.dispatch import portable

    network = load_network(bundle, Card.read(bundle), tf)

    def run(chips: Any) -> list[Any]:
        with portable():
            return [tf.identity(made) for made in tf.nest.flatten(network(chips))]

    call = tf.function(run, autograph=False)
    CONVERTERS[engine](call, tf.TensorSpec(shape, tf.float32, name="chips"), target)


def _to_openvino(call: Any, spec: Any, target: Path) -> None:
    # OpenVINO's converter tells its makers what it converts, unless this cannot be imported.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino  # type: ignore[import-untyped]

    model = openvino.convert_model(call.get_concrete_function(spec))
    openvino.save_model(model, str(target), compress_to_fp16=False)


def _to_onnx(call: Any, spec: Any, target: Path) -> None:
    import tf2onnx  # type: ignore[import-untyped]

    tf2onnx.convert.from_function(call, input_signature=[spec], opset=OPSET, output_path=str(target))


CONVERTERS = {"openvino": _to_openvino, "onnx": _to_onnx}


def main() -> int:
    """Convert what the argument says; the last line on the error stream says why it failed."""
    order = json.loads(sys.argv[1])
    try:
        convert(Path(order["bundle"]), order["engine"], order["shape"], Path(order["target"]))
    except Exception as error:
        own = isinstance(error, EngineError | CardError)
        sentence = str(error) if own else f"{type(error).__name__}: {error}"
        print(" ".join(sentence.split()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
