"""The values that the fields of a card hold."""

from __future__ import annotations

from dataclasses import dataclass

from terraseam.models.errors import CardError
from terraseam.models.texts import steering_characters


@dataclass(frozen=True)
class ClassInfo:
    """One kind of thing that a network tells apart; its label is its place in ``Card.classes``.

    Attributes:
        name: Name of the class.
        color: Colour in label maps, ``#rrggbb``.
        background: Whether it is labelled, but not made into polygons unless asked for.
    """

    name: str
    color: str
    background: bool = False

    def __post_init__(self) -> None:
        found = steering_characters(self.name)
        if found:
            raise CardError(
                f"the class {self.name!r} has {', '.join(found)} in its name, which steers terminals or is no text; "
                "name it without"
            )


@dataclass(frozen=True)
class Scaling:
    """How raw raster values become the network's input: ``raw * scale + offset``, one number per band."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.offset):
            raise CardError(
                f"scaling has {len(self.scale)} scales, {len(self.offset)} offsets; give one of each a band"
            )


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The file that holds a network, and how it is spoken to.

    Attributes:
        name: ``model.keras``, ``model.onnx`` or ``saved_model`` (a folder); it lies beside the card.
        layout: ``channels_last`` or ``channels_first``, of what it takes and of what it makes.
        answer: What it makes: ``logits``, ``scores`` (they sum to 1), ``labels``, for two classes
            ``binary_logits`` or ``binary_scores`` (one channel, of the second class), or ``instances``.
    """

    name: str = "model.keras"
    layout: str = "channels_last"
    answer: str = "logits"
