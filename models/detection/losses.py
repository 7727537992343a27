"""Losses of Mask R-CNN, and the sampling of boxes for them, as layers without weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import keras
from keras import ops

from terraseam.models.detection.boxes import (
    BOX_VARIANCE,
    RPN_VARIANCE,
    encode,
    level_anchors,
    map_size,
    take_rows,
)
from terraseam.models.detection.layers import PlainLayer
from terraseam.models.detection.sampling import mask_targets, match_anchors, overlaps, sample
from terraseam.models.detection.settings import Anchors, Choice, Training, anchors_from

Tensor = Any


def smooth_l1(differences: Tensor, beta: float) -> Tensor:
    """Return the smooth L1 loss (https://arxiv.org/abs/1504.08083, equation 3), quadratic below `beta`."""
    size = ops.abs(differences)
    return ops.where(size < beta, 0.5 * size * size / beta, size - 0.5 * beta)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the element-wise binary cross-entropy of logits with targets 0 to 1."""
    return ops.softplus(logits) - logits * target


def mean_of(values: Tensor, selected: Tensor) -> Tensor:
    """Return the mean of the selected values, 0 if none is selected."""
    selected = ops.cast(selected, "float32")
    return ops.sum(values * selected) / ops.maximum(ops.sum(selected), 1.0)


class TrainingLayer(PlainLayer):
    """A training layer configured by the training settings.

    Args:
        training: The training settings.
    """

    def __init__(self, training: Training, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training = training

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the layer is rebuilt."""
        return {**super().get_config(), "training": asdict(self.training)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TrainingLayer:
        """Build the layer from its config."""
        values = config["training"]
        training = Training(
            **{
                **values,
                "proposals": Choice(**values["proposals"]),
                "anchor_ious": tuple(values["anchor_ious"]),
            }
        )
        return cls(**{**config, "training": training})


@keras.saving.register_keras_serializable("terraseam")
class ProposalLosses(TrainingLayer):
    """Losses of the region proposal network (https://arxiv.org/abs/1506.01497, equation 1).

    Args:
        training: The training settings.
        anchors: Anchors of the proposals.
    """

    def __init__(self, training: Training, anchors: Anchors, **kwargs: Any) -> None:
        super().__init__(training, **kwargs)
        self.anchors = anchors
        self.seeds = keras.random.SeedGenerator(training.seed)

    def call(
        self, scores: Sequence[Tensor], deltas: Sequence[Tensor], boxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of scores and of deltas; for inputs see `terraseam.models.detection.layers.Proposals`.

        Both are divided by the number of sampled anchors.
        """
        numbers, count = self.training, ops.shape(labels)[0]
        anchors = ops.concatenate(
            [
                level_anchors(map_size(score_map), level, self.anchors)
                for level, score_map in enumerate(scores)
            ],
            axis=0,
        )
        shares = overlaps(anchors, boxes, labels)
        holds, ground = match_anchors(shares, numbers.anchor_ious)
        noise = keras.random.uniform(ops.shape(holds), seed=self.seeds)
        places, positive, drawn = sample(
            holds, ground, noise, numbers.anchors, round(numbers.anchors * numbers.anchor_share)
        )
        flat_scores = ops.concatenate(
            [ops.reshape(score_map, (count, -1, 1)) for score_map in scores], axis=1
        )
        flat_deltas = ops.concatenate(
            [ops.reshape(delta_map, (count, -1, 4)) for delta_map in deltas], axis=1
        )
        matched = take_rows(ops.argmax(shares, axis=-1)[..., None], places)[..., 0]
        target = encode(ops.take(anchors, places, axis=0), take_rows(boxes, matched), RPN_VARIANCE)
        entropy = cross_entropy(take_rows(flat_scores, places)[..., 0], ops.cast(positive, "float32"))
        misses = ops.sum(smooth_l1(take_rows(flat_deltas, places) - target, numbers.anchor_beta), axis=-1)
        return mean_of(entropy, drawn), mean_of(ops.where(positive, misses, 0.0), drawn)

    def compute_output_spec(self, *_: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the specs of the losses."""
        return keras.KerasTensor((), "float32"), keras.KerasTensor((), "float32")

    def get_config(self) -> dict[str, Any]:
        """Return the config from which the layer is rebuilt."""
        return {**super().get_config(), "anchors": asdict(self.anchors)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TrainingLayer:
        """Build the layer from its config."""
        return super().from_config({**config, "anchors": anchors_from(config["anchors"])})


@keras.saving.register_keras_serializable("terraseam")
class SampledBoxes(TrainingLayer):
    """Random sample of boxes for training the heads; the true boxes are added to the proposals.

    A box is assigned to the object it overlaps most, if their IoU is at least `roi_iou`, otherwise to the background.
    """

    def __init__(self, training: Training, **kwargs: Any) -> None:
        super().__init__(training, **kwargs)
        self.seeds = keras.random.SeedGenerator(training.seed + 1)

    def call(
        self, proposals: Tensor, valid: Tensor, boxes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sample boxes.

        Args:
            proposals: Shape ``(n, k, 4)``.
            valid: Which rows are proposals, ``(n, k)``.
            boxes: True boxes, ``(n, g, 4)``.
            labels: Their classes, ``(n, g)``; 0 where a row is empty.

        Returns:
            Boxes ``(n, rois, 4)``, positive ones first; their labels ``(n, rois)``, 0 for the background;
            the indices of their true boxes, ``(n, rois)``; and which rows were sampled, ``(n, rois)``.
        """
        numbers = self.training
        candidates = ops.stop_gradient(ops.concatenate([proposals, boxes], axis=1))
        present = ops.concatenate([valid, labels > 0], axis=1)
        shares = overlaps(candidates, boxes, labels)
        holds = ops.logical_and(present, ops.max(shares, axis=-1) >= numbers.roi_iou)
        ground = ops.logical_and(present, ops.logical_not(holds))
        noise = keras.random.uniform(ops.shape(holds), seed=self.seeds)
        places, positive, drawn = sample(holds, ground, noise, numbers.rois, most_instances(numbers))
        matched = take_rows(ops.cast(ops.argmax(shares, axis=-1), "int32")[..., None], places)[..., 0]
        true_labels = take_rows(ops.cast(labels, "int32")[..., None], matched)[..., 0]
        return take_rows(candidates, places), ops.where(positive, true_labels, 0), matched, drawn

    def compute_output_spec(self, proposals: keras.KerasTensor, *_: Any) -> tuple[keras.KerasTensor, ...]:
        """Return the specs of boxes, labels, indices and validity."""
        shape = (proposals.shape[0], self.training.rois)
        return (
            keras.KerasTensor((*shape, 4), "float32"),
            *(keras.KerasTensor(shape, dtype) for dtype in ("int32", "int32", "bool")),
        )


def most_instances(training: Training) -> int:
    """Return the maximum number of sampled boxes assigned to an object."""
    return max(1, round(training.rois * training.roi_share))


@keras.saving.register_keras_serializable("terraseam")
class BoxLosses(TrainingLayer):
    """Losses of the box head (https://arxiv.org/abs/1504.08083, equation 1)."""

    def call(
        self, logits: Tensor, deltas: Tensor, drawn: Sequence[Tensor], boxes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of logits and of the deltas of the true class, divided by the number of sampled boxes.

        Args:
            logits: Shape ``(n * rois, classes)``.
            deltas: Shape ``(n * rois, 4 * classes)``.
            drawn: Output of `SampledBoxes`.
            boxes: True boxes, ``(n, g, 4)``.
        """
        rois, labels, matched, sampled = drawn
        chips, count, classes = ops.shape(labels)[0], ops.shape(labels)[1], logits.shape[-1]
        likely = ops.log_softmax(ops.reshape(logits, (chips, -1, classes)), axis=-1)
        entropy = -ops.sum(likely * ops.one_hot(labels, classes, dtype="float32"), axis=-1)
        predicted = take_rows(ops.reshape(deltas, (chips, -1, 4)), ops.arange(count) * classes + labels)
        target = encode(rois, take_rows(boxes, matched), BOX_VARIANCE)
        misses = ops.sum(smooth_l1(predicted - target, self.training.roi_beta), axis=-1)
        return mean_of(entropy, sampled), mean_of(ops.where(labels > 0, misses, 0.0), sampled)

    def compute_output_spec(self, *_: Any) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Return the specs of the losses."""
        return keras.KerasTensor((), "float32"), keras.KerasTensor((), "float32")


@keras.saving.register_keras_serializable("terraseam")
class MaskLoss(TrainingLayer):
    """Loss of the mask head (https://arxiv.org/abs/1703.06870, section 3): binary, for the true class only."""

    def call(self, logits: Tensor, drawn: Sequence[Tensor], boxes: Tensor, masks: Tensor) -> Tensor:
        """Return the mean cross-entropy over the cells of all boxes assigned to an object.

        Args:
            logits: Shape ``(n * k, m, m, classes)``.
            drawn: The first `k` rows of the output of `SampledBoxes`.
            boxes: True boxes, ``(n, g, 4)``.
            masks: Coverage 0 to 255 of the cells of these boxes, ``(n, g, side, side)``.
        """
        rois, labels, matched, _ = drawn
        side, size = masks.shape[-1], logits.shape[1]
        flat = ops.reshape(masks, (ops.shape(masks)[0], -1, side * side))
        own = (
            ops.cast(ops.reshape(take_rows(flat, matched), (*ops.shape(matched), side, side)), "float32")
            / 255.0
        )
        target = mask_targets(own, take_rows(boxes, matched), rois, size)
        chosen = ops.one_hot(ops.reshape(labels, (-1,)), logits.shape[-1], dtype="float32")
        predicted = ops.reshape(
            ops.sum(logits * chosen[:, None, None, :], axis=-1), (*ops.shape(matched), size, size)
        )
        return mean_of(ops.mean(cross_entropy(predicted, target), axis=(-1, -2)), labels > 0)

    def compute_output_spec(self, *_: Any) -> keras.KerasTensor:
        """Return the spec of the loss."""
        return keras.KerasTensor((), "float32")
