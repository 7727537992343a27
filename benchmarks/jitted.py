"""Compile Keras networks with JAX for chips of one shape, and measure such calls.

Keras must run on JAX: KERAS_BACKEND=jax, set before it is imported.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jax
    import keras

MODES = {
    "float32": ("float32", "highest"),
    "bfloat16": ("bfloat16", "default"),
    "tf32": ("float32", "default"),
}
"""Compute type and matrix-product precision of each mode.

By default JAX multiplies float32 on NVIDIA GPUs with 11 significant bits (TF32); on a CPU both are the same.
"""


def weights_of(model: keras.Model, device: Any = None) -> tuple[list[Any], list[Any]]:
    """Return the weights of a network for `lowered`, on a device, or on JAX's default one."""
    import jax

    groups = model.trainable_variables, model.non_trainable_variables
    trainable, others = ([jax.device_put(one.value, device) for one in group] for group in groups)
    return trainable, others


def lowered(model: keras.Model, mode: str, weights: Any, shape: Sequence[int]) -> jax.stages.Lowered:
    """Trace a network for chips of one shape.

    Args:
        model: The network; its compute type is changed.
        mode: One of `MODES`.
        weights: Output of `weights_of`; the call runs on their device.
        shape: Shape of the chips, ``(n, height, width, bands)``.

    Returns:
        An object whose ``compile()`` gives a call that takes weights and chips, float32, and returns the network's
        outputs, in float32 as engines do.
    """
    import jax
    import jax.numpy as jnp

    from terraseam.models.engines.precision import compute_in

    precision, products = MODES[mode]
    compute_in(model, precision)

    def run(weights: Any, chips: Any) -> Any:
        made, _ = model.stateless_call(*weights, chips, training=False)
        return jax.tree.map(_in_float32, made)

    def _in_float32(made: Any) -> Any:
        return made.astype(jnp.float32) if jnp.issubdtype(made.dtype, jnp.floating) else made

    place = weights[0][0].sharding
    with jax.default_matmul_precision(products):
        return jax.jit(run).lower(weights, jax.ShapeDtypeStruct(tuple(shape), jnp.float32, sharding=place))


def flops(model: keras.Model, shape: Sequence[int]) -> float:
    """Return the FLOPs of a call in float32, as XLA counts them in the traced network.

    The CPU backend is asked: GPUs do not report them, and library kernels there hide theirs.
    """
    import jax

    place = jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])
    weights = [
        [jax.ShapeDtypeStruct(one.shape, one.dtype, sharding=place) for one in group]
        for group in (model.trainable_variables, model.non_trainable_variables)
    ]
    return float(lowered(model, "float32", weights, shape).cost_analysis()["flops"])


def seconds_a_call(call: Callable[[Any], Any], inputs: Sequence[Any], least: float) -> float:
    """Return the seconds per call: the median of three series of calls, after three warm-up calls.

    Args:
        call: The function to time; results are only awaited at the end of a series.
        inputs: Its inputs, used in turn.
        least: Approximate duration of a series, in seconds.
    """
    import jax

    for number in range(3):
        start = time.perf_counter()
        jax.block_until_ready(call(inputs[number % len(inputs)]))
        one = time.perf_counter() - start
    count = max(1, math.ceil(least / one))
    found = []
    for _ in range(3):
        start = time.perf_counter()
        for number in range(count):
            made = call(inputs[number % len(inputs)])
        jax.block_until_ready(made)
        found.append((time.perf_counter() - start) / count)
    return statistics.median(found)


def ceilings(side: int, copied: int, least: float) -> dict[str, float]:
    """Measure the device's limits: TFLOP/s of square matrix products in each mode, and GB/s of a copy.

    Args:
        side: Rows and columns of the matrices.
        copied: Number of float32 values to copy; bytes read and written both count.
        least: Duration of a series, in seconds; see `seconds_a_call`.
    """
    import jax
    import jax.numpy as jnp

    found = {}
    for mode, (precision, products) in MODES.items():
        pairs = [
            [jax.random.normal(key, (side, side)).astype(precision) for key in jax.random.split(pair)]
            for pair in jax.random.split(jax.random.key(7), 2)
        ]
        with jax.default_matmul_precision(products):
            multiply = jax.jit(jnp.matmul)
            seconds = seconds_a_call(lambda pair, multiply=multiply: multiply(*pair), pairs, least)
        found[mode] = 2 * side**3 / seconds / 1e12
    numbers = jax.random.normal(jax.random.key(8), (copied,))
    found["copy"] = 8 * copied / seconds_a_call(jax.jit(lambda array: array + 1), [numbers], least) / 1e9
    return found
