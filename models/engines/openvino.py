"""OpenVINO engine on the CPU: one compiled network for each chip size, one thread per call."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.bundle.card import Card, check_converted, check_weights
from terraseam.models.bundle.values import OPENVINO_FILES
from terraseam.models.engines.building import MOST, building
from terraseam.models.engines.choice import ONNX_FILE
from terraseam.models.engines.conversion import Conversion, any_size, converted_network
from terraseam.models.engines.precision import as_taken
from terraseam.models.engines.profile import EngineError, Profile
from terraseam.models.engines.quiet import import_openvino
from terraseam.models.engines.recent_shapes import RecentShapes
from terraseam.models.engines.workplace import Workplace


class OpenvinoNetwork:
    """The network of a bundle on OpenVINO; thread-safe.

    Args:
        bundle: Folder of the bundle.
        card: Its card.
        profile: Execution profile.
        workplace: Folder for converted networks, and number of concurrent calls.

    Raises:
        CardError: If the bundle's network does not match its card.
        EngineError: If OpenVINO is not installed, or the bundle's ONNX file is not valid.
    """

    def __init__(self, bundle: Path, card: Card, profile: Profile, workplace: Workplace) -> None:
        try:
            import_openvino()
        except ImportError as error:
            raise EngineError(
                "OpenVINO is not installed here; install it with pip install 'terraseam[openvino]'"
            ) from error
        check_weights(bundle, card)
        check_converted(bundle, card)
        if card.network.name == ONNX_FILE:
            _check_onnx(bundle / ONNX_FILE, card)
        self._core = shared_core()
        self._bundle, self._card, self._profile, self._workplace = bundle, card, profile, workplace
        self._only_fixed = False
        self._compiled: RecentShapes[Any] = RecentShapes(self._compile, release=_release)
        self._latest = threading.local()

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network on scaled chips, and return all of its outputs."""
        request, kind = self._request(batch.shape)
        request.infer([as_taken(batch, kind, self._card)])
        return tuple(tensor.data.copy() for tensor in request.output_tensors)

    def _request(self, shape: tuple[int, ...]) -> tuple[Any, Any]:
        """Return the calling thread's own request for chips of one shape, and its input type.

        A thread keeps its latest request only: each holds an input, outputs, and its compiled network.
        """
        mine, compiled = self._latest, self._compiled.get(shape)
        if getattr(mine, "compiled", None) is not compiled:
            mine.compiled, mine.request = compiled, compiled.create_infer_request()
        return mine.request, compiled.inputs[0].get_element_type().to_dtype()

    def _compile(self, shape: tuple[int, ...]) -> Any:
        streams = self._workplace.calls
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",
            # A stream runs one call with its own threads: as many streams as concurrent calls.
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * self._profile.threads,
            # With pinning, the threads of several processes would all share the same core.
            "ENABLE_CPU_PINNING": False,
        }
        with building(self._card, "openvino"):
            return self._core.compile_model(self._read(shape), "CPU", settings)

    def _read(self, shape: tuple[int, ...]) -> Any:
        """Read the network for chips of one shape: an ONNX file, or the network as it was converted."""
        if self._card.network.name == ONNX_FILE:
            return self._read_file(self._bundle / ONNX_FILE, shape)
        if self._card.openvino is not None:
            return self._read_file(self._bundle / OPENVINO_FILES[0], shape)
        if not self._only_fixed:
            try:
                return self._read_file(self._converted(any_size(self._card)), shape)
            except EngineError:
                self._only_fixed = True
        return self._core.read_model(str(self._converted(shape)))

    def _converted(self, shape: tuple[int | None, ...]) -> Path:
        conversion = Conversion.of(self._bundle, self._card, self._profile, shape)
        return converted_network(conversion, self._workplace.converted)

    def _read_file(self, path: Path, shape: tuple[int, ...]) -> Any:
        """Read a network that takes chips of several sizes, for chips of one shape."""
        chips = import_openvino().PartialShape(list(shape))
        try:
            model = self._core.read_model(str(path))
            if len(model.inputs) != 1 or not model.inputs[0].get_partial_shape().compatible(chips):
                taken = ", ".join(str(port.get_partial_shape()) for port in model.inputs)
                raise ValueError(f"it takes {taken}")
            model.reshape(chips)
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            raise EngineError(
                f"the network of {self._card.name} does not run on chips of shape {shape} ({reason}); pass another "
                "--tile, or recreate the bundle"
            ) from error
        return model


def _release(compiled: Any) -> bool:
    """Free the activations of a compiled network, which it keeps for every stream; return False while it is running."""
    try:
        compiled.release_memory()
    except RuntimeError:
        return False
    return True


def _check_onnx(path: Path, card: Card) -> None:
    """Check an ONNX file: a node without a required input, such as a Conv without weights, crashes OpenVINO.

    Raises:
        EngineError: If it is not valid, or onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise EngineError(
            "onnx, which checks ONNX files for OpenVINO, is not installed here; install it with pip install "
            "'terraseam[openvino]'"
        ) from error
    try:
        onnx.checker.check_model(str(path))
    except onnx.checker.ValidationError as error:
        reason = " ".join(str(error).split())[:MOST]
        raise EngineError(
            f"the network of {card.name} is not a valid ONNX file ({reason}); recreate the bundle"
        ) from error


@functools.cache
def shared_core() -> Any:
    """Return this process's shared OpenVINO core, which is never destroyed.

    The CPU plugin gives the thread that loads it a stack for signal handlers. If two cores are destroyed in turn,
    that thread can be left with a freed stack, and the next signal, even Ctrl-C, is a segmentation fault.
    """
    return import_openvino().Core()
