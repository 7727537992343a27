"""Package the main job as a Dataflow Flex Template: write its ``metadata.json``, and run its launcher.

A template's parameters are strings. Each argument of ``terraseam segment`` is a parameter of the same name:
repeatable ones hold values separated by commas, flags hold ``true`` or ``false``. All other arguments of the
launcher are passed to Beam.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from terraseam.pipeline.cli import main
from terraseam.pipeline.declarations.option import Option
from terraseam.pipeline.exit_status import IMPOSSIBLE, fail, show
from terraseam.pipeline.options.segment_arguments import parsers

IMAGE_VARIABLE = "TERRASEAM_IMAGE"
"""Environment variable in which an image stores its own name."""

FLAGS = {"true": True, "false": False}


class ParameterError(ValueError):
    """Invalid parameters of a template, with advice."""


def parameters() -> dict[str, Option]:
    """Return the parameters of the template by name: the job file fields of ``terraseam segment`` for remote runs.

    Former names are among them: the service refuses parameters that it does not know.
    """
    _, commands = parsers("")
    options = [option for option in commands["segment"].options if option.in_jobs and not option.local]
    return {name: option for option in options for name in (option.name, *option.former)}


def metadata() -> dict[str, Any]:
    """Return the content of ``metadata.json``, which describes the template to Dataflow."""
    return {
        "name": "Terraseam",
        "description": "Segments georeferenced rasters with Keras networks into label maps and polygons.",
        "parameters": [_parameter(name, option) for name, option in parameters().items()],
    }


def _parameter(name: str, option: Option) -> dict[str, Any]:
    help_text = option.help_text
    if option.repeats:
        help_text += "; separate several values with commas"
    if option.flag:
        help_text += " (true or false)"
    if name != option.name:
        help_text = f"former name of {option.name}"
    label = name.replace("-", " ")
    return {
        "name": name,
        "label": label[0].upper() + label[1:],
        "helpText": help_text[0].upper() + help_text[1:],
        "isOptional": not option.required or name != option.name,
        "regexes": [f"^{_pattern(option)}$"],
    }


def _pattern(option: Option) -> str:
    """Return the regular expression of an option's values."""
    if option.flag:
        return "(true|false)"
    if option.choices:
        return f"({'|'.join(map(str, option.choices))})"
    pattern = option.value.pattern
    return f"{pattern}(,{pattern})*" if option.repeats or option.is_list else pattern


def launch(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Translate the parameters of a template to a command line.

    Workers use the launcher's own image unless another is given, and install nothing.

    Args:
        argv: ``--name=value`` for every parameter, and arguments for Beam.
        environment: The environment variables.

    Raises:
        ParameterError: If a flag is neither ``true`` nor ``false``, or no image is known.
    """
    known = parameters()
    rasters: list[str] = []
    options: list[str] = []
    for argument in argv:
        name, equals, value = argument.removeprefix("--").partition("=")
        option = known.get(name)
        if option is None or not equals or not argument.startswith("--"):
            options.append(argument)
        elif option.positional:
            rasters += value.split(",")
        elif option.flag:
            if value not in FLAGS:
                raise ParameterError(f"the parameter {name} must be true or false, not {value!r}")
            options += [f"--{name}"] if FLAGS[value] else []
        else:
            values = value.split(",") if option.repeats else [value]
            options += [f"--{name}={item}" for item in values]
    return ["segment", *rasters, *options, *_image_options(argv, environment)]


def _image_options(argv: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    installed = ["--sdk_location=container"]
    if any(argument.startswith("--sdk_container_image=") for argument in argv):
        return installed
    image = environment.get(IMAGE_VARIABLE)
    if not image:
        raise ParameterError(
            "this image does not know its own name, so workers cannot pull it; build it with --build-arg IMAGE=NAME, "
            "as build.sh does, or give the parameter sdk_container_image"
        )
    return [f"--sdk_container_image={image}", *installed]


def run_launcher() -> int:
    """Run the command line for the launcher's arguments; return the exit status."""
    try:
        command = launch(sys.argv[1:], os.environ)
    except ParameterError as error:
        return fail(str(error), IMPOSSIBLE)
    return main(command)


if __name__ == "__main__":
    show(json.dumps(metadata(), indent=2, ensure_ascii=False))
