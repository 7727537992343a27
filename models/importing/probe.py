"""Perturbation probe: measure the receptive field of a network by changing pixels and comparing outputs.

This is for networks whose graph cannot be read. All pixels on one side of a line are changed at once, the strongest
effect that pixels that far away can have; outputs that change on the other side depend on them. A measurement is no
proof: a network may depend on more distant pixels in ways that no sample revealed. So a margin is added, and the
bundle says that its reach was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from terraseam.models.reach.reach import Reach

Run = Callable[[np.ndarray], np.ndarray]
"""Function from scaled chips ``(samples, height, width, bands)``, float32, to outputs ``(samples, height, width,
channels)``."""

STRIDES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
AMPLITUDES = (1.0, 30.0, 0.1)
"""Amplitude of each random chip: networks may expect values about 1, or raw bytes."""
SHORTEST, LONGEST, ACROSS = 1024, 4096, 64
"""Sides of trial chips, in pixels: along the measured axis, and across it. Even the first is long: a dilated kernel
may reach far and skip much in between."""
LINES = 8
"""Maximum number of positions of the line within a stride."""
MARGINS = (1, 2, 4, 8)
"""Margins to try, in strides."""
NOISE = 1e-5
"""Float noise, relative to the largest output."""


@dataclass(frozen=True)
class ProbeResult:
    """Result of the perturbation probe.

    Attributes:
        observed: Observed receptive field beyond a core on multiples of the stride; None if outputs changed
            up to the border of the largest chip, or with the position at which a chip was cut.
        margin: Pixels to add on each side: one stride, or as many as cores needed to reproduce the outputs of a
            longer chip. Networks that crop and pad depend on a chip's border from farther away than on pixels.
    """

    observed: Reach | None
    margin: int

    def with_margin(self) -> Reach | None:
        """Return the reach with its margin."""
        if self.observed is None:
            return None
        sides = (self.observed.top, self.observed.bottom, self.observed.left, self.observed.right)
        return Reach(*(side + self.margin for side in sides))


def probe_reach(run: Run, bands: int, stride: int, longest: int = LONGEST) -> ProbeResult:
    """Measure the receptive field of a network on each side of a core on multiples of its stride.

    Args:
        run: The network.
        bands: Bands of a chip.
        stride: Chips must be multiples of this many pixels.
        longest: Side of the largest trial chip, in pixels.
    """
    extents = []
    for axis in (1, 2):
        extent = _probe_axis(run, bands, stride, axis, longest)
        if extent is None:
            return ProbeResult(None, stride)
        extents.append(extent)
    reach = Reach(*extents[0], *extents[1])
    tried = (ProbeResult(reach, strides * stride) for strides in MARGINS)
    return next((result for result in tried if _holds(run, bands, stride, result)), ProbeResult(None, stride))


def find_stride(run: Run, bands: int) -> int:
    """Find the stride of a network: the smallest shift of a chip that only shifts its output.

    Networks whose receptive field is the whole chip have none; for them it is the smallest increment in size.

    Raises:
        ValueError: If the network runs on none of the sizes tried, with its last error.
    """
    takes = [stride for stride in STRIDES if _takes(run, bands, stride)]
    if not takes:
        problem = _problem(run, bands, STRIDES[-1])
        raise ValueError(f"on chips whose sides are multiples of {STRIDES[-1]} px {problem}")
    return next((stride for stride in takes if _shifts(run, bands, stride)), takes[0])


def _probe_axis(run: Run, bands: int, stride: int, axis: int, longest: int) -> tuple[int, int] | None:
    """Return the receptive field before and after a core along one axis; None if it is the whole chip."""
    side = up(SHORTEST, stride, least=4)
    while side <= max(longest, up(SHORTEST, stride, least=4)):
        extent = _probe_side(run, bands, stride, axis, side)
        if extent is not None:
            return extent
        side *= 2
    return None


def _probe_side(run: Run, bands: int, stride: int, axis: int, side: int) -> tuple[int, int] | None:
    """Change all pixels after, then all before, a line; return None if outputs change up to the border."""
    middle = side // stride // 2 * stride
    before = after = 0
    for draw, amplitude in enumerate(AMPLITUDES):
        rng = np.random.default_rng(draw)
        chip, other = _draws(rng, _shape(side, stride, axis, bands), amplitude)
        outputs = run(chip)
        for line in range(middle, middle + stride, math.ceil(stride / LINES)):
            changed = _changed(outputs, run(_mixed(chip, other, line, axis)), axis)
            first = int(changed[0]) // stride if len(changed) else line // stride
            after = max(after, line - (first * stride + stride - 1))
            changed = _changed(outputs, run(_mixed(other, chip, line, axis)), axis)
            last = int(changed[-1]) // stride if len(changed) else line // stride
            before = max(before, last * stride - (line - 1))
            if first <= 0 or last >= side // stride - 1:
                return None
    return before, after


def _mixed(first: np.ndarray, second: np.ndarray, line: int, axis: int) -> np.ndarray:
    """Return a chip with the pixels of one before a line, and of another from there on."""
    mixed = first.copy()
    place = (slice(None),) * axis + (slice(line, None),)
    mixed[place] = second[place]
    return mixed


def _changed(outputs: np.ndarray, others: np.ndarray, axis: int) -> np.ndarray:
    """Return the rows (axis 1) or columns (2) in which any output changed, even in its last bit."""
    same = (outputs == others) | (np.isnan(outputs) & np.isnan(others))
    return np.flatnonzero(~same.all(axis=tuple(number for number in range(outputs.ndim) if number != axis)))


def _holds(run: Run, bands: int, stride: int, measured: ProbeResult) -> bool:
    """Return whether cores read with only the measured reach around them reproduce the outputs of a long chip."""
    reach = measured.with_margin()
    if reach is None:
        return False
    core, more = up(ACROSS, stride), up(SHORTEST // 2, stride) + stride
    for axis, ends in ((1, (reach.top, reach.bottom)), (2, (reach.left, reach.right))):
        before, after = (up(end, stride) for end in ends)
        first = more - before if more > before else 0
        for draw, amplitude in enumerate(AMPLITUDES):
            shape = _shape(first + before + core + after + more, stride, axis, bands)
            chip, _ = _draws(np.random.default_rng(100 + draw), shape, amplitude)
            whole = np.take(run(chip), np.arange(core) + first + before, axis)
            cut = run(np.take(chip, np.arange(before + core + after) + first, axis))
            if not _alike(whole, np.take(cut, np.arange(core) + before, axis)):
                return False
    return True


def _alike(first: np.ndarray, second: np.ndarray) -> bool:
    """Return whether outputs are equal within float noise, except for one in a thousand (ties in an argmax)."""
    close = np.abs(first - second) <= NOISE * max(float(np.abs(first).max()), 1e-30)
    return bool(np.mean(close) >= 0.999)


def _takes(run: Run, bands: int, stride: int) -> bool:
    """Return whether a network labels each pixel of chips on odd multiples of a stride."""
    return not _problem(run, bands, stride)


def _problem(run: Run, bands: int, stride: int) -> str:
    """Return a network's problem with chips on odd multiples of a stride; empty if it accepts them."""
    rows, columns = (odd * stride for odd in _odd_multiples(stride))
    try:
        shape = run(np.zeros((1, rows, columns, bands), np.float32)).shape
    except Exception as error:
        lines = str(error).strip().splitlines()
        return f"it fails: {lines[0][:200] if lines else type(error).__name__}"
    return "" if shape[1:3] == (rows, columns) else f"it outputs {shape[1:3]} for {(rows, columns)}"


def _odd_multiples(stride: int) -> tuple[int, int]:
    least = -(-ACROSS // stride) | 1
    return least, least + 2


def _shifts(run: Run, bands: int, stride: int) -> bool:
    """Return whether shifting a chip by one stride shifts the output, far from its border."""
    side = up(SHORTEST, stride)
    for axis in (1, 2):
        for draw, amplitude in enumerate(AMPLITUDES[:2]):
            chip, _ = _draws(
                np.random.default_rng(draw), _shape(side + stride, stride, axis, bands), amplitude
            )
            here = np.moveaxis(run(np.take(chip, np.arange(side), axis)), axis, 0)
            there = np.moveaxis(run(np.take(chip, np.arange(stride, side + stride), axis)), axis, 0)
            middle = side // 2
            mine, its = here[middle + stride : middle + 129 + stride], there[middle : middle + 129]
            if not _alike(mine, its):
                return False
    return True


def _draws(rng: np.random.Generator, shape: tuple[int, ...], amplitude: float) -> Iterator[np.ndarray]:
    """Yield two random chips around a common mean."""
    mean = rng.normal(size=shape[-1])
    return ((amplitude * (rng.normal(size=shape) + mean)).astype(np.float32) for _ in range(2))


def _shape(side: int, stride: int, axis: int, bands: int) -> tuple[int, ...]:
    """Return the shape of a chip that is long along one axis."""
    across = up(ACROSS, stride, least=2)
    return (1, side, across, bands) if axis == 1 else (1, across, side, bands)


def up(pixels: int, stride: int, least: int = 0) -> int:
    """Return the smallest multiple of a stride that is at least `pixels` and has at least `least` strides."""
    return max(-(-pixels // stride), least) * stride
