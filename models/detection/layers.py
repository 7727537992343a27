"""Layers of Mask R-CNN for inference that Keras lacks; none has weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
from keras import ops

from terraseam.models.detection.boxes import (
    BOX_VARIANCE,
    NEVER,
    RPN_VARIANCE,
    best,
    clip,
    decode,
    has_area,
    level_anchors,
    map_size,
    take_rows,
)
from terraseam.models.detection.roi_align import pyramid_roi_align
from terraseam.models.detection.settings import Anchors, Choice, anchors_from
from terraseam.models.detection.suppression import suppress

Tensor = Any


class PlainLayer(keras.layers.Layer):
    """A layer without weights that computes in float32, whatever the precision of the surrounding network."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"dtype": "float32", **kwargs})
        self.built = True
        if keras.backend.backend() == "tensorflow":
            self.supports_jit = False  # XLA supports none of TensorFlow's detection kernels


@keras.saving.register_keras_serializable("terraseam")
class Proposals(PlainLayer):
    """Region proposals, selected by the scores of the region proposal network.

    The best candidates of every level are decoded, clipped and suppressed; the best of all levels are kept
    (https://arxiv.org/abs/1506.01497, section 3; https://arxiv.org/abs/1612.03144, section 4.1).

    Args:
        anchors: Anchors of the proposals.
        choice: How proposals are selected.
    """

    def __init__(self, anchors: Anchors, choice: Choice, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.anchors, self.choice = anchors, choice

    def call(
        self, chips: Tensor, scores: Sequence[Tensor], deltas: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Select proposals.

        Args:
            chips: Shape ``(n, height, width, bands)``; only its size is used.
            scores: Logits of each level, ``(n, rows, columns, anchors)``.
            deltas: Deltas of each level, ``(n, rows, columns, 4 * anchors)``.

        Returns:
            Boxes ``(n, kept, 4)`` in chip pixels, zeros where there are fewer; and which rows are proposals,
            ``(n, kept)`` bool.
        """
        size = map_size(chips)
        level_proposals = [
            self._level(level, size, *pair) for level, pair in enumerate(zip(scores, deltas, strict=True))
        ]
        boxes, marks = (ops.concatenate(parts, axis=1) for parts in zip(*level_proposals, strict=True))
        marks, places = best(marks, self.choice.kept)
        valid = marks > NEVER
        return ops.where(valid[..., None], take_rows(boxes, places), 0.0), valid

    def _level(self, level: int, size: tuple, scores: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Return the proposals of one level and their scores, minus infinity where there are fewer."""
        chips = ops.shape(scores)[0]
        anchors = level_anchors(map_size(scores), level, self.anchors)
        marks, places = best(ops.reshape(scores, (chips, -1)), self.choice.candidates)
        chosen = ops.take(anchors, places, axis=0)
        chosen_deltas = take_rows(ops.reshape(deltas, (chips, -1, 4)), places)
        boxes = clip(decode(chosen, chosen_deltas, RPN_VARIANCE), size)
        marks = ops.where(has_area(boxes), marks, NEVER)
        count = min(self.choice.candidates, self.choice.kept)
        places, valid = suppress(boxes, marks, self.choice.iou, count)
        marks = ops.where(valid, take_rows(marks[..., None], places)[..., 0], NEVER)
        return take_rows(boxes, places), marks

    def compute_output_spec(
        self,
        chips: keras.KerasTensor,
        scores: Sequence[keras.KerasTensor],
        deltas: Sequence[keras.KerasTensor],
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the specs of boxes and validity."""
        del scores, deltas
        shape = (chips.shape[0], self.choice.kept)
        return keras.KerasTensor((*shape, 4), "float32"), keras.KerasTensor(shape, "bool")

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the layer is rebuilt."""
        return {**super().get_config(), "anchors": asdict(self.anchors), "choice": asdict(self.choice)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Proposals:
        """Build the layer from its config."""
        anchors, choice = anchors_from(config["anchors"]), Choice(**config["choice"])
        return cls(**{**config, "anchors": anchors, "choice": choice})


@keras.saving.register_keras_serializable("terraseam")
class PyramidRoiAlign(PlainLayer):
    """RoIAlign on a feature pyramid; see `terraseam.models.detection.roi_align`.

    Args:
        size: Bins along each axis.
        strides: Strides of the maps, in pixels.
    """

    def __init__(self, size: int, strides: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size, self.strides = size, tuple(strides)

    def call(self, boxes: Tensor, maps: Sequence[Tensor]) -> Tensor:
        """Return features ``(n * k, size, size, channels)`` of boxes ``(n, k, 4)``."""
        return pyramid_roi_align(maps, self.strides, boxes, self.size)

    def compute_output_spec(
        self, boxes: keras.KerasTensor, maps: Sequence[keras.KerasTensor]
    ) -> keras.KerasTensor:
        """Return the spec of the features."""
        del boxes
        return keras.KerasTensor((None, self.size, self.size, maps[0].shape[-1]), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the layer is rebuilt."""
        return {**super().get_config(), "size": self.size, "strides": list(self.strides)}


@keras.saving.register_keras_serializable("terraseam")
class Detections(PlainLayer):
    """Detections: pairs of a box and a class other than the background, after non-maximum suppression per class.

    Args:
        choice: How detections are selected. If more than `candidates` pairs of box and class exceed the score, only
            the best of them are considered.
    """

    def __init__(self, choice: Choice, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choice = choice

    def call(
        self, chips: Tensor, boxes: Tensor, valid: Tensor, logits: Tensor, deltas: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Select detections.

        Args:
            chips: Shape ``(n, height, width, bands)``; only its size is used.
            boxes: Proposals, ``(n, k, 4)``.
            valid: Which rows are proposals, ``(n, k)``.
            logits: Shape ``(n * k, classes)``.
            deltas: Shape ``(n * k, 4 * classes)``.

        Returns:
            Boxes ``(n, kept, 4)``, labels ``(n, kept)`` int32 and scores ``(n, kept)``, in descending order of
            score; zeros where there are fewer.
        """
        marks, places, labels = self._candidates(valid, logits)
        rows = places // (logits.shape[-1] - 1)
        class_deltas = take_rows(
            ops.reshape(deltas, (ops.shape(valid)[0], -1, 4)), rows * logits.shape[-1] + labels
        )
        refined = clip(decode(take_rows(boxes, rows), class_deltas, BOX_VARIANCE), map_size(chips))
        marks = ops.where(has_area(refined), marks, NEVER)
        groups = labels if logits.shape[-1] > 2 else None
        chosen, valid_rows = suppress(refined, marks, self.choice.iou, self.choice.kept, groups)
        return (
            ops.where(valid_rows[..., None], take_rows(refined, chosen), 0.0),
            ops.where(valid_rows, take_rows(labels[..., None], chosen)[..., 0], 0),
            ops.where(valid_rows, take_rows(marks[..., None], chosen)[..., 0], 0.0),
        )

    def _candidates(self, valid: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores of the best pairs of box and class, their indices among all pairs, and their labels."""
        foreground_classes = logits.shape[-1] - 1
        scores = ops.reshape(
            ops.softmax(logits, axis=-1)[:, 1:], (-1, ops.shape(valid)[1], foreground_classes)
        )
        likely = ops.logical_and(valid[..., None], scores > (self.choice.score or 0.0))
        marks = ops.reshape(ops.where(likely, scores, NEVER), (ops.shape(valid)[0], -1))
        marks, places = best(marks, max(self.choice.candidates, self.choice.kept))
        return marks, places, places % foreground_classes + 1

    def compute_output_spec(
        self, chips: keras.KerasTensor, *_: keras.KerasTensor
    ) -> tuple[keras.KerasTensor, keras.KerasTensor, keras.KerasTensor]:
        """Return the specs of boxes, labels and scores."""
        shape = (chips.shape[0], self.choice.kept)
        return (
            keras.KerasTensor((*shape, 4), "float32"),
            keras.KerasTensor(shape, "int32"),
            keras.KerasTensor(shape, "float32"),
        )

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the layer is rebuilt."""
        return {**super().get_config(), "choice": asdict(self.choice)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Detections:
        """Build the layer from its config."""
        return cls(**{**config, "choice": Choice(**config["choice"])})


@keras.saving.register_keras_serializable("terraseam")
class MaskScores(PlainLayer):
    """Mask of each detection's class, selected from the masks of all classes, as scores 0 to 1."""

    def call(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return masks ``(n, k, m, m)`` from logits ``(n * k, m, m, classes)`` and labels ``(n, k)``; 0 is empty."""
        chosen = ops.one_hot(ops.reshape(labels, (-1,)), logits.shape[-1], dtype="float32")
        masks = ops.sigmoid(ops.sum(logits * chosen[:, None, None, :], axis=-1))
        shape = (*(ops.shape(labels)[axis] for axis in (0, 1)), logits.shape[1], logits.shape[2])
        return ops.where(labels[..., None, None] > 0, ops.reshape(masks, shape), 0.0)

    def compute_output_spec(self, logits: keras.KerasTensor, labels: keras.KerasTensor) -> keras.KerasTensor:
        """Return the spec of the masks."""
        return keras.KerasTensor((*labels.shape, *logits.shape[1:3]), "float32")
