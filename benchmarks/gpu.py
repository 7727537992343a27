"""Measure every network on a GPU: rates, limits, and whether trained ones give the same labels as on a CPU.

    pip install -e '.[benchmarks]' 'jax[cuda13]'
    TERRASEAM_DATA=... python benchmarks/gpu.py

It runs on JAX, without TensorFlow and rasterio: it needs jax, keras, numpy and pillow. On a machine without a GPU it
measures the CPU, which is slow; --networks, --chips, --classes, --matrix, --crop and --core reduce the work.

Rates are of compiled calls on chips already on the device, in three modes: float32; tf32, which is float32 multiplied
with fewer bits, JAX's default on NVIDIA GPUs; and bfloat16 as with --precision. Weights are random except for
shipped bundles. Each rate is compared with what this device can do: with the rate of multiplying large
matrices in the same mode (FLOPs of the traced network), and with the rate of a copy (bytes as counted by the
compiler). `and back` is the rate with chips transferred from the host and logits transferred back, one call at a
time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import comparing
import gpu_labels
import telling
from jitted import MODES

from terraseam.models.bundle.card import shipped_bundles
from terraseam.models.zoo import ZOO

SEMANTIC = ("coast", "buildings")

Result = dict[str, Any]


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    everything = [*shipped_bundles(), *(f"{row.architecture}:{row.encoder or 'none'}" for row in ZOO)]
    comparing.add_names(parser, "--networks", everything)
    add("--chips", default="1024x4,512x16,512x4,1024x1,512x1,1024x16", type=chip_sizes,
        help="sides in pixels and chips of a call, with commas")  # fmt: skip
    add("--classes", type=int, default=5, help="of networks with random weights (default: 5)")
    add("--kernels", choices=gpu_labels.FLAGS, default="deterministic",
        help="how XLA chooses kernels for rates: by whether they give the same bits again, or by how long they "
        "take, which is tried where a network is compiled (default: deterministic)")  # fmt: skip
    add("--processes", type=int, default=6, help="that compile at the same time (default: 6)")
    add("--seconds", type=float, help="compile nothing more after so many; what is compiled is timed")
    add("--label-seconds", type=float, help="give up comparing labels after so many")
    add("--series", type=float, default=0.1, help="seconds of a timed series (default: 0.1)")
    add("--matrix", type=int, default=8192, help="side of the matrices (default: 8192)")
    add("--labels", default=",".join(SEMANTIC), help="bundles whose labels are compared; empty for none")
    add("--core", type=int, default=512, help="side of the cores where labels are compared (default: 512)")
    add("--crop", type=int, help="rows and columns at most where labels are compared")
    add("--json", type=Path, default=comparing.ROOT / "out" / "gpu.json", help="all figures")
    return parser.parse_args(argv)


def chip_sizes(text: str) -> list[tuple[int, int]]:
    """Parse sides and numbers of chips, such as ``1024x4,512x16``."""
    return [(int(side), int(count)) for side, count in (one.split("x") for one in text.split(","))]


def main(argv: Sequence[str]) -> None:
    arguments = parse(argv)
    os.environ["XLA_FLAGS"] = (
        f"{os.environ.get('XLA_FLAGS', '')} {gpu_labels.FLAGS[arguments.kernels]}".strip()
    )
    found: Result = {"date": comparing.now(), "argv": list(argv), "versions": comparing.versions()}
    if arguments.labels:
        found["labels"] = gpu_labels.in_two_processes(arguments)
        comparing.write_json(arguments.json, found)
    found |= {"machine": comparing.machine(), **device(arguments), "rates": []}
    for one in rates(arguments):
        found["rates"].append(one)
        comparing.write_json(arguments.json, found)
        rate = one.get("error") or f"{one['megapixels_per_second']:.3g} Mpx/s"
        print(f"{comparing.now()} {told_call(one)}: {rate}", file=sys.stderr, flush=True)
    print(told(found))


def device(arguments: argparse.Namespace) -> Result:
    """Return the name of JAX's device and its limits, measured in a process that then releases it."""
    code = (
        "import jax, json, jitted; print(json.dumps({'device': jax.devices()[0].device_kind,"
        f"'ceilings': jitted.ceilings({arguments.matrix}, {arguments.matrix**2 * 4}, {arguments.series})}}))"
    )
    where = {"PYTHONPATH": f"{Path(__file__).parent}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **where}, stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def rates(arguments: argparse.Namespace) -> Iterator[Result]:
    """Yield rates of all networks, from several processes that compile in parallel and time one after the other."""
    asked = {name: getattr(arguments, name) for name in ("chips", "classes", "seconds", "series")}
    script = Path(__file__).with_name("gpu_rates.py")
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    workers = []
    for place in range(min(arguments.processes, len(arguments.networks))):
        mine = {**asked, "networks": arguments.networks[place :: arguments.processes]}
        command = [sys.executable, str(script), json.dumps(mine)]
        workers.append(
            subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
            )
        )
    for _ in arguments.chips:
        for worker in workers:
            list(lines(worker, "ready"))
        for worker in workers:
            if worker.poll() is None:
                worker.stdin.write("go\n")
            yield from map(json.loads, lines(worker, "done"))
    for worker in workers:
        if worker.wait():
            print("a process failed; its networks are left out", file=sys.stderr)


def lines(worker: Any, last: str) -> Iterator[str]:
    """Yield the output lines of a process up to a given one, or until it ends."""
    for line in worker.stdout:
        if line.strip() == last:
            return
        yield line


def told_call(one: Result) -> str:
    """Describe a call as text."""
    return f"{one['network']} {one['mode']} {one['count']} x {one['side']} px"


def told(found: Result) -> str:
    """Return all tables."""
    limits = found["ceilings"]
    products = ", ".join(f"{mode} {limits[mode]:.3g}" for mode in MODES)
    head = f"{found['device']}: products of matrices in TFLOP/s: {products}; copies {limits['copy']:.0f} GB/s"
    rates = found["rates"]
    parts = [head, rate_table(rates, limits), size_table(rates), *map(error_line, rates)]
    if "labels" in found:
        parts += [label_table(found["labels"])]
    return "\n\n".join(part for part in parts if part)


def error_line(one: Result) -> str:
    """Return a line for a failed call."""
    if "error" not in one:
        return ""
    return f"{told_call(one)}: {one['error']}"


def rate_table(rates: Sequence[Result], limits: Result) -> str:
    """Return a table of the best rate of each network in each mode, with its shares of the device's limits."""
    heads = ["network", "MFLOP a pixel"]
    for mode in MODES:
        heads += [f"{mode} Mpx/s", "chips", "TFLOP/s", "of products", "of copies", "and back"]
    rows = []
    for name, group in telling.grouped([one for one in rates if "seconds" in one], "network").items():
        row = [name, f"{group[0]['megaflop_per_pixel']:.3f}"]
        for mode in MODES:
            of_mode = [one for one in group if one["mode"] == mode]
            if not of_mode:
                row += ["-"] * 6
                continue
            best = max(of_mode, key=lambda one: one["megapixels_per_second"])
            row += [
                f"{best['megapixels_per_second']:.3g}",
                f"{best['count']} x {best['side']}",
                f"{best['teraflops']:.3g}",
                f"{best['teraflops'] / limits[mode]:.0%}",
                f"{best['gigabytes_per_second'] / limits['copy']:.0%}",
                f"{best['megapixels_per_second_and_back']:.3g}",
            ]
        rows.append(row)
    return telling.table(heads, rows)


def size_table(rates: Sequence[Result]) -> str:
    """Return a table of Mpx/s by chips per call, in each mode."""
    sizes = sorted({(one["side"], one["count"]) for one in rates})
    rows = []
    for name, group in telling.grouped(rates, "network").items():
        for mode in MODES:
            known = {(one["side"], one["count"]): one for one in group if one["mode"] == mode}
            found = [known.get(size, {}).get("megapixels_per_second") for size in sizes]
            rows.append([name, mode, *("-" if rate is None else f"{rate:.3g}" for rate in found)])
    return telling.table(["network", "Mpx/s", *(f"{count} x {side} px" for side, count in sizes)], rows)


def label_table(labels: Result) -> str:
    """Return a table of label and bit agreement of trained networks."""
    if "error" in labels:
        return str(labels["error"])
    heads = ["bundle", "mode", "labels as on the CPU", "as in float32", "tiles as whole"]
    bits = ("again", "filled_up", "in_two_processes", "by_the_fastest", "in_a_call_of_one")
    heads += [f"same bits {name.replace('_', ' ')}" for name in bits]
    rows = []
    for name, bundle in labels.items():
        for mode, one in bundle["modes"].items():
            compared = (one[against] for against in ("against_cpu", "against_float32", "tiles_against_whole"))
            shares = [f"{pair['same_labels']:.5%}" for pair in compared]
            same = ["yes" if one[f"same_bits_{bit}"] else "no" for bit in bits]
            rows.append([name, mode, *shares, *same])
    return telling.table(heads, rows)


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    main(sys.argv[1:])
