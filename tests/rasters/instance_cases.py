"""Instances of a few pixels on a small lattice."""

from __future__ import annotations

from terraseam.tiles.grid.lattice import Halo, Lattice
from terraseam.tiles.grid.window import Window
from terraseam.tiles.instances.instances import Ref, tighten
from terraseam.tiles.instances.resolve import ResolvedInstance

FIRST = Ref(0, 0, 0)


def lattice_of(shape, core=32, halo=16, sheet_cores=2):
    return Lattice(*shape, core, Halo(*[halo] * 4), sheet_cores)


def thing_of(mask, label=1, score=200, ref=FIRST):
    window, cut = tighten(Window(0, 0, *mask.shape), mask)
    return ResolvedInstance(label, score, ((window, cut),), (), ref)
