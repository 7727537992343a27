"""Check whether trained networks agree on GPU and CPU, in tiles and whole, and when repeated: part of gpu.py.

Real pixels: `coast` uses its sample raster, `buildings` a raster of TERRASEAM_DATA, if set. Each network runs
in every mode on the whole raster, mirrored by its reach, and on tiles, a fixed number per call, with XLA's
deterministic kernels. Tiles also run in a second process, and in two whose kernels are chosen by speed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comparing
import numpy as np
from jitted import MODES, lowered, weights_of

from terraseam.models.bundle.card import Card, find_bundle
from terraseam.models.engines.scaling import scale
from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.mirror import mirror_index
from terraseam.tiles.grid.window import Window

Call = Callable[[np.ndarray], np.ndarray]
FLAGS = {"deterministic": "--xla_gpu_deterministic_ops=true", "fastest": ""}
SAMPLES = 4
"""Chips per call."""
BUILDINGS = (2.7, "buildings", "val", "zanzibar_b.tif")
"""Factor by which the raster is reduced to its bundle's 0.2 m, and its path."""


def read_pixels(bundle: str, crop: int | None) -> np.ndarray | None:
    """Read test pixels for a bundle, uint8 ``(height, width, 3)``; None if they are not available.

    Args:
        bundle: Name of the bundle.
        crop: Maximum rows and columns; None for all.
    """
    from PIL import Image

    shrink, path = 1.0, comparing.ROOT / "examples" / "coast" / "sample.tif"
    if bundle == "buildings":
        shrink, *parts = BUILDINGS
        path = Path(os.environ.get("TERRASEAM_DATA") or "nowhere", *parts)
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        size = [int(side / shrink) for side in picture.size]
        small = picture.convert("RGB").resize(size, Image.Resampling.BOX)
    pixels = np.asarray(small)
    rows, cols = (slice(max(0, side - (crop or side)) // 2, None) for side in pixels.shape[:2])
    return pixels[rows, cols][:crop, :crop]


@dataclass
class Subject:
    """A trained network with its test pixels.

    Attributes:
        name: Name of its bundle.
        pixels: Uint8 ``(height, width, bands)``.
        core: Side of the cores, in pixels.
        samples: Chips per call.
    """

    name: str
    pixels: np.ndarray
    core: int
    samples: int
    card: Card = field(init=False)
    model: Any = field(init=False)

    def __post_init__(self) -> None:
        from terraseam.models.bundle.archive import load_model

        self.card = Card.read(find_bundle(self.name))
        self.model = load_model(find_bundle(self.name))

    @property
    def lattice(self) -> Lattice:
        """Lattice of the tiles, with a halo of the reach."""
        reach = self.card.reach
        assert reach is not None
        halo = Halo(reach.top, reach.bottom, reach.left, reach.right).rounded_up(self.card.stride)
        return Lattice(*self.pixels.shape[:2], self.core, halo, 1)

    def chip(self, window: Window) -> np.ndarray:
        """Return the network's input for a window, mirrored beyond the edges."""
        rows = mirror_index(window.row_off, window.row_end, self.pixels.shape[0])
        cols = mirror_index(window.col_off, window.col_end, self.pixels.shape[1])
        return scale(self.pixels[np.ix_(rows, cols)], self.card.scaling)

    @property
    def whole(self) -> Window:
        """Window of the whole raster with its halo, rounded up to the stride."""
        halo, stride = self.lattice.halo, self.card.stride
        height, width = (-(-side // stride) * stride for side in self.pixels.shape[:2])
        return Window(-halo.top, -halo.left, height + halo.top + halo.bottom, width + halo.left + halo.right)

    def calls(self, wanted: Sequence[tuple[str, int, tuple[int, int]]], device: Any = None) -> list[Call]:
        """Compile the network as calls, each for a mode, a number of chips and a chip size, on a device."""
        import jax

        weights, bands = weights_of(self.model, device), self.pixels.shape[2]
        traced = [
            lowered(self.model, mode, weights, (samples, *size, bands)) for mode, samples, size in wanted
        ]
        with ThreadPoolExecutor() as pool:
            compiled = list(pool.map(lambda one: one.compile(), traced))
        return [
            lambda chips, one=one: np.asarray(one(weights, jax.device_put(chips, device))) for one in compiled
        ]

    def uncut(self, call: Call) -> np.ndarray:
        """Return the logits of the whole raster from one call."""
        halo = self.lattice.halo
        made = call(self.chip(self.whole)[None])[0]
        return made[halo.top :, halo.left :][: self.pixels.shape[0], : self.pixels.shape[1]]

    def chips(self) -> np.ndarray:
        """Return all tiles, with the last repeated to fill whole calls."""
        rows, cols = self.lattice.shape
        windows = [self.lattice.read_window(row, col) for row in range(rows) for col in range(cols)]
        windows += windows[-1:] * (-len(windows) % self.samples)
        return np.stack([self.chip(window) for window in windows])

    def stitched(self, made: np.ndarray) -> np.ndarray:
        """Return the logits of all cores, cropped from those of the tiles."""
        lattice = self.lattice
        logits = np.empty((*self.pixels.shape[:2], made.shape[-1]), np.float32)
        for number, tile in enumerate(np.ndindex(lattice.shape)):
            core = lattice.core_window(*tile)
            logits[core.within(lattice.raster)] = made[number][core.within(lattice.read_window(*tile))]
        return logits


def compared(logits: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Compare labels and logits: share of equal labels, largest error, and largest margin of a changed label.

    Error and margin (the difference of the two best logits) are relative to the largest logit.
    """
    same = logits.argmax(-1) == other.argmax(-1)
    size = np.abs(other).max() or 1.0
    best = np.sort(other, axis=-1)
    margin = np.where(same, 0, best[..., -1] - best[..., -2])
    return {
        "same_labels": float(same.mean()),
        "differing_pixels": int((~same).sum()),
        "largest_error": float(np.abs(logits - other).max() / size),
        "clearest_change": float(margin.max() / size),
    }


def try_again(
    chips: np.ndarray, call: Call, single: Call, samples: int
) -> tuple[np.ndarray, dict[str, bool]]:
    """Return the logits of all tiles, and whether the bits of some are reproduced by other calls.

    These are: the same call again; alone, in a call filled up with the same chip; a call for one chip.
    """
    starts = range(0, len(chips), samples)
    made, again = (
        np.concatenate([call(chips[start : start + samples]) for start in starts]) for _ in range(2)
    )
    few = [(chips[number : number + 1], made[number]) for number in range(min(len(chips), 2 * samples))]
    return made, {
        "same_bits_again": bool((made == again).all()),
        "same_bits_filled_up": all(
            bool((call(np.repeat(chip, samples, axis=0))[0] == one).all()) for chip, one in few
        ),
        "same_bits_in_a_call_of_one": all(bool((single(chip)[0] == one).all()) for chip, one in few),
    }


def measure(subject: Subject) -> dict[str, Any]:
    """Compare a trained network in each mode with float32 on the CPU and on the device."""
    import jax

    whole, tile, samples = subject.whole.shape, subject.lattice.chip_shape, subject.samples
    (on_cpu,) = subject.calls([("float32", 1, whole)], jax.devices("cpu")[0])
    kinds = [(1, whole), (samples, tile), (1, tile)]
    calls = iter(subject.calls([(mode, *kind) for mode in MODES for kind in kinds]))
    cpu, chips, found = subject.uncut(on_cpu), subject.chips(), {}
    device = None
    for mode in MODES:
        uncut = subject.uncut(next(calls))
        device = uncut if device is None else device
        tiles, same = try_again(chips, next(calls), next(calls), samples)
        found[mode] = {
            "against_cpu": compared(uncut, cpu),
            "against_float32": compared(uncut, device),
            "tiles_against_whole": compared(subject.stitched(tiles), uncut),
            **same,
            "sha256": checksum(tiles),
        }
    return {"pixels": list(subject.pixels.shape), "modes": found}


def bits(subject: Subject) -> dict[str, Any]:
    """Return checksums of a trained network's logits of all tiles, by mode."""
    kind = subject.samples, subject.lattice.chip_shape
    calls, chips = subject.calls([(mode, *kind) for mode in MODES]), subject.chips()
    starts = range(0, len(chips), subject.samples)
    return {
        mode: checksum(np.concatenate([call(chips[one : one + subject.samples]) for one in starts]))
        for mode, call in zip(MODES, calls, strict=True)
    }


def checksum(logits: np.ndarray) -> str:
    """Return a checksum of logits, which differs if any bit does."""
    return hashlib.sha256(logits.tobytes()).hexdigest()


def main(argv: list[str]) -> None:
    """Measure bundles in this process; arguments: what to measure, bundles, side of cores, chips per call, crop."""
    what, bundles, core, samples, crop = argv
    found = {}
    for name in bundles.split(","):
        pixels = read_pixels(name, int(crop) or None)
        if pixels is None:
            print(
                f"{name} is left out: TERRASEAM_DATA does not name a folder with its pixels", file=sys.stderr
            )
        else:
            subject = Subject(name, pixels, int(core), int(samples))
            found[name] = measure(subject) if what == "all" else bits(subject)
    print(json.dumps(found))


def in_two_processes(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure bundles, and whether two processes give the same bits, with deterministic and with the fastest kernels.

    All processes run at the same time.

    Returns:
        Results of `measure` by bundle, with ``same_bits_in_two_processes`` and ``same_bits_by_the_fastest`` in each
        mode.
    """
    rest = [arguments.labels, str(arguments.core), str(SAMPLES), str(arguments.crop or 0)]
    whole, *others = [
        start([sys.executable, __file__, what, *rest], FLAGS[kernels])
        for what, kernels in (
            ("all", "deterministic"),
            ("bits", "deterministic"),
            ("bits", "fastest"),
            ("bits", "fastest"),
        )
    ]
    end = time.monotonic() + (arguments.label_seconds or float("inf"))
    found, twin, *fast = [answer(process, end) for process in (whole, *others)]
    for name, one in (found or {}).items():
        for mode, figures in one["modes"].items():
            figures["same_bits_in_two_processes"] = twin and twin[name][mode] == figures["sha256"]
            figures["same_bits_by_the_fastest"] = all(fast) and fast[0][name][mode] == fast[1][name][mode]
    return found or {"error": "labels were not compared: a process failed, or took too long"}


def answer(process: subprocess.Popen[str], end: float) -> dict[str, Any] | None:
    """Return the final output of a process, or None if it failed or took too long."""
    limit = None if end == float("inf") else max(0.1, end - time.monotonic())
    try:
        text, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        return None
    return None if process.returncode else json.loads(text.splitlines()[-1])


def start(command: list[str], flag: str) -> subprocess.Popen[str]:
    """Start a process with an XLA flag and without preallocated device memory."""
    flags = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    environment = {**os.environ, "XLA_FLAGS": flags, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    main(sys.argv[1:])
