"""Show the cost of exactness: the reach of every network, and the pixels it computes per pixel of the raster.

    python benchmarks/reach.py [--cores 512,1024,2048]

Nothing is run: stride and reach come from the table of networks, which tests compare with the built ones. A core is
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
    """Return the default halo of a network."""
    if reach is None:
        return Halo(*[UNBOUNDED_HALO] * 4)
    return Halo(reach.top, reach.bottom, reach.left, reach.right)


def computed(core: int, halo: Halo) -> float:
    """Return the pixels computed per pixel of a core."""
    return (core + halo.top + halo.bottom) * (core + halo.left + halo.right) / core**2


def reach_text(reach: Reach | None) -> str:
    """Format the reach before and after a core; rows and columns are the same in all networks of the table."""
    if reach is None:
        return f"the whole chip (halo {UNBOUNDED_HALO})"
    return str(reach.top) if reach.top == reach.bottom else f"{reach.top}/{reach.bottom}"


if __name__ == "__main__":
    main()
