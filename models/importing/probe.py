"""The perturbation probe: how far a network looks, measured by changing pixels and watching its answers.

For networks whose graph cannot be read. All pixels on one side of a line are changed at once, which is as much as
pixels that far away can do; what changes on the other side of the line saw across it. A measurement proves nothing: a
network may look farther at pixels that no draw brought forth. So a stride of margin is added, and the bundle says
that its reach was measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from terraseam.models.reach.reach import Reach

Run = Callable[[np.ndarray], np.ndarray]
"""From scaled chips ``(samples, height, width, bands)``, float32, to answers ``(samples, height, width, channels)``."""

STRIDES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128)
AMPLITUDES = (1.0, 30.0, 0.1)
"""Spread of the values of each draw: networks may want values about 1, or bytes as they are."""
SHORTEST, LONGEST, ACROSS = 1024, 4096, 64
"""Sides of the chips that are tried, in pixels: along the axis that is measured, and across it. Even the first is long:
a dilated kernel may look far away and at little in between."""
LINES = 8
"""Most places of the line within a stride."""
MARGINS = (1, 2, 4, 8)
"""Strides of margin that are tried."""
NOISE = 1e-5
"""Float noise, as a share of the largest answer."""


@dataclass(frozen=True)
class ProbeResult:
    """What the probe saw.

    Attributes:
        seen: How far outputs were seen to look beyond a core on multiples of the stride; None where answers changed
            up to the border of the largest chip, or with the place where a chip was cut.
        margin: Pixels to add on each side: a stride, or as many strides as cores needed to have the answers of a
            longer chip. Networks that cut and pad look at the frame of a chip from farther away than at pixels.
    """

    seen: Reach | None
    margin: int

    def with_margin(self) -> Reach | None:
        """The reach to rely on."""
        if self.seen is None:
            return None
        sides = (self.seen.top, self.seen.bottom, self.seen.left, self.seen.right)
        return Reach(*(side + self.margin for side in sides))


def probe_reach(run: Run, bands: int, stride: int, longest: int = LONGEST) -> ProbeResult:
    """Measure how far a network looks, on each side of a core on multiples of its stride.

    Args:
        run: The network.
        bands: Bands of a chip.
        stride: Chips must be multiples of this many pixels.
        longest: Side of the largest chip that is tried, in pixels.
    """
    found = []
    for axis in (1, 2):
        seen = _probe_axis(run, bands, stride, axis, longest)
        if seen is None:
            return ProbeResult(None, stride)
        found.append(seen)
    reach = Reach(*found[0], *found[1])
    tried = (ProbeResult(reach, strides * stride) for strides in MARGINS)
    return next((one for one in tried if _holds(run, bands, stride, one)), ProbeResult(None, stride))


def find_stride(run: Run, bands: int) -> int:
    """Find the stride of a network: the least shift of a chip that shifts its answers and does no more.

    Networks that see the whole chip have none such; for them it is the least step in which sizes may grow.

    Raises:
        ValueError: If the network runs on none of the sizes that are tried, with what it last said.
    """
    takes = [stride for stride in STRIDES if _takes(run, bands, stride)]
    if not takes:
        problem = _problem(run, bands, STRIDES[-1])
        raise ValueError(f"on chips whose sides are multiples of {STRIDES[-1]} px {problem}")
    return next((stride for stride in takes if _shifts(run, bands, stride)), takes[0])


def _probe_axis(run: Run, bands: int, stride: int, axis: int, longest: int) -> tuple[int, int] | None:
    """How far outputs look before and after a core along one axis; None where it is the whole chip."""
    side = up(SHORTEST, stride, least=4)
    while side <= max(longest, up(SHORTEST, stride, least=4)):
        found = _look_across(run, bands, stride, axis, side)
        if found is not None:
            return found
        side *= 2
    return None


def _look_across(run: Run, bands: int, stride: int, axis: int, side: int) -> tuple[int, int] | None:
    """Change all behind, then all before, a line; None where answers change up to the border."""
    middle = side // stride // 2 * stride
    before = after = 0
    for draw, amplitude in enumerate(AMPLITUDES):
        rng = np.random.default_rng(draw)
        chip, other = _draws(rng, _shape(side, stride, axis, bands), amplitude)
        answers = run(chip)
        for line in range(middle, middle + stride, math.ceil(stride / LINES)):
            changed = _changed(answers, run(_mixed(chip, other, line, axis)), axis)
            first = int(changed[0]) // stride if len(changed) else line // stride
            after = max(after, line - (first * stride + stride - 1))
            changed = _changed(answers, run(_mixed(other, chip, line, axis)), axis)
            last = int(changed[-1]) // stride if len(changed) else line // stride
            before = max(before, last * stride - (line - 1))
            if first <= 0 or last >= side // stride - 1:
                return None
    return before, after


def _mixed(first: np.ndarray, second: np.ndarray, line: int, axis: int) -> np.ndarray:
    """The pixels of one chip before a line, and of another from it on."""
    mixed = first.copy()
    place = (slice(None),) * axis + (slice(line, None),)
    mixed[place] = second[place]
    return mixed


def _changed(answers: np.ndarray, others: np.ndarray, axis: int) -> np.ndarray:
    """Rows (axis 1) or columns (2) in which any answer changed, be it by its last bit."""
    same = (answers == others) | (np.isnan(answers) & np.isnan(others))
    return np.flatnonzero(~same.all(axis=tuple(number for number in range(answers.ndim) if number != axis)))


def _holds(run: Run, bands: int, stride: int, measured: ProbeResult) -> bool:
    """Whether cores have the answers of a long chip when they are read with the measured reach around them alone."""
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
    """Whether answers are equal within float noise, but for one in a thousand (ties of networks that choose)."""
    close = np.abs(first - second) <= NOISE * max(float(np.abs(first).max()), 1e-30)
    return bool(np.mean(close) >= 0.999)


def _takes(run: Run, bands: int, stride: int) -> bool:
    """Whether a network answers each pixel of chips on odd multiples of a stride."""
    return not _problem(run, bands, stride)


def _problem(run: Run, bands: int, stride: int) -> str:
    """What a network says against chips on odd multiples of a stride; nothing where it takes them."""
    rows, columns = (odd * stride for odd in _odd_multiples(stride))
    try:
        made = run(np.zeros((1, rows, columns, bands), np.float32)).shape
    except Exception as error:
        lines = str(error).strip().splitlines()
        return f"it fails: {lines[0][:200] if lines else type(error).__name__}"
    return "" if made[1:3] == (rows, columns) else f"it answers {made[1:3]} for {(rows, columns)}"


def _odd_multiples(stride: int) -> tuple[int, int]:
    least = -(-ACROSS // stride) | 1
    return least, least + 2


def _shifts(run: Run, bands: int, stride: int) -> bool:
    """Whether a chip that is shifted by one stride has shifted answers, far from its border."""
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
    """Two random chips about a common mean."""
    mean = rng.normal(size=shape[-1])
    return ((amplitude * (rng.normal(size=shape) + mean)).astype(np.float32) for _ in range(2))


def _shape(side: int, stride: int, axis: int, bands: int) -> tuple[int, ...]:
    """Shape of a chip that is long along one axis."""
    across = up(ACROSS, stride, least=2)
    return (1, side, across, bands) if axis == 1 else (1, across, side, bands)


def up(pixels: int, stride: int, least: int = 0) -> int:
    """The least multiple of a stride that is not below a number of pixels, and has `least` strides."""
    return max(-(-pixels // stride), least) * stride
