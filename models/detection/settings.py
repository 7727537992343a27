"""The numbers of a Mask R-CNN; the defaults are those of the papers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

STRIDES = (4, 8, 16, 32, 64)
"""Strides of the feature pyramid's levels P2 to P6, in pixels."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """The boxes that proposals start from: around the centre of every cell of every level.

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
    """How boxes are chosen by their scores.

    Attributes:
        candidates: Best boxes that are looked at; of proposals, those of each level.
        kept: Boxes that are kept at most.
        iou: Overlap above which the worse of two boxes is dropped, 0 to 1.
        score: Score that a box must exceed; None where any will do.
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
    """The numbers of a Mask R-CNN at inference.

    Attributes:
        width: Channels of the feature pyramid and of the mask head.
        box_width: Channels of the two fully connected layers of the box head.
        anchors: What proposals start from.
        proposals: How proposals are chosen.
        detections: How what was found is chosen; `kept` is the number of rows that the network answers.
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
    """The numbers of training.

    Attributes:
        anchors: Anchors of a chip that the proposal loss looks at.
        anchor_share: Share of them that hold a thing, at most.
        anchor_ious: An anchor holds a thing from the second overlap on, and the ground below the first.
        proposals: How proposals are chosen in training.
        rois: Boxes of a chip that the heads look at.
        roi_share: Share of them that hold a thing, at most; the mask head looks at these alone.
        roi_iou: Overlap from which a box holds a thing.
        anchor_beta: Where the smooth L1 loss of proposals turns from a parabola into a line.
        roi_beta: The same for the box head.
        frozen_norm: Batch normalization of the encoder stays as it came, as in the papers, which start from
            ImageNet weights. False lets it learn, as it must from random weights, also where it was frozen before.
        seed: Seed of the samples.
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
"""A detector that two cores can train, with room for the roofs of a dense quarter on a tile."""

SLIM_TRAINING = Training(anchors=256, proposals=Choice(500, 500, 0.7), rois=128, frozen_norm=False)
"""Training of `SLIM`."""


def with_room(settings: Detector, room: int) -> Detector:
    """The same numbers, with another number of rows to answer; no fewer boxes are looked at than before.

    Args:
        settings: The numbers of a detector.
        room: Instances that it answers at most.
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
    """Read anchors from a Keras config, where tuples have become lists."""
    return Anchors(tuple(config["sizes"]), tuple(config["ratios"]))
