"""How fast readouts go in, journal on, beside the FIRE reference server that only counts them.

    python -m benchmarks.ingest --fire DIR      (a checkout of kspaceKelvin/python-ismrmrd-server)

Both servers run in processes of their own and are fed by the same process, from memory, in alternation.
Ours journals, whitens and sorts every readout into its k-space; a last gadget counts the k-spaces, so that
only what happens while data arrive is timed. Theirs runs its `null` configuration. Before each of our runs
the page cache is given the memory that the journal will take (see `ServerProcess.back_page_cache`).
"""

import argparse
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import write_results
from benchmarks.server_process import ServerProcess, running_server
from benchmarks.wire_scan import WireScan, exchange, wire_scan
from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries, KSpace

RECIPE = """name = "ingest"
about = "The first gadgets of every Cartesian recipe"
[[gadget]]
use = "NoiseAdjust"
[[gadget]]
use = "Accumulate"
[[gadget]]
use = "CountKSpaces"
"""
SHAPES = {"32 x 512": (32, 512, 32), "8 x 256": (8, 256, 160)}
"""Coils, samples, slices of 256 lines each."""
N_RUNS = 5
_ADD_GADGET = """
from benchmarks.ingest import CountKSpaces
from gadgets.registry import known_gadgets
known_gadgets()["CountKSpaces"] = CountKSpaces
"""


class CountKSpaces(Gadget, frozen=True):
    """One small image at the end, to say that all k-spaces came."""

    accepts = KSpace
    emits = ImageSeries

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        n_kspaces = 0
        for kspace in items:
            n_kspaces += 1
            last = kspace
        data = torch.full((1, 1, 1, 1), float(n_kspaces))
        yield ImageSeries(data=data, header=last.header, encoding=last.encoding)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fire", type=Path, required=True, help="checkout of python-ismrmrd-server")
    arguments = parser.parse_args()
    sys.argv[1:] = ["--fire", "DIR"]  # the results tell the command, not where a checkout lies
    figures = {}
    with running_server(_ADD_GADGET) as ours, fire_server(arguments.fire) as fire_port:
        for name, (n_coils, n_samples, n_slices) in SHAPES.items():
            scan = noise_scan(n_coils, n_samples, n_slices)
            seconds: dict[str, list[float]] = {"reconstream": [], "fire": []}
            cpu_s = []
            for run in range(N_RUNS + 1):  # the first warms both up
                ours.back_page_cache(len(scan.data))
                cpu_s_before = ours.cpu_s()
                took = exchange(ours.port, scan, RECIPE)[0], exchange(fire_port, scan, "null")[0]
                cpu_s.append(round(ours.cpu_s() - cpu_s_before, 2))
                ours.forget_journals()
                for server, taken in zip(seconds, took, strict=True):
                    seconds[server] += [taken] if run else []
            figures[name] = {server: rates(scan, times) for server, times in seconds.items()}
            figures[name]["reconstream"]["server_cpu_s"] = cpu_s[1:]
            figures[name]["ratio"] = round(
                statistics.median(seconds["fire"]) / statistics.median(seconds["reconstream"]), 2
            )
            figures[name]["eight_sessions_at_once"] = eight_at_once(
                ours, noise_scan(n_coils, n_samples, n_slices // 8)
            )
    write_results("ingest", figures)


def eight_at_once(ours: ServerProcess, scan: WireScan) -> dict[str, Any]:
    """Eight clients together, as one rate; their scans are as much together as the single one was."""
    with ThreadPoolExecutor(8) as clients:
        begin = time.perf_counter()
        list(clients.map(lambda _: exchange(ours.port, scan, RECIPE), range(8)))
        seconds = time.perf_counter() - begin
    ours.forget_journals()
    return {
        "readouts_per_s": round(8 * scan.n_readouts / seconds),
        "gb_per_s": round(8 * len(scan.data) / seconds / 1e9, 2),
        "peak_mb": round(ours.peak_mb()),
    }


def noise_scan(n_coils: int, n_samples: int, n_slices: int) -> WireScan:
    rng = np.random.default_rng(0)
    kspace = rng.standard_normal((1, n_coils, 256, n_samples, 2), np.float32).view(np.complex64)[..., 0]
    return wire_scan(np.broadcast_to(kspace, (n_slices, *kspace.shape[1:])))


def rates(scan: WireScan, seconds: list[float]) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {
        "readouts_per_s": round(scan.n_readouts / median),
        "gb_per_s": round(len(scan.data) / median / 1e9, 2),
        "seconds": [round(s, 3) for s in seconds],
    }


@contextmanager
def fire_server(checkout: Path) -> Iterator[int]:
    """The port of a FIRE reference server."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "main.py", "-H", "127.0.0.1", "-p", str(port), "-m"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=checkout, stdout=log, stderr=log)
        try:
            wait_for(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_for(port: int) -> None:
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)
        else:
            return


if __name__ == "__main__":
    main()
