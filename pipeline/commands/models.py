"""``terraseam models``: list, show, new, import, convert. Only the last three import Keras and TensorFlow."""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from terraseam.models.bundle.card import CARD_FILE, Card, find_bundle, shipped_bundles
from terraseam.models.bundle.values import Scaling
from terraseam.models.errors import CardError, NetworkRefusedError
from terraseam.models.zoo import ZOO, Row, ZooError
from terraseam.pipeline.commands.models_card import card_fields_of, check_fields
from terraseam.pipeline.commands.models_text import (
    bundle_table,
    describe_architecture,
    describe_card,
    rows_json,
    shipped_cards,
    zoo_table,
)
from terraseam.pipeline.errors import ArgumentError, did_you_mean
from terraseam.pipeline.exit_status import DONE, IMPOSSIBLE, fail, fail_on_file, report_note, show
from terraseam.pipeline.inputs.networks import find_row
from terraseam.pipeline.options.models_arguments import parse_models


def run_models(argv: Sequence[str]) -> int:
    """Run ``terraseam models``; returns the exit status."""
    try:
        arguments = parse_models(argv)
        return VERBS[arguments.verb](arguments)
    except (ArgumentError, CardError, NetworkRefusedError, ZooError) as error:
        return fail(str(error), IMPOSSIBLE)
    except OSError as error:
        return fail_on_file(error)


def _list(arguments: argparse.Namespace) -> int:
    shipped = shipped_cards()
    if arguments.json:
        bundles = [{"bundle": name, **card.to_json()} for name, card in shipped]
        show(json.dumps({"networks": rows_json(ZOO), "bundles": bundles}, indent=2))
        return DONE
    show(zoo_table(ZOO))
    show("\nparameters with three bands and 21 classes (91 for instances); reach up, down, left, right\n")
    show(bundle_table(shipped))
    return DONE


def _show(arguments: argparse.Namespace) -> int:
    rows = [row for row in ZOO if row.architecture == arguments.name]
    if rows and not (Path(arguments.name) / CARD_FILE).is_file():
        show(json.dumps(rows_json(rows), indent=2) if arguments.json else describe_architecture(rows))
        return DONE
    _check_known(arguments.name)
    bundle = find_bundle(arguments.name)
    card = Card.read(bundle)
    show(
        json.dumps(card.to_json(), indent=2, ensure_ascii=False)
        if arguments.json
        else describe_card(card, bundle)
    )
    return DONE


def _check_known(name: str) -> None:
    """Check that a name is one of a bundle."""
    if Path(name).exists() or name in shipped_bundles():
        return
    architectures = list(dict.fromkeys(row.architecture for row in ZOO))
    bundles = shipped_bundles()
    raise ArgumentError(
        f"there is no bundle or architecture {name!r}; {did_you_mean(name, [*architectures, *bundles], '{} ')}"
        f"name the folder of a bundle, a shipped bundle ({', '.join(bundles)}) or an architecture "
        f"({', '.join(architectures)})"
    )


def _new(arguments: argparse.Namespace) -> int:
    check_fields(arguments, ("architecture", "bands", "classes", "gsd", "output"))
    row = find_row(arguments.architecture, arguments.encoder)
    options = dict(arguments.settings)
    options |= {
        name: value
        for name, value in (("encoder_weights", arguments.weights), ("cut", arguments.cut))
        if value is not None
    }
    _check_new(arguments, row)
    from terraseam.models.engines.quiet import import_tensorflow

    import_tensorflow()
    from terraseam.models.untrained import UntrainedRequest, write_untrained
    from terraseam.models.zoo import input_scaling

    card_fields = card_fields_of(arguments, input_scaling(row.encoder, len(arguments.bands)))
    request = UntrainedRequest(
        row, Path(arguments.output), card_fields, options, seed=arguments.seed, force=arguments.force
    )
    try:
        with warnings.catch_warnings():
            # Keras wonders about bands that are not three, and lists every layer that weights do not fit.
            warnings.simplefilter("ignore", UserWarning)
            card = write_untrained(request)
    except ValueError as error:
        raise ArgumentError(str(error)) from error
    show(describe_card(card, request.output))
    return DONE


def _check_new(arguments: argparse.Namespace, row: Row) -> None:
    """Check what can be checked before Keras is imported, which takes seconds."""
    from terraseam.models.bundle.writing import check_target
    from terraseam.models.untrained import check_background

    any_scaling = Scaling((1.0,) * len(arguments.bands), (0.0,) * len(arguments.bands))
    check_background(row, card_fields_of(arguments, any_scaling)["classes"])
    check_target(Path(arguments.output), arguments.force)
    if (
        arguments.weights is not None
        and arguments.weights != "imagenet"
        and not Path(arguments.weights).is_file()
    ):
        raise ArgumentError(
            f"--weights {arguments.weights} is not a file; encoder weights are a Keras .h5 file"
        )


def _import(arguments: argparse.Namespace) -> int:
    check_fields(arguments, ("bands", "classes", "gsd", "scale", "output"))
    from terraseam.models.importing.importer import ImportRequest, import_network

    request = ImportRequest(
        file=Path(arguments.file),
        output=Path(arguments.output),
        card_fields=card_fields_of(arguments),
        output_type=arguments.output_type,
        layout=arguments.layout,
        reach=arguments.reach,
        stride=arguments.stride,
        force=arguments.force,
    )
    imported = import_network(request)
    report_note(imported.notes)
    show(describe_card(imported.card, request.output))
    return DONE


def _convert(arguments: argparse.Namespace) -> int:
    bundle = find_bundle(arguments.bundle)
    Card.read(bundle)
    from terraseam.models.engines.profile import EngineError
    from terraseam.models.inclusion import convert_bundle

    try:
        card = convert_bundle(bundle)
    except EngineError as error:
        raise ArgumentError(str(error)) from error
    show(describe_card(card, bundle))
    return DONE


VERBS: dict[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "show": _show,
    "new": _new,
    "import": _import,
    "convert": _convert,
}
