"""Values of the fields of a card."""

from __future__ import annotations

from dataclasses import dataclass

from terraseam.models.errors import CardError
from terraseam.models.texts import steering_characters


@dataclass(frozen=True)
class ClassInfo:
    """A class that a network predicts; its label is its index in ``Card.classes``.

    Attributes:
        name: Name of the class.
        color: Colour in label maps, ``#rrggbb``.
        background: Whether it is labelled, but not polygonized unless requested.
    """

    name: str
    color: str
    background: bool = False

    def __post_init__(self) -> None:
        characters = steering_characters(self.name)
        if characters:
            raise CardError(
                f"the class {self.name!r} has forbidden characters in its name ({', '.join(characters)}); remove them"
            )


@dataclass(frozen=True)
class Scaling:
    """Scaling of raw raster values to the network's input: ``raw * scale + offset``, one number per band."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.scale) != len(self.offset):
            raise CardError(
                f"scaling has {len(self.scale)} scales but {len(self.offset)} offsets; give one of each per band"
            )


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """The file of a network, and its input and output conventions.

    Attributes:
        name: ``model.keras``, ``model.onnx`` or ``saved_model`` (a folder), beside the card.
        layout: ``channels_last`` or ``channels_first``, of input and output.
        answer: Output type: ``logits``, ``scores`` (which sum to 1), ``labels``, for two classes
            ``binary_logits`` or ``binary_scores`` (one channel, for the second class), or ``instances``.
    """

    name: str = "model.keras"
    layout: str = "channels_last"
    answer: str = "logits"
