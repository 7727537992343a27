"""Write bundles of untrained networks from the zoo, as a starting point for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from terraseam.models.bundle.card import Card
from terraseam.models.bundle.values import ClassInfo
from terraseam.models.bundle.writing import check_target, replace_folder
from terraseam.models.errors import CardError
from terraseam.models.zoo import Row, build, option_names


@dataclass(frozen=True, slots=True)
class UntrainedRequest:
    """Arguments for writing an untrained bundle.

    Attributes:
        row: The network of the zoo.
        output: Folder of the bundle.
        card_fields: Fields of the card: name, version, classes, bands, gsd, scaling, fill, license, halo.
        options: Further arguments of its builder.
        seed: Seed of the random weights.
        force: Whether to overwrite an existing bundle.
    """

    row: Row
    output: Path
    card_fields: Mapping[str, Any]
    options: Mapping[str, Any]
    seed: int = 0
    force: bool = False


def write_untrained(request: UntrainedRequest) -> Card:
    """Build a network and write its bundle, atomically.

    Raises:
        CardError: If the fields do not make a valid card, or the folder already holds something.
        ValueError: If the network cannot be built as requested; the message says which number must change.
    """
    check_target(request.output, request.force)
    row, card_fields = request.row, request.card_fields
    check_background(row, card_fields["classes"])
    import keras

    from terraseam.models.bundle.archive import save_bundle
    from terraseam.models.inclusion import include_openvino

    unknown = sorted(set(request.options) - set(option_names(row)))
    if unknown:
        raise CardError(
            f"{row.architecture} on {row.encoder or 'no encoder'} takes no {', '.join(unknown)}; "
            f"it takes {', '.join(option_names(row))}"
        )
    keras.utils.clear_session()  # Keras numbers layer names; the same request must give the same file.
    keras.utils.set_random_seed(request.seed)
    model = build(
        row.architecture,
        row.encoder,
        len(card_fields["bands"]),
        len(card_fields["classes"]),
        **request.options,
    )
    fields = {
        "architecture": row.architecture,
        "encoder": row.encoder,
        "task": row.task,
        "training": {"steps": 0, "start": _start(request.options), "paper": row.paper.link},
        **card_fields,
    }

    def fill(staging: Path) -> Card:
        save_bundle(model, staging, **fields)
        return include_openvino(staging)

    return replace_folder(request.output, fill, force=request.force)


def check_background(row: Row, classes: Sequence[ClassInfo]) -> None:
    """Check that the classes of a detector include a background.

    Raises:
        CardError: If the first class is not the background.
    """
    if row.task == "instances" and not classes[0].background:
        raise CardError(
            f"{row.architecture} finds instances against a background, which must be its first class: pass "
            f"--classes background,... --background background"
        )


def _start(options: Mapping[str, Any]) -> str:
    weights = options.get("encoder_weights")
    return (
        "random weights"
        if weights is None
        else f"encoder weights: {Path(str(weights)).name}; the rest random"
    )
