"""How fast, and in how much memory, are ESPIRiT maps made? Against `bart ecalib -m1` and SigPy, 256 x 256, 24
x 24.

    OMP_NUM_THREADS=2 python -m benchmarks.espirit

Every round times all three on the same data; the ratios are of medians. BART's time includes starting its
process and reading and writing its files in memory-backed storage; what a start costs is given beside it.
Memory is the growth of the peak resident set during one call in a fresh process, for BART that of its whole
process.
"""

import ctypes
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch

from benchmarks.bart_cfl import run_bart
from benchmarks.machine import write_results
from recon_core.coils.espirit import espirit
from recon_core.fourier import resize
from recon_core.simulate import simulate_acquisition

MATRIX = (256, 256)
CALIBRATION = (24, 24)
N_ROUNDS = 5
BART = "ecalib -m1 -r 24:24:1"
N_THREADS = int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1))


def main() -> None:
    figures: dict[str, Any] = {"threads": N_THREADS, "rounds": N_ROUNDS, "bart_command": BART}
    for n_coils in (8, 32):
        figures[f"{n_coils} coils"] = _times(n_coils) | _memory(n_coils)
    write_results("espirit", figures)


def _times(n_coils: int) -> dict[str, Any]:
    kspace = _kspace(n_coils)
    methods = _methods(kspace)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    first_s = methods["ours"]()
    for _ in range(N_ROUNDS):
        for name, run in methods.items():
            seconds[name].append(run())
    figures: dict[str, Any] = {f"{name}_s": round(median(times), 4) for name, times in seconds.items()}
    figures["ours_first_call_s"] = round(first_s, 4)
    figures["bart_empty_start_s"] = round(median(_bart_start_s() for _ in range(N_ROUNDS)), 4)
    for peer in ("bart", "sigpy"):
        figures[f"times_faster_than_{peer}"] = round(median(seconds[peer]) / median(seconds["ours"]), 1)
    return figures


def _methods(kspace: torch.Tensor) -> dict[str, Callable[[], float]]:
    """What each does, returning its wall time in seconds."""
    calibration = resize(kspace, CALIBRATION)
    shape = (1, *MATRIX)
    return {
        "ours": lambda: _seconds(lambda: espirit(calibration, shape)),
        "bart": lambda: run_bart(BART, kspace.numpy(), n_threads=N_THREADS).wall_s,
        "sigpy": lambda: _seconds(lambda: espirit(calibration, shape, threshold=0.02, backend="sigpy")),
    }


def _kspace(n_coils: int) -> torch.Tensor:
    return simulate_acquisition(MATRIX, n_coils, oversampling=1).kspace[0]


def _memory(n_coils: int) -> dict[str, Any]:
    peak_mb = {name: _peak_in_fresh_process(name, n_coils) for name in ("ours", "bart", "sigpy")}
    share = peak_mb["ours"] / peak_mb["sigpy"]
    return {f"{name}_peak_mb": round(peak) for name, peak in peak_mb.items()} | {
        "share_of_sigpys_memory": round(share, 3)
    }


def _peak_in_fresh_process(name: str, n_coils: int) -> float:
    command = [sys.executable, "-m", "benchmarks.espirit", name, str(n_coils)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _print_peak(name: str, n_coils: int) -> None:
    """Growth of the peak resident set during one call, in MB; for BART, the peak of its process."""
    kspace = _kspace(n_coils)
    import sigpy.mri.app  # noqa: F401  loaded before, so that its own size does not count

    run = _methods(kspace)[name]
    ctypes.CDLL(None).malloc_trim(0)  # what the simulation freed must not hide what the call takes
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    before = _status_kb("VmRSS")
    run()
    if name == "bart":
        print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
    else:
        print((_status_kb("VmHWM") - before) / 1024)


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def _bart_start_s() -> float:
    one = np.zeros((1, 1), np.complex64)
    return run_bart("scale 1", one, n_threads=N_THREADS).wall_s


def _seconds(run: Callable[[], object]) -> float:
    begin = perf_counter()
    run()
    return perf_counter() - begin


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _print_peak(sys.argv[1], int(sys.argv[2]))
    else:
        main()
