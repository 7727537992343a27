"""Values of the fields of a card."""

from __future__ import annotations

from dataclasses import dataclass

from terraseam.models.errors import CardError
from terraseam.models.texts import steering_characters

OPENVINO_FILES = ("openvino.xml", "openvino.bin")
"""Files of a network converted for OpenVINO: graph and weights."""


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


@dataclass(frozen=True, slots=True)
class ConvertedNetwork:
    """A network converted for OpenVINO, in `OPENVINO_FILES` beside the card; it takes chips of any height and width.

    Attributes:
        version: Version of OpenVINO that converted it.
        converter: Other packages that converted it, with versions, such as ``tensorflow 2.21.0``.
        keras_version: Version of Keras that built it.
        source_sha256: SHA-256 of the network's file and of what the card said of it, see ``Card.source_sha256``.
        xml_sha256: SHA-256 of ``openvino.xml``, its graph.
        bin_sha256: SHA-256 of ``openvino.bin``, its weights.
        same_labels: Whether it was compared with the network itself, and labels pixels in the same way.
    """

    version: str
    converter: str
    keras_version: str
    source_sha256: str
    xml_sha256: str
    bin_sha256: str
    same_labels: bool

    def checksums(self) -> dict[str, str]:
        """Return the SHA-256 of each file, by its name."""
        return dict(zip(OPENVINO_FILES, (self.xml_sha256, self.bin_sha256), strict=True))
