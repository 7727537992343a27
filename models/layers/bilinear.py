"""Bilinear interpolation: initialize transposed convolutions, and resize a map to the size of another."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("terraseam")
class BilinearKernel(keras.initializers.Initializer):
    """Initializer of a transposed convolution that upsamples each channel bilinearly, without mixing channels.

    For kernels of twice the stride (Long et al., https://arxiv.org/abs/1411.4038, section 3.3). Away from the
    edges the upsampled map equals bilinear interpolation with half-pixel centres.
    """

    def __call__(self, shape: tuple[int, int, int, int], dtype: Any = None) -> Any:
        """Return a kernel ``(rows, columns, channels out, channels in)``.

        Raises:
            ValueError: If the numbers of input and output channels differ.
        """
        rows, columns, channels_out, channels_in = shape
        if channels_out != channels_in:
            raise ValueError(
                f"a bilinear kernel has as many channels in as out, got {channels_in} and {channels_out}"
            )
        tent = np.outer(_tent(rows), _tent(columns))
        kernel = tent[:, :, None, None] * np.eye(channels_out)
        return ops.convert_to_tensor(kernel, dtype=dtype or keras.config.floatx())


def _tent(size: int) -> np.ndarray:
    """Return the weights of a linear interpolation kernel with `size` taps, symmetric about its middle."""
    factor = (size + 1) // 2
    centre = (size - 1) / 2
    return 1 - np.abs(np.arange(size) - centre) / factor


@keras.saving.register_keras_serializable("terraseam")
class EnlargeLike2D(keras.layers.Layer):
    """Layer that resizes a map bilinearly to the height and width of another, with half-pixel centres.

    Takes two maps, ``(batch, rows, columns, channels)`` and ``(batch, height, width, any)``; returns ``(batch,
    height, width, channels)``.
    """

    def call(self, inputs: list[Any]) -> Any:
        """Return the resized map."""
        coarse, like = inputs
        _, height, width, _ = ops.shape(like)
        _, rows, columns, _ = ops.shape(coarse)
        tall = ops.einsum("hi,nijc->nhjc", self._weights(height, rows), coarse)
        return ops.einsum("wj,nhjc->nhwc", self._weights(width, columns), tall)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[int | None, ...]:
        """Return ``(batch, height, width, channels)``."""
        coarse, like = input_shape
        return (*like[:3], coarse[3])

    def _weights(self, size: Any, source: Any) -> Any:
        """Return the weight of each of `source` elements in each of `size` outputs, shape ``(size, source)``."""
        # Positions beyond 256 elements need more than the 8 bits of bfloat16.
        precise = "float64" if self.compute_dtype == "float64" else "float32"
        outputs, elements = (ops.cast(ops.arange(count, dtype="int32"), precise) for count in (size, source))
        growth = ops.cast(source, precise) / ops.cast(size, precise)
        centres = ops.clip((outputs + 0.5) * growth - 0.5, 0.0, ops.cast(source - 1, precise))
        distance = ops.abs(ops.expand_dims(centres, 1) - ops.expand_dims(elements, 0))
        return ops.cast(ops.maximum(1 - distance, 0.0), self.compute_dtype)
