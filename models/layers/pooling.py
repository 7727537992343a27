"""Max-pooling with indices, the matching unpooling, and adaptive average pooling."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("terraseam")
class IndexedMaxPooling2D(keras.layers.Layer):
    """Max-pooling over 2 x 2 windows that also returns the index of each maximum in its window.

    Takes a map ``(batch, height, width, channels)``, both sides even. Returns the maxima and their indices, both
    ``(batch, height / 2, width / 2, channels)``; indices are int32, 0 and 1 in the upper row, 2 and 3 in the
    lower one. Ties go to the first. It uses only strided slices and comparisons, which run on every backend
    and can be exported to every engine.
    """

    def call(self, inputs: Any) -> tuple[Any, Any]:
        """Return the maxima and their indices."""
        first, second = inputs[:, 0::2, 0::2], inputs[:, 0::2, 1::2]
        third, fourth = inputs[:, 1::2, 0::2], inputs[:, 1::2, 1::2]
        upper, lower = ops.maximum(first, second), ops.maximum(third, fourth)
        upper_place = ops.cast(second > first, "int32")
        lower_place = ops.cast(fourth > third, "int32") + 2
        return ops.maximum(upper, lower), ops.where(lower > upper, lower_place, upper_place)

    def compute_output_spec(self, inputs: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the specs of the maxima and their indices.

        Raises:
            ValueError: If a side is known to be odd.
        """
        batch, height, width, channels = inputs.shape
        if any(side is not None and side % 2 for side in (height, width)):
            raise ValueError(f"{self.name} pools maps of even height and width, got {height} x {width}")
        half = (batch, height and height // 2, width and width // 2, channels)
        return keras.KerasTensor(half, self.compute_dtype), keras.KerasTensor(half, "int32")


@keras.saving.register_keras_serializable("terraseam")
class Unpooling2D(keras.layers.Layer):
    """Layer that puts each value back at the index found by `IndexedMaxPooling2D`, with zeros elsewhere.

    Takes values and indices, both ``(batch, height, width, channels)``; returns ``(batch, 2 * height, 2 * width,
    channels)``.
    """

    def call(self, inputs: list[Any]) -> Any:
        """Return the unpooled map."""
        values, places = inputs
        nothing = ops.zeros_like(values)
        first, second, third, fourth = (ops.where(places == place, values, nothing) for place in range(4))
        rows = [ops.stack([first, second], axis=3), ops.stack([third, fourth], axis=3)]
        _, height, width, channels = ops.shape(values)
        return ops.reshape(ops.stack(rows, axis=2), (-1, 2 * height, 2 * width, channels))

    def compute_output_spec(self, inputs: list[keras.KerasTensor]) -> keras.KerasTensor:
        """Return the spec of the unpooled map."""
        batch, height, width, channels = inputs[0].shape
        shape = (batch, height and 2 * height, width and 2 * width, channels)
        return keras.KerasTensor(shape, self.compute_dtype)


@keras.saving.register_keras_serializable("terraseam")
class BinMean2D(keras.layers.Layer):
    """Adaptive average pooling of a map of any size to `bins` x `bins`.

    Bin ``i`` begins at element ``floor(i * size / bins)`` and ends before ``ceil((i + 1) * size / bins)``, so
    bins overlap where the size is not a multiple of `bins`, and every bin has at least one element. Takes ``(batch,
    height, width, channels)``, returns ``(batch, bins, bins, channels)``.

    Keras' own `AdaptiveAveragePooling2D` needs sizes that are known when the network is built.
    """

    def __init__(self, bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1:
            raise ValueError(f"bins must be 1 or more, got {bins}")
        self.bins = bins

    def call(self, inputs: Any) -> Any:
        """Return the means."""
        _, height, width, _ = ops.shape(inputs)
        rows = ops.einsum("ih,nhwc->niwc", self._shares(height), inputs)
        return ops.einsum("jw,niwc->nijc", self._shares(width), rows)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return ``(batch, bins, bins, channels)``."""
        return (input_shape[0], self.bins, self.bins, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the layer is rebuilt."""
        return {**super().get_config(), "bins": self.bins}

    def _shares(self, size: Any) -> Any:
        """Return the weight of each element in each bin, shape ``(bins, size)``; rows sum to one."""
        bins = ops.expand_dims(ops.arange(self.bins, dtype="int32"), 1)
        elements = ops.expand_dims(ops.arange(size, dtype="int32"), 0)
        begins = bins * size // self.bins
        ends = ((bins + 1) * size + self.bins - 1) // self.bins  # ONNX divides negative numbers differently
        inside = ops.logical_and(elements >= begins, elements < ends)
        return ops.cast(inside, self.compute_dtype) / ops.cast(ends - begins, self.compute_dtype)
