"""Settings of Mask R-CNN; the defaults are those of the papers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

STRIDES = (4, 8, 16, 32, 64)
"""Strides of the feature pyramid's levels P2 to P6, in pixels."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Anchors: reference boxes of the proposals, around the centre of every cell of every level.

    Attributes:
        sizes: Square root of an anchor's area, in pixels, for each level P2 to P6.
        ratios: Height divided by width of the anchors of a cell.
    """

    sizes: tuple[float, ...] = (32.0, 64.0, 128.0, 256.0, 512.0)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        if len(self.sizes) != len(STRIDES):
            raise ValueError(f"anchors need {len(STRIDES)} sizes, one for each level, got {len(self.sizes)}")
        if not self.ratios or min(*self.sizes, *self.ratios) <= 0:
            raise ValueError("anchors need sizes and ratios above 0, and one ratio at least")


@dataclass(frozen=True, slots=True)
class Choice:
    """Selection of boxes by score, with non-maximum suppression.

    Attributes:
        candidates: Number of best-scoring boxes to consider; for proposals, per level.
        kept: Maximum number of boxes to keep.
        iou: IoU above which the lower-scoring of two boxes is dropped, 0 to 1.
        score: Score that a box must exceed; None for no threshold.
    """

    candidates: int
    kept: int
    iou: float
    score: float | None = None

    def __post_init__(self) -> None:
        if self.candidates < 1 or self.kept < 1:
            raise ValueError(f"candidates and kept must be 1 or more, got {self.candidates} and {self.kept}")
        if not 0 <= self.iou <= 1:
            raise ValueError(f"iou must be 0 to 1, got {self.iou}")


@dataclass(frozen=True, slots=True)
class Detector:
    """Settings of Mask R-CNN for inference.

    Attributes:
        width: Channels of the feature pyramid and of the mask head.
        box_width: Channels of the two fully connected layers of the box head.
        anchors: Anchors of the proposals.
        proposals: Selection of proposals.
        detections: Selection of detections; `kept` is the number of output rows.
    """

    width: int = 256
    box_width: int = 1024
    anchors: Anchors = field(default_factory=Anchors)
    proposals: Choice = field(default_factory=lambda: Choice(1000, 1000, 0.7))
    detections: Choice = field(default_factory=lambda: Choice(1000, 100, 0.5, 0.05))

    def __post_init__(self) -> None:
        if self.width < 1 or self.box_width < 1:
            raise ValueError(f"width and box_width must be 1 or more, got {self.width} and {self.box_width}")


@dataclass(frozen=True, slots=True)
class Training:
    """Settings of Mask R-CNN for training.

    Attributes:
        anchors: Anchors sampled per chip for the proposal losses.
        anchor_share: Maximum share of positive ones among them.
        anchor_ious: An anchor is positive from the second IoU, and negative below the first.
        proposals: Selection of proposals in training.
        rois: Boxes sampled per chip for the heads.
        roi_share: Maximum share of positive ones among them; the mask head only uses these.
        roi_iou: IoU from which a box is positive.
        anchor_beta: Transition of the proposals' smooth L1 loss from quadratic to linear.
        roi_beta: The same for the box head.
        frozen_norm: Whether the encoder's batch normalization is frozen, as in the papers, which start from
            ImageNet weights. False trains it, as needed from random weights, even if it was frozen before.
        seed: Seed of the sampling.
    """

    anchors: int = 256
    anchor_share: float = 0.5
    anchor_ious: tuple[float, float] = (0.3, 0.7)
    proposals: Choice = field(default_factory=lambda: Choice(2000, 2000, 0.7))
    rois: int = 512
    roi_share: float = 0.25
    roi_iou: float = 0.5
    anchor_beta: float = 1 / 9
    roi_beta: float = 1.0
    frozen_norm: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.anchors < 1 or self.rois < 1:
            raise ValueError(f"anchors and rois must be 1 or more, got {self.anchors} and {self.rois}")
        if not (0 < self.anchor_share <= 1 and 0 < self.roi_share <= 1):
            raise ValueError("anchor_share and roi_share must be above 0 and up to 1")
        if not 0 < self.anchor_ious[0] <= self.anchor_ious[1] <= 1:
            raise ValueError(f"anchor_ious must rise and lie within 0 to 1, got {self.anchor_ious}")


SLIM = Detector(
    width=96,
    box_width=256,
    anchors=Anchors(sizes=(24.0, 48.0, 96.0, 192.0, 384.0)),
    proposals=Choice(1000, 1000, 0.7),
    detections=Choice(1000, 300, 0.5, 0.05),
)
"""A detector that can be trained on two cores, with enough instances for the roofs of a dense quarter on a tile."""

SLIM_TRAINING = Training(anchors=256, proposals=Choice(500, 500, 0.7), rois=128, frozen_norm=False)
"""Training settings of `SLIM`."""


def with_room(settings: Detector, room: int) -> Detector:
    """Return settings with another maximum of instances; no fewer boxes are considered than before.

    Args:
        settings: The settings of a detector.
        room: Maximum number of instances per chip.
    """
    proposals, detections = settings.proposals, settings.detections
    return replace(
        settings,
        proposals=replace(
            proposals, candidates=max(proposals.candidates, room), kept=max(proposals.kept, room)
        ),
        detections=replace(detections, candidates=max(detections.candidates, room), kept=room),
    )


def anchors_from(config: dict[str, Any]) -> Anchors:
    """Build anchors from a Keras config, where tuples have become lists."""
    return Anchors(tuple(config["sizes"]), tuple(config["ratios"]))
