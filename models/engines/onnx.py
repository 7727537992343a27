"""ONNX Runtime engine on the CPU: calls run in the calling thread, one operation after another."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from terraseam.models.bundle.card import Card, check_weights
from terraseam.models.engines.conversion import Conversion, converted_network
from terraseam.models.engines.precision import as_taken
from terraseam.models.engines.profile import EngineError, Profile
from terraseam.models.engines.recent_shapes import RecentShapes
from terraseam.models.engines.workplace import Workplace

TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
"""Types to which chips are cast, by the network's input type."""


class OnnxNetwork:
    """The network of a bundle on ONNX Runtime; thread-safe.

    Args:
        bundle: Folder of the bundle.
        card: Its card.
        profile: Execution profile.
        workplace: Folder for converted networks.

    Raises:
        CardError: If the bundle's network does not match its card.
        EngineError: If ONNX Runtime is not installed.
    """

    def __init__(self, bundle: Path, card: Card, profile: Profile, workplace: Workplace) -> None:
        try:
            import onnxruntime  # type: ignore[import-untyped]
        except ImportError as error:
            raise EngineError(
                "ONNX Runtime is not installed here; install it with pip install 'terraseam[onnx]'"
            ) from error
        check_weights(bundle, card)
        self._bundle, self._card, self._profile, self._workplace = bundle, card, profile, workplace
        self._runtime = onnxruntime
        _share_arena(onnxruntime)
        self._sessions: RecentShapes[Any] = RecentShapes(self._open_for)

    def __call__(self, batch: np.ndarray) -> tuple[np.ndarray, ...]:
        """Run the network on scaled chips, and return all of its outputs."""
        session = self._sessions.get(() if self._is_direct else batch.shape)
        taken = session.get_inputs()[0]
        chips = np.ascontiguousarray(as_taken(batch, TYPES[taken.type], self._card))
        try:
            return tuple(session.run(None, {taken.name: chips}))
        except self._errors() as error:
            raise EngineError(
                f"the network of {self._card.name} does not run on chips of shape {batch.shape} "
                f"({_first_line(error)}); pass another --tile, or recreate the bundle"
            ) from error

    @property
    def _is_direct(self) -> bool:
        """Whether the bundle has an ONNX file, which has one session for all shapes."""
        return self._card.network.name == "model.onnx"

    def _open_for(self, shape: tuple[int, ...]) -> Any:
        """Open a session for chips of one shape."""
        return self._open(
            self._bundle / self._card.network.name if self._is_direct else self._converted(shape)
        )

    def _converted(self, shape: tuple[int, ...]) -> Path:
        conversion = Conversion.of(self._bundle, self._card, self._profile, shape)
        return converted_network(conversion, self._workplace.converted)

    def _open(self, path: Path) -> Any:
        runtime = self._runtime
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._profile.threads
        options.inter_op_num_threads = 1
        options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
        options.use_deterministic_compute = True
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 4
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except self._errors() as error:
            raise EngineError(
                f"ONNX Runtime cannot load {path.name} of {self._card.name} ({_first_line(error)}); recreate the bundle"
            ) from error
        taken = session.get_inputs()
        if len(taken) != 1 or taken[0].type not in TYPES:
            signature = ", ".join(f"{port.name}: {port.type}" for port in taken)
            raise EngineError(
                f"the network of {self._card.name} takes ({signature}); it must take one array of floats"
            )
        return session

    def _errors(self) -> tuple[type[Exception], ...]:
        """Return the exceptions that ONNX Runtime raises for networks, which share no base class."""
        state = self._runtime.capi.onnxruntime_pybind11_state
        return (RuntimeError, ValueError, *(getattr(state, name) for name in ERRORS))


@functools.cache
def _share_arena(runtime: Any) -> None:
    """Let the sessions of this process share one arena: each keeps the memory of its largest call otherwise."""
    info = runtime.OrtMemoryInfo(
        "Cpu", runtime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, runtime.OrtMemType.DEFAULT
    )
    runtime.create_and_register_allocator(info, None)


ERRORS = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NotImplemented", "RuntimeException")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
