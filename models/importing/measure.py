"""Measure a network's memory on chips of several sizes, in a separate process, when its graph cannot be read."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import terraseam
from terraseam.models.errors import NetworkRefusedError, short
from terraseam.models.importing.probe import up
from terraseam.models.reach.call_memory import CallMemory, fit_memory, round_up

MARGIN = 1.3
"""Safety factor on the measured memory."""
SIDES = (256, 512, 1024, 1536)
"""Sides of chips, in pixels, before rounding up to multiples of the stride; the last three that fit are used."""
PROGRAM = ("-m", "terraseam.models.importing.measured_run")
FLOOR = 64
"""Smallest plausible memory, in bytes per pixel."""


def measured_memory(path: Path, name: str, layout: str, bands: int, stride: int) -> tuple[CallMemory, str]:
    """Measure the memory of a call from its growth over chips of three sizes, plus a margin.

    Args:
        path: The network's file, which must have been checked.
        name: Its name in a bundle.
        layout: ``channels_last`` or ``channels_first``.
        bands: Bands of a chip.
        stride: Sides of chips must be multiples of this many pixels.

    Returns:
        The memory, and how it was determined.

    Raises:
        RefusedError: If the network does not run on chips of three sizes on this machine.
    """
    axis = 1 if layout == "channels_first" else 3
    arguments = [str(path), name, *map(str, (bands, axis, *chip_sides(stride)))]
    sides, peaks = zip(*_peaks(arguments)[-3:], strict=True)
    linear, squared = fit_memory([side**2 for side in sides], peaks)
    return CallMemory(max(math.ceil(MARGIN * linear), FLOOR), round_up(MARGIN * squared)), (
        f"measured on chips of {', '.join(map(str, sides[:-1]))} and {sides[-1]} px, with {MARGIN - 1:.0%} added"
    )


def chip_sides(stride: int) -> list[int]:
    """Return the sides of the chips, all different, in pixels."""
    sides = [up(SIDES[0], stride)]
    for side in SIDES[1:]:
        sides.append(max(up(side, stride), sides[-1] + stride))
    return sides


def _peaks(arguments: list[str]) -> list[tuple[int, int]]:
    """Return sides of chips with the peak resident memory of a process that ran a network on each, in bytes."""
    command = [sys.executable, *PROGRAM, *arguments]
    process = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=Path(terraseam.__file__).parents[1]
    )
    lines = [line.split() for line in process.stdout.splitlines()]
    peaks = [(int(line[1]), int(line[2])) for line in lines if len(line) == 3 and line[0] == "peak"]
    if process.returncode == 0 and len(peaks) >= 3:
        return peaks
    side = f"a chip of {arguments[4:][min(len(peaks), len(SIDES) - 1)]} px"
    if process.returncode < 0:
        why = f"the process that measures it was killed by signal {-process.returncode} on {side}"
    elif process.returncode:
        error_lines = process.stderr.strip().splitlines()
        why = (
            f"it fails on {side}: {short(error_lines[-1]) if error_lines else f'status {process.returncode}'}"
        )
    else:
        why = f"{side} would need more memory than there is"
    raise NetworkRefusedError(
        f"the memory of the network could not be measured: {why}; import it on a machine with more memory, or export it "
        "to ONNX, from whose graph it can be computed"
    )
