"""What the tests of `deploy/` share."""

from __future__ import annotations

import re
import subprocess
from typing import Any

from places import ROOT

from terraseam.pipeline.deploy.flex_template import launch
from terraseam.pipeline.options.segment import SegmentOptions
from terraseam.pipeline.options.segment_arguments import parse

DEPLOY = ROOT / "deploy"
IMAGE = "europe-west1-docker.pkg.dev/project/images/terraseam:0.1.0"
NEEDED = {"rasters": "gs://bucket/a.tif", "model": "coast", "output": "gs://bucket/results"}
"""Parameters that a launch cannot do without."""


def run(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command, and keep what it says."""
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True, **options)


def options_of(given: dict[str, str]) -> SegmentOptions:
    """What the launcher makes of parameters."""
    image = {"TERRASEAM_IMAGE": IMAGE}
    command = launch([f"--{name}={value}" for name, value in {**NEEDED, **given}.items()], image)
    return parse([word for word in command if not word.startswith("--sdk_")], "0")[1]


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile and what they say, in order."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    return [(line.split()[0], " ".join(line.split()[1:])) for line in text.splitlines() if line.strip()]
