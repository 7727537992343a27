"""What exactness costs: the reach of every network, and the pixels it computes for each of the raster's.

    python benchmarks/reach.py [--cores 512,1024,2048]

Nothing is run: stride and reach come from the table of networks, which the tests hold to the built ones. A core is
read with a halo of the reach, rounded up to whole strides; networks without finite reach get the plan's default.
"""

from __future__ import annotations

import argparse

from terraseam.models.reach.reach import Reach
from terraseam.models.zoo import ZOO
from terraseam.pipeline.plan.make import UNBOUNDED_HALO
from terraseam.tiles.grid.lattice import Halo


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cores", default="512,1024,2048", help="sides of the cores, in pixels")
    cores = [int(core) for core in parser.parse_args().cores.split(",")]
    print(f"| network | parameters | stride | reach (px) | {' | '.join(f'core {core}' for core in cores)} |")
    print("|---" * (4 + len(cores)) + "|")
    for row in ZOO:
        halo = halo_of(row.reach).rounded_up(row.stride)
        shares = " | ".join(f"{computed(core, halo):.2f}" for core in cores)
        name = row.architecture if row.encoder is None else f"{row.architecture} {row.encoder}"
        print(
            f"| {name} | {row.parameters / 1e6:.1f} M | {row.stride} | {reach_text(row.reach)} | {shares} |"
        )


def halo_of(reach: Reach | None) -> Halo:
    """The halo that a network gets where the user asks for none."""
    if reach is None:
        return Halo(*[UNBOUNDED_HALO] * 4)
    return Halo(reach.top, reach.bottom, reach.left, reach.right)


def computed(core: int, halo: Halo) -> float:
    """Pixels computed for each pixel of a core."""
    return (core + halo.top + halo.bottom) * (core + halo.left + halo.right) / core**2


def reach_text(reach: Reach | None) -> str:
    """Before and behind a core; rows and columns are alike in all networks of the table."""
    if reach is None:
        return f"the whole chip (halo {UNBOUNDED_HALO})"
    return str(reach.top) if reach.top == reach.bottom else f"{reach.top}/{reach.bottom}"


if __name__ == "__main__":
    main()
